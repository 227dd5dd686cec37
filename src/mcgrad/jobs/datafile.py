"""Read arrays from data files that a job refers to, by "FILE:NAME" or by a table with options of the format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcgrad.errors import ParameterError, shown
from mcgrad.jobs.arrayfile import Array, read_npy, read_npz
from mcgrad.jobs.csvfile import CSVFile, options

ACCEPTED = '"FILE.csv:COLUMNS", "FILE.npz:ENTRY", "FILE.npy"'
KEYS = {".csv": ("file", "columns", "delimiter", "header", "decimal"), ".npz": ("file", "entry"), ".npy": ("file",)}
_TEXT = re.compile(r"(.*?\.(?:csv|npz|npy))(?::(.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class DataFile:
    """A data file, with the options for reading it.

    Parameters
    ----------
    key : str
        Key in the job, for errors.
    file : str
        The file as the job has it.
    options : dict
        For a CSV file `columns`, `delimiter`, `header` and `decimal`; for an NPZ file `entry`.
    """

    key: str
    file: str
    options: Mapping[str, Any]

    def read(self, path: Path) -> Array:
        """Return the array."""
        ending = _ending(self.file)
        if ending == ".csv":
            return CSVFile(self.key, path, **self.options).read()
        return read_npz(self.key, path, self.options["entry"]) if ending == ".npz" else read_npy(self.key, path)


def described(given: Any) -> bool:
    """Return whether a table describes a file: its `file` is a string. Other tables hold values by name."""
    return isinstance(given, Mapping) and isinstance(given.get("file"), str)


def parse(key: str, given: str | Mapping[str, Any]) -> DataFile | None:
    """Return the file that a string or a table names; None for a string that names no file of arrays.

    Raises
    ------
    ParameterError
        A key or a value in the table that is not accepted.
    """
    if isinstance(given, str):
        match = _TEXT.fullmatch(given)
        if match is None:
            return None
        file, name = match[1], match[2] or ""
        given = {"file": file, **_named(_ending(file), name)}
        if name and _ending(file) == ".npy":
            raise ParameterError(key, shown(f"{file}:{name}"), f'"{file}", which is one array')
    file = given["file"]
    ending = _ending(file)
    if ending not in KEYS:
        raise ParameterError(f"{key}.file", shown(file), "a file whose name ends in .csv, .npz or .npy")
    for name in given:
        if name not in KEYS[ending]:
            raise ParameterError(f"{key}.{name}", f"no key for a {ending} file", ", ".join(KEYS[ending]))
    if ending == ".csv":
        return DataFile(key, file, options(key, dict(given)))
    entry = given.get("entry", "")
    if ending == ".npz" and not isinstance(entry, str):
        raise ParameterError(f"{key}.entry", shown(entry), "the name of an entry")
    return DataFile(key, file, {"entry": entry} if ending == ".npz" else {})


def _named(ending: str, name: str) -> dict[str, Any]:
    """Return the options that the text after the colon stands for: an entry, a column, or columns between commas."""
    if ending == ".npz":
        return {"entry": name}
    if ending != ".csv" or not name:
        return {}
    columns = [column.strip() for column in name.split(",")]
    return {"columns": columns if len(columns) > 1 else columns[0]}


def _ending(file: str) -> str:
    return Path(file).suffix.lower()
