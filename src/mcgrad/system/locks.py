"""Locks that a forked child can take, whichever thread of its parent held them."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
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

        Call it once all that is done under the lock has been imported. A fork takes the locks of those that were
        registered last first: by then it must not hold one that the other thread still needs, such as that of logging.
        """
        if hasattr(os, "register_at_fork"):
            after = self._after_fork
            os.register_at_fork(before=self._before_fork, after_in_parent=after, after_in_child=after)

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self) -> None:
        with suppress(RuntimeError):  # an interrupt has ended the wait, and the fork went on without the lock
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
