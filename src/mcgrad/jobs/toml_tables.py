"""Parse a job file's TOML into the tables of its jobs, and refuse files that are not TOML."""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcgrad.errors import ParameterError, shown
from mcgrad.jobs.job import Location

DEEPEST = 64  # nested tables and lists; Python's stack allows some hundred
TOO_DEEP = "tables or lists that are nested deeper", f"at most {DEEPEST} tables and lists in each other"


def tables(path: Path, location: Location) -> list[tuple[Location, dict[str, Any]]]:
    """Return the location and the keys of each job, with the file's defaults put in.

    Parameters
    ----------
    path : Path
    location : Location
        The file as it was given.

    Raises
    ------
    ParameterError
        Not a regular file, such as a named pipe or a device; not UTF-8; not TOML.
    """
    try:
        top = tomllib.loads(_content(path).decode("utf-8-sig"))
    except OSError as error:
        raise ParameterError(location.file, error.strerror or str(error), "a TOML file that can be read") from None
    except RecursionError:
        raise ParameterError(location.file, *TOO_DEEP) from None
    except ValueError as error:  # not UTF-8, not TOML, a number with more digits than Python reads, a NUL in the path
        raise ParameterError(location.file, str(error), "TOML") from None
    found = top.pop("job", None)
    if found is None:
        return [(location, top)]
    if isinstance(found, list) and found and all(isinstance(table, dict) for table in found):
        return [(replace(location, table=f"[[job]] {i + 1}"), {**top, **table}) for i, table in enumerate(found)]
    accepted = "one [[job]] table or more, or the job's keys at the top level"
    raise ParameterError(f"{location.file}, job", shown(found), accepted)


def _content(path: Path) -> bytes:
    """Read a regular file; opening a named pipe would block until another process writes into it."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError("no regular file")
        return file.read()


def refuse_depth(key: str, value: Any) -> None:
    """Refuse a value with tables and lists nested too deep for recursive readers.

    Parameters
    ----------
    key : str
        Key in the job, for the error.
    value : dict, list or other
    """
    level, depth = [value], 0
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            raise ParameterError(key, *TOO_DEEP)
        level = [part for table in level for part in (table.values() if isinstance(table, dict) else table)]
