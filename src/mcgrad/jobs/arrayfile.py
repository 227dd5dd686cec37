"""Arrays of real numbers from NumPy's files, NPY and NPZ; damaged files and other content are refused."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mcgrad.errors import ParameterError, shown, shown_names

REAL = "biuf"  # kinds of dtype
Array = npt.NDArray[Any]


def read_npy(key: str, path: Path) -> Array:
    """Return the array of an NPY file.

    Raises
    ------
    ParameterError
        The file is damaged, or holds something else.
    """

    def read() -> Array:
        with path.open("rb") as stream:
            return _array(stream, os.fstat(stream.fileno()).st_size)

    return _guarded(key, path.name, read)


def read_npz(key: str, path: Path, entry: str) -> Array:
    """Return an entry of an NPZ file.

    Raises
    ------
    ParameterError
        The file or the entry is damaged, missing, or something else.
    """

    def read() -> Array:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if entry not in names:
                raise ParameterError(key, f"{shown(f'{path.name}:{entry}')}, without such an entry", shown_names(names))
            if names.count(entry) > 1:
                raise ValueError(f"it has {names.count(entry)} entries of that name")
            info = archive.getinfo(f"{entry}.npy")
            with archive.open(info) as stream:
                return _array(stream, info.file_size)

    return _guarded(key, f"entry {shown(entry)} of {path.name}", read)


def _array(stream: IO[bytes], size: int) -> Array:
    """Read an array. Where its size in the header is not that of the file, it is refused before memory is allocated."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the format is not one of numbers")
    if dtype.kind not in REAL:
        raise ValueError(f"it holds {dtype}, not real numbers")
    if min(shape, default=0) < 0:
        raise ValueError(f"its header says shape {shape}")
    said = stream.tell() + dtype.itemsize * math.prod(shape)
    if said != size:
        raise ValueError(f"its header says {said:,} bytes, and it has {size:,}")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _guarded(key: str, name: str, read: Callable[[], Array]) -> Array:
    try:
        return read()
    except ParameterError:
        raise
    except Exception as error:  # on damage zipfile, zlib, lzma, ast and NumPy raise exceptions of many types
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        given = f"{name}, which cannot be read ({reason})"
        raise ParameterError(key, given, "an array of real numbers, as np.save and np.savez write it") from None
