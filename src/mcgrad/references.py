"""What a job file refers to as "FILE:NAME": an object in Python, columns of a CSV file, an entry of an NPZ file."""

from __future__ import annotations

import csv
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import failure, signals
from mcgrad.errors import ParameterError, shown

ARRAYS = (".csv", ".npy", ".npz")
Array = npt.NDArray[Any]

_neighbours: dict[
    str, Path
] = {}  # modules that job files' Python files imported from their own folder, and that folder


class References:
    """Reads references relative to a folder, each Python file once.

    Parameters
    ----------
    folder : Path
        Of the job file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        (rows, columns); "FILE.npz:ENTRY" and "FILE.npy" are arrays; "FILE.py:NAME" is an array, or a function without
        arguments that returns one.
        """
        if not isinstance(given, str):
            return inline(key, given)
        if ".py:" in given:
            found = self.python(key, given, "an array or a function that returns one")
            return found() if callable(found) else found
        accepted = 'a number, a list, or "FILE.csv:COLUMNS", "FILE.npz:ENTRY", "FILE.npy" or "FILE.py:NAME"'
        file, _, name = given.rpartition(":") if given.rpartition(":")[0].endswith(ARRAYS) else (given, "", "")
        if not file.endswith(ARRAYS):
            raise ParameterError(key, shown(given), accepted)
        path = self._path(key, file, accepted)
        if file.endswith(".csv"):
            return _csv(key, path, name)
        try:
            loaded = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ParameterError(key, f"{file}, which NumPy cannot read ({error})", accepted) from None
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as entries:
            if name not in entries:
                raise ParameterError(key, f"{given!r}, without such an entry", ", ".join(entries.files))
            return entries[name]

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
            name: (self.values if isinstance(value, Mapping) else self.value)(f"{key}.{name}", value)
            for name, value in given.items()
        }

    def _path(self, key: str, file: str, accepted: str) -> Path:
        path = (self.folder / file).resolve()
        if not path.is_file():
            raise ParameterError(key, f"{file}, which is not there ({path})", accepted)
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


def _csv(key: str, path: Path, columns: str) -> Array:
    """Read columns by the names in the first line."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 2:
        raise ParameterError(key, f"{path.name}, {len(rows)} lines", "a line of names, then lines of numbers")
    header = [name.strip() for name in rows[0]]
    names = [name.strip() for name in columns.split(",")] if columns else header
    for name in names:
        if name not in header:
            raise ParameterError(key, f"column {name!r} of {path.name}", f"its columns: {', '.join(header)}")
    places = [header.index(name) for name in names]
    out = np.empty((len(rows) - 1, len(names)))
    for i, row in enumerate(rows[1:]):
        for j, place in enumerate(places):
            try:
                out[i, j] = float(row[place])
            except (ValueError, IndexError):
                given = shown(row[place]) if place < len(row) else "nothing"
                where = f"column {names[j]!r}, row {i + 1} of {path.name}"
                raise ParameterError(key, f"{given} in {where}", "numbers") from None
    return out[:, 0] if columns and len(names) == 1 else out
