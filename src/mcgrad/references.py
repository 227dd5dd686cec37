"""What a job file refers to: an object in a Python file, or an array in a data file."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mcgrad import datafile, failure, signals
from mcgrad.errors import ParameterError, shown

_neighbours: dict[
    str, Path
] = {}  # modules that job files' Python files imported from their own folder, and that folder


class References:
    """Reads references relative to a folder, each Python file once.

    Parameters
    ----------
    folder : Path
        Of the job file.

    Attributes
    ----------
    inputs : set of Path
        The files that have been referred to so far: no result may be written over one of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs: set[Path] = set()
        self._modules: dict[Path, ModuleType] = {}

    def python(self, key: str, given: Any, what: str) -> Any:
        """Return the object that "FILE.py:NAME" refers to.

        Parameters
        ----------
        key : str
            Where it is given, for the error.
        given : str
        what : str
            What it should be, for the error.
        """
        accepted = f'"FILE.py:NAME", {what}'
        if not isinstance(given, str) or ".py:" not in given:
            raise ParameterError(key, shown(given), accepted)
        file, _, name = given.rpartition(":")
        module = self._module(key, self._path(key, file, accepted))
        found = module
        for part in name.split("."):
            if not hasattr(found, part):
                names = ", ".join(x for x, value in vars(module).items() if callable(value) and not x.startswith("_"))
                raise ParameterError(key, f"{name!r}, which {file} does not define", names or accepted)
            found = getattr(found, part)
        return found

    def value(self, key: str, given: Any) -> Any:
        """Return a number or an array: given inline, or by a reference.

        "FILE.csv:COLUMN" is one column, shape (rows,); "FILE.csv:A,B" or "FILE.csv" are columns side by side, shape
        (rows, columns); "FILE.npz:ENTRY" and "FILE.npy" are arrays; a table with `file` says more of how to read one of
        these (`datafile`); "FILE.py:NAME" is an array, or a function without arguments that returns one.
        """
        if isinstance(given, str) and ".py:" in given:
            found = self.python(key, given, "an array or a function that returns one")
            return found() if callable(found) else found
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
            found = self.python(key, given, "a dict or a function that returns one")
            found = found() if callable(found) else found
            if not isinstance(found, Mapping):
                raise ParameterError(key, f"{given!r}, which gives {shown(found)}", "what gives a dict by name")
            return dict(found)
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
            path = (self.folder / file).resolve()
            there, regular = path.exists(), path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, links in a circle
            raise ParameterError(key, f"{shown(file)}, which is no path ({error})", accepted) from None
        if not regular:
            reason = "which is not a regular file" if there else "which is not there"
            raise ParameterError(key, f"{file}, {reason} ({path})", accepted)
        self.inputs.add(path)
        return path

    def _module(self, key: str, path: Path) -> ModuleType:
        if path in self._modules:
            return self._modules[path]
        spec = importlib.util.spec_from_file_location(f"mcgrad_job_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            with _importing_from(path.parent):
                spec.loader.exec_module(module)
        except BaseException as error:  # also SystemExit, and a KeyboardInterrupt that is no signal
            if signals.ends_the_process(error):
                raise
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            where = f"{path.name}, line {lines[-1]}" if lines else path.name
            given = f"{where}, which raised {failure.described(error)}"
            raise ParameterError(key, given, "a Python file that runs") from error
        self._modules[path] = module
        return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours, and not those of the same name in the folder of an earlier job file."""
    for name in [name for name, other in _neighbours.items() if other != folder]:
        sys.modules.pop(name, None)
        del _neighbours[name]
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _neighbours.update({name: folder for name in set(sys.modules) - before if _lies_in(folder, name)})


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a module is a file of a folder, or in a package there; an environment below the folder is none."""
    file = Path(getattr(sys.modules[name], "__file__", None) or "")
    return file.is_relative_to(folder) and file.relative_to(folder).parts[0].partition(".")[0] == name.partition(".")[0]


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
    return float(given)
