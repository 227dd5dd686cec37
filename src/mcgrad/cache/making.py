"""Make each entry in one process at a time: others that need it, too, wait until it is there, and read it.

A process that makes an entry holds a lock of the operating system on a file beside it. It is a POSIX lock: a forked
child does not inherit it, it ends with its process, even after ``kill -9``, and network file systems pass it on to
their server. The file is removed when the entry is made. So a process that waited and gets the lock

- on the file that is still there makes the entry: the process before it was killed;
- on a file that was removed reads the entry. Where there is none, as it is larger than the cache admits, all processes
  that waited make it at once, each for itself.

No lock is taken where an entry would not be kept, where the file system or Python (on Windows) has no locks, and while
this thread makes another entry, so that two processes never wait for each other. Several processes may then make the
same entry, which does no harm.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mcgrad.cache import entry, folder, limit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SHORTEST, PART, LONGEST = 0.01, 0.1, 2.0  # pauses between looks at a lock: seconds, share of the wait so far, seconds
PATIENCE = 600.0  # seconds of waiting for a process that neither ends nor makes the entry, such as a stopped one


class _Thread(threading.local):
    makes = False  # whether this thread makes an entry


_thread = _Thread()


@contextmanager
def content(name: str) -> Iterator[bytes | None]:
    """Yield the content of an entry, or None where the caller is to make it while the context lasts.

    Parameters
    ----------
    name : str
        Of the entry. No other thread of this process may be making it.
    """
    found = entry.find(name)
    if found is not None or _thread.makes:
        yield found
        return
    lock = _lock(name)
    _thread.makes = True
    try:
        yield entry.find(name)  # which another process may have made since
    finally:
        _thread.makes = False
        if lock is not None:
            folder.drop(name + limit.LOCK)  # while it is locked: who gets the lock next sees that it is gone
            os.close(lock)


def _lock(name: str) -> int | None:
    """Return the open file, locked, by which this process makes an entry; None where it does without."""
    if fcntl is None or not limit.admits(1):
        return None
    lock = folder.open_lock(name + limit.LOCK)
    if lock is None:
        return None
    try:
        if _wait(lock, name) and folder.is_at(name + limit.LOCK, lock):
            return lock
    except OSError:  # no locks in this file system, or none left
        folder.drop(name + limit.LOCK)
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _wait(lock: int, name: str) -> bool:
    """Wait until this process has the lock, or the entry is there; return whether it has the lock."""
    start = time.monotonic()
    while not _taken(lock):
        waited = time.monotonic() - start
        if waited > PATIENCE or folder.exists(name):
            return False
        time.sleep(min(max(SHORTEST, PART * waited), LONGEST))
    return True


def _taken(lock: int) -> bool:
    """Take a lock, unless another process has it; return whether this process has it now."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # by the operating system EAGAIN or EACCES
        return False
    return True
