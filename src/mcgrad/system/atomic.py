"""Write files as a whole or not at all."""

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
    """Write a file under a random name, then rename it: a reader sees the old or the new one, never a part.

    Parameters
    ----------
    path : Path
    content : bytes
    mode : int
        Permissions, less those that the process's umask takes away.

    Raises
    ------
    OSError
        Where that fails; nothing is left behind then, and what was at `path` is still there.
    """
    write_together({path: content}, mode)


def write_together(files: Mapping[Path, bytes], mode: int = 0o666) -> None:
    """Write files as `write` does, and rename the first of them only once all are on the disk.

    So a disk that fills up leaves what was at all paths. They are renamed in order: where the last one is new, so are
    those before it.
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


def remove_stale(folder: Path, age: float, earlier: str = "") -> None:
    """Remove what processes that were killed have left in a folder: regular files that were never complete.

    Parameters
    ----------
    folder : Path
    age : float
        Seconds since a file was written to last; those that are younger may be of a process that goes on.
    earlier : str
        A regular expression of further names, which earlier versions gave such files.
    """
    names = re.compile(f"{re.escape(PREFIX)}.*{re.escape(SUFFIX)}{f'|{earlier}' if earlier else ''}", re.DOTALL)
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if names.fullmatch(file.name):
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > age:
                        os.unlink(file.path)
