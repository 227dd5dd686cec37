"""Locks that a forked child can take, whichever thread of its parent held them."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet


class Lock:
    """A lock for ``with`` statements.

    Reentrant: a finalizer or a signal handler, which Python runs in the middle of anything, may take it while its
    thread holds it. Free in a forked child, unless the thread that forked held it: the other threads do not exist
    there, so they would never release it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def delay_forks(self) -> None:
        """From now on let a fork wait until no other thread holds this lock.

        For what a child could not do after another thread of its parent was in the middle of it.
        """
        if hasattr(os, "register_at_fork"):
            release = self._lock.release
            os.register_at_fork(before=self._lock.acquire, after_in_parent=release, after_in_child=release)

    def _free(self) -> None:
        if self._lock.acquire(blocking=False):  # free, or held by this thread
            self._lock.release()
        else:
            self._lock = threading.RLock()


_locks: WeakSet[Lock] = WeakSet()


def _free_all() -> None:
    for lock in list(_locks):
        lock._free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
