"""Resolve the references of a job file: objects in Python files, and arrays in data files or inline."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError, shown
from mcgrad.jobs import datafile
from mcgrad.jobs.userfile import PythonFiles


class References:
    """Resolves references relative to a folder; each Python file runs once.

    Parameters
    ----------
    folder : Path
        Of the job file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = PythonFiles()

    @property
    def surroundings(self) -> AbstractContextManager[None]:
        """Context for running the Python files, and for calls of their functions."""
        return self._files.surroundings

    def python(self, key: str, given: Any, what: str) -> Any:
        """Return the object that "FILE.py:NAME" refers to.

        Parameters
        ----------
        key : str
            Key in the job, for the error.
        given : str
        what : str
            What the object should be, for the error.
        """
        return self._found(key, given, what)[0]

    def made(self, key: str, given: Any, what: str) -> Any:
        """Return the object that "FILE.py:NAME" refers to, or the result of it if it is a function without arguments.

        Parameters are as for `python`.
        """
        return self._files.result(key, given, *self._found(key, given, what))

    def _found(self, key: str, given: Any, what: str) -> tuple[Any, Path]:
        accepted = f'"FILE.py:NAME", {what}'
        if not isinstance(given, str) or ".py:" not in given:
            raise ParameterError(key, shown(given), accepted)
        file, _, name = given.rpartition(":")
        path = self._path(key, file, accepted)
        return self._files.find(key, path, name, accepted), path

    def value(self, key: str, given: Any) -> Any:
        """Return a number or an array: given inline, or by a reference.

        "FILE.csv:COLUMN" is one column, shape (rows,); "FILE.csv:A,B" or "FILE.csv" are columns side by side, shape
        (rows, columns); "FILE.npz:ENTRY" and "FILE.npy" are arrays; a table with `file` adds options for reading one of
        these (`datafile`); "FILE.py:NAME" is an array, or a function without arguments that returns one.
        """
        if isinstance(given, str) and ".py:" in given:
            return self.made(key, given, "an array or a function that returns one")
        if not isinstance(given, str) and not datafile.described(given):
            return inline(key, given)
        accepted = f'a number, a list, or {datafile.ACCEPTED} or "FILE.py:NAME"'
        data = datafile.parse(key, given)
        if data is None:
            raise ParameterError(key, shown(given), accepted)
        return data.read(self._path(key, data.file, accepted))

    def values(self, key: str, given: Any) -> Any:
        """Return a dict of values: nested tables, or "FILE.py:NAME", a dict or a function that returns one."""
        if isinstance(given, str):
            return self._files.mapping(key, given, *self._found(key, given, "a dict or a function that returns one"))
        if not isinstance(given, Mapping):
            raise ParameterError(key, shown(given), 'a table, or "FILE.py:NAME", a function that returns a dict')
        return {
            name: (self.values if isinstance(value, Mapping) and not datafile.described(value) else self.value)(
                f"{key}.{name}", value
            )
            for name, value in given.items()
        }

    def _path(self, key: str, file: str, accepted: str) -> Path:
        try:
            path = at(self.folder, file).resolve()
            there, regular = path.exists(), path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long a path, a NUL character, a cycle of links
            raise ParameterError(key, f"{shown(file)}, which is no path ({error})", accepted) from None
        if not regular:
            reason = "which is not a regular file" if there else "which is not there"
            raise ParameterError(key, f"{file}, {reason} ({path})", accepted)
        return path


def at(folder: Path, given: str) -> Path:
    """Return a path relative to a folder; one with ``~/`` or ``~USER/`` is relative to a home directory."""
    path = Path(given)
    try:
        return folder / (path.expanduser() if len(path.parts) > 1 else path)
    except RuntimeError:  # no such user, or a user without a home directory
        return folder / path


def inline(key: str, given: Any) -> Any:
    """Return a number, or the array that nested lists of numbers make."""
    if isinstance(given, list):
        try:
            array = np.array(given)
        except ValueError:
            array = np.array(None)
        if array.dtype.kind not in "biuf" or not array.size:
            raise ParameterError(key, shown(given), "a number or a list of numbers, rows of one length")
        return array
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ParameterError(key, shown(given), "a number, a list of numbers, or a reference to a file")
    try:
        return float(given)
    except OverflowError:
        raise ParameterError(key, shown(given), "a number below 1.8e308") from None
