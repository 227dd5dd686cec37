"""Check the paths of results before they are written: earlier results may be overwritten, other files may not."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.jobs.shardfile import FORMAT as FORMAT_OF_SHARD
from mcgrad.results.batch_record import FORMAT as FORMAT_OF_BATCH
from mcgrad.results.files import paths
from mcgrad.results.record import FORMAT
from mcgrad.system.printable import near

KINDS = tuple(
    each.partition("/")[0] + "/" for each in (FORMAT, FORMAT_OF_BATCH, FORMAT_OF_SHARD)
)  # how formats of results start
HEAD = re.compile(rb'\s*\{\s*"format"\s*:\s*"(?:' + b"|".join(re.escape(kind.encode()) for kind in KINDS) + rb")")
EARLIER = {
    f"{name}.npy" for name in ("value", "stderr", "n", "nonfinite", "seed")
}  # entries of results before they had a format
LONGEST, LARGEST = 1000, 1 << 28  # bytes of a format, and of a file that is read to check whether it is a result


def refuse_others(stem: Path, name: str, force: bool) -> None:
    """Refuse a path for results where there is a file that mcgrad did not write.

    Parameters
    ----------
    stem : Path
        Of the results, without the ending.
    name : str
        The parameter that the error names.
    force : bool
        Whether to overwrite other regular files, too. A folder, or another file that is not regular, is refused in any
        case.

    Raises
    ------
    ParameterError
        There is another file; the message has its kind. Results of any job may be overwritten, and so may empty files.
        For a link the file that it leads to counts; writing replaces the link, and does not change that file. A file
        that is too damaged to decide counts as a result if the other one of the two, JSON and NPZ, is one.
    """
    result, arrays = paths(stem)
    refuse_other(result, arrays, name, force)
    refuse_other(arrays, result, name, force)


def refuse_other(path: Path, other: Path, name: str, force: bool) -> None:
    """Refuse the path of one of the two files of results as `refuse_others` does; `other` is the other file's."""
    why = obstacle(path)
    if why:
        raise ParameterError(name, f"{near(path)}, {why}", "a path where there is nothing, or earlier results")
    if force or not os.path.lexists(path):
        return
    why = _protected(path)
    if not why:
        ours = is_result(path)
        why = "" if ours or (ours is None and is_result(other)) else "which mcgrad did not write"
    if why:
        raise ParameterError(name, f"{near(path)}, {why}", "another path, or --force to write over that file")


def is_result(path: Path) -> bool | None:
    """Return whether mcgrad wrote a file; None if it is damaged or missing."""
    try:
        if not path.stat().st_size:
            return True
        return _is_json(path) if path.suffix == ".json" else _is_npz(path)
    except Exception:  # on damage json, zipfile and NumPy raise exceptions of many types
        return None


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        if HEAD.match(file.read(4096)):
            return True  # it may be an incomplete one
        if file.seek(0, os.SEEK_END) > LARGEST:
            return False
        file.seek(0)
        fields = json.load(file)
    return isinstance(fields, dict) and str(fields.get("format")).startswith(KINDS)


def _is_npz(path: Path) -> bool:
    with ZipFile(path) as archive:
        names = set(archive.namelist())
        if "format.npy" not in names or archive.getinfo("format.npy").file_size > LONGEST:
            return names >= EARLIER
        with archive.open("format.npy") as entry:
            return str(np.lib.format.read_array(entry, allow_pickle=False)).startswith(KINDS)


def obstacle(path: Path) -> str:
    """Return why no file can be written at a path, even with `force`, or None."""
    try:
        mode = path.lstat().st_mode
    except OSError:  # no such file; other errors are raised when the folder is made
        return ""
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        return ""
    return "which is a folder" if stat.S_ISDIR(mode) else "which is no regular file"


def _protected(path: Path) -> str:
    """Return why a file or link may not be overwritten, whatever its content, or None."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "which is a link that leads nowhere"
    if not stat.S_ISREG(mode):
        return "which is a link to what is no regular file"
    return "" if mode & 0o222 else "which is read-only"
