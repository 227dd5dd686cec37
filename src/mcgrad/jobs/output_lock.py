"""A lock on the files of results: the second of two runs that would write the same ones at the same time is refused."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from mcgrad.errors import ParameterError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
LONGEST = 1000  # bytes that are read of the lock file of another run
HEAD = b'{"process": '  # the start of a lock file


def path_for(stem: Path) -> Path:
    """Return the path of the lock that belongs to results with this path, without the ending."""
    return stem.with_name(f".{stem.name}.lock")


@contextmanager
def locked(stem: Path, name: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock while the context lasts.

    Parameters
    ----------
    stem : Path
        Of the results, without the ending.
    name : str
        The parameter that the error names.
    warn : callable
        Called with a message where the file system has no locks; the run then has none.

    Raises
    ------
    ParameterError
        Another run holds it; the message has its process, its machine and its start.

    Notes
    -----
    It is a lock of the operating system (flock, which network file systems pass on to their server), so it ends with
    the process that holds it, even after ``kill -9``; a lock file without a process locks nothing. A file of the user's
    with this name is locked as well, and not changed. Where Python has no flock, on Windows, nothing is locked.
    """
    path, handle = path_for(stem), None
    if fcntl is not None:
        try:
            handle = _taken(path)
        except BlockingIOError:
            given = f"{stem}, which another run writes to ({_holder(path)})"
            raise ParameterError(name, given, "another path, or this one when that run has ended") from None
        except OSError as error:
            warn(f"{path} cannot be locked ({error.strerror}): another run that writes there would not be refused")
    try:
        yield
    finally:
        if handle is not None:
            with suppress(OSError):
                if _is_lock(handle):  # while locked: a run that opened it sees that it is not at its path
                    path.unlink()
            os.close(handle)


def _taken(path: Path) -> int:
    """Return the open file, locked, with the number of this process in it.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        It cannot be opened or locked.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except PermissionError:  # a file of another user
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _at(path, handle):
                with suppress(OSError):  # the lock needs no content
                    if _is_lock(handle):
                        os.ftruncate(handle, 0)
                        os.write(handle, json.dumps(_self()).encode())
                return handle
        except OSError as error:
            os.close(handle)
            raise (BlockingIOError(*error.args) if error.errno in TAKEN else error) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # removed by the run that held it


def _at(path: Path, handle: int) -> bool:
    """Return whether an open file is the one at a path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(handle))
    return False


def _is_lock(handle: int) -> bool:
    """Return whether an open file is a lock file, in part or empty; other files are not removed."""
    return HEAD.startswith(os.pread(handle, len(HEAD), 0).rstrip(b"\0"))


def _self() -> dict[str, str]:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"process": str(os.getpid()), "machine": socket.gethostname(), "since": now}


def _holder(path: Path) -> str:
    """Return a description of the run that holds a lock, from the file."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(LONGEST))
        return f"process {found['process']} on {found['machine']}, since {found['since']}"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "it does not say which"
