"""Atomic writes of files, for the cache, results and checkpoints.

The content goes to a temporary file, which is then renamed: a reader sees the earlier file or the new one, never a part
of it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

PREFIX, SUFFIX = ".mcgrad-", ".tmp"  # of the name that a file has until it is complete


def write(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file atomically.

    Parameters
    ----------
    path : Path
    content : bytes
    mode : int
        Permissions, less those that the process's umask takes away.

    Raises
    ------
    OSError
        The file cannot be written. The temporary file is then removed, and the file at `path` is unchanged.
    """
    write_together({path: content}, mode)


def write_together(files: Mapping[Path, bytes], mode: int = 0o666) -> None:
    """Write files as `write` does, and rename the first of them only once all are on the disk.

    So the files at all paths are unchanged where the disk is full. They are renamed in order: where the last one is
    new, so are those before it.
    """
    temporary: dict[Path, Path] = {}
    try:  # around the opening, too: an interrupt may come as soon as the file is there
        for path, content in files.items():
            temporary[path] = path.with_name(f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
            with open(temporary[path], "xb", opener=partial(os.open, mode=mode)) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, name in temporary.items():
            os.replace(name, path)
    except BaseException:
        for name in temporary.values():
            with suppress(OSError):
                name.unlink()
        raise


def remove_stale(folder: Path, age: float, others: str = "") -> None:
    """Remove temporary files of `write` from a folder, which processes have left there that were killed.

    Parameters
    ----------
    folder : Path
    age : float
        Least age in seconds since the last write to a file: younger ones may be of a process that still runs.
    others : str
        A regular expression for names of other files to remove, such as those that earlier versions gave to these.
    """
    names = re.compile(f"{re.escape(PREFIX)}.*{re.escape(SUFFIX)}{f'|{others}' if others else ''}", re.DOTALL)
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if names.fullmatch(file.name):
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > age:
                        os.unlink(file.path)
