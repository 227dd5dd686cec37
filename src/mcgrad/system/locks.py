"""Locks that are free in a forked child, whichever thread of the parent held them."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from types import TracebackType
from weakref import WeakSet


class Lock:
    """A lock for ``with`` statements.

    It is reentrant: a finalizer or a signal handler, which Python may run between any two instructions, can take it
    while its thread holds it. In a forked child it is free, unless the thread that forked held it: the other threads
    do not exist there, so they would never release it.
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

        This is for work, such as a compilation, that leaves state in which a child could not do the same work.

        Call it once all modules that are used under the lock have been imported: before a fork, Python runs the
        functions that were registered last first, so a lock that an imported module registers later, such as that
        of logging, would be taken first, and the thread that holds this one may need it.
        """
        if hasattr(os, "register_at_fork"):
            after = self._after_fork
            os.register_at_fork(before=self._before_fork, after_in_parent=after, after_in_child=after)

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self) -> None:
        with suppress(RuntimeError):  # not held: an interrupt has ended the wait in `_before_fork`
            self._lock.release()

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
