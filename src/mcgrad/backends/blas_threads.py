"""Threads of the BLAS libraries that we call: one each, so that they do not multiply ours nor change the last digits.

threadpoolctl's own limits restore, each, what they saw when they began. Of two that overlap in time the later one saw a
number that the earlier one had set, and leaves it behind. So the limit here is one for the process, with a count.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mcgrad.system.locks import Lock

_lock = Lock()
_open = 0  # limits that have begun and not ended, in all threads
_shared: list[tuple[Any, int]] = []  # libraries whose number holds for the process, and what it was before


class _OfThread(threading.local):
    """What one thread has: how many of the open limits, and libraries whose number holds for this thread alone."""

    def __init__(self) -> None:
        self.open = 0
        self.own: list[tuple[Any, int]] = []
        self.lasting = False


_mine = _OfThread()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit NumPy's and SciPy's BLAS to one thread, until the context ends.

    Contexts may be nested and may overlap in several threads, in any order: the first sets the limit, and the last
    restores the numbers of threads that it found. Where the number is not one any more at the end, the user's code has
    set it meanwhile, and it stays. Libraries that are loaded meanwhile are left alone; mcgrad calls none of them.

    Notes
    -----
    A limit of threadpoolctl's own that another thread begins while this one holds, and ends after it, restores the one
    thread that it saw (threadpoolctl issue 205). Begin such a limit before, or end it within.
    """
    begun = False
    try:
        with _lock:
            for before, libraries in zip((_shared, _mine.own), _libraries(), strict=True):
                found = _limited(libraries)
                before.extend(found if not before else ())
            _open_one(1)
            begun = True
        yield
    finally:
        with _lock:  # an interrupt may have come anywhere above
            if begun:
                _open_one(-1)
            if not _mine.open:
                _restore(_mine.own)
            if not _open:
                _restore(_shared)


def limit_worker() -> None:
    """Limit BLAS in a thread of a pool, for the life of the thread, as far as the libraries have a number for each."""
    if _open and not _mine.lasting:
        with _lock:
            _limited(_libraries()[1])
        _mine.lasting = True


def _open_one(step: int) -> None:
    global _open
    _open += step
    _mine.open += step


def _limited(libraries: list[Any]) -> list[tuple[Any, int]]:
    """Set each library to one thread, and return what it had."""
    before = [(library, library.num_threads) for library in libraries]
    for library, number in before:
        if number != 1:
            _set(library, 1)
    return before


def _restore(before: list[tuple[Any, int]]) -> None:
    for library, number in before:
        if number not in (None, 1) and library.num_threads == 1:
            _set(library, number)
    before.clear()


def _set(library: Any, number: int) -> None:
    """Set a library's number of threads from any thread.

    From 3.8 on, threadpoolctl takes a number for OpenBLAS from one thread only, the first that sets one, until that
    thread gives up control; from others it drops the number without an error.
    """
    control = getattr(type(library), "clear_controlling_thread", None)
    if control is not None:
        control(force=True)
    library.set_num_threads(number)
    if control is not None:
        control(force=True)


@cache
def _libraries() -> tuple[list[Any], list[Any]]:
    """Return the BLAS libraries of the process, and those that have a number for each thread: OpenBLAS with OpenMP."""
    import scipy.linalg.cython_blas  # noqa: F401 - a library must be loaded to be found
    import threadpoolctl

    found = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    own = [x for x in found if x.internal_api == "openblas" and getattr(x, "threading_layer", None) == "openmp"]
    return [library for library in found if library not in own], own


def _after_fork() -> None:
    """In a forked child count what its only thread holds, and restore what other threads would have."""
    global _open
    _open = _mine.open
    if not _open:
        _restore(_shared)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
