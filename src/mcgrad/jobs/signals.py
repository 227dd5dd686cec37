"""Raise the signals that end a run, SIGINT, SIGTERM and SIGHUP, as an exception in the main thread."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
REPEATED = 2.0  # seconds within which the same signal is taken for a repetition by a terminal or scheduler


class Stopped(KeyboardInterrupt):
    """A signal that ends the process was received.

    Parameters
    ----------
    number : int
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.time = time.monotonic()

    @property
    def status(self) -> int:
        """The exit status that shells report for a process that the signal ended."""
        return 128 + self.number

    def __str__(self) -> str:
        return "interrupted" if self.number == signal.SIGINT else f"ended by {self.args[0]}"


_received: list[Stopped] = []
_before: dict[int, Any] = {}  # the handlers that `stoppable` has replaced, by signal


def received() -> Stopped | None:
    """Return the first signal received inside `stoppable`, even if its exception was caught."""
    return _received[0] if _received else None


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in the main thread for SIGINT, SIGTERM and SIGHUP while the context lasts.

    Signals that the process was started to ignore, as by ``nohup``, stay ignored, and handlers that a surrounding
    program has installed stay in place. In other threads than the main one the context does nothing.
    """
    _received.clear()
    try:
        if threading.current_thread() is threading.main_thread():
            ours = (signal.SIG_DFL, signal.default_int_handler)
            _before.update({number: handler for number in ENDING if (handler := signal.getsignal(number)) in ours})
            for number in _before:
                signal.signal(number, _stop)
        yield
    finally:
        _restore()


def _restore() -> None:
    """Restore the replaced handlers; also in a forked child, which `multiprocessing` ends by SIGTERM."""
    for number, handler in _before.items():
        signal.signal(number, handler)
    _before.clear()
    _received.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restore)


def ignore() -> None:
    """Ignore these signals from now on, in the main thread of a process that ends because of one."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise `Stopped`, except for a repetition, during which the checkpoint may be written."""
    stopped = Stopped(number)
    if _received and number != signal.SIGINT and stopped.time - _received[0].time < REPEATED:
        return
    _received.append(stopped)
    raise stopped


def ends_the_process(error: BaseException) -> bool:
    """Return whether an exception is from a signal, rather than a KeyboardInterrupt that user code has raised.

    Python delivers signals to the main thread alone. There a plain KeyboardInterrupt is from a signal if SIGINT
    has another handler than that of `stoppable`, and is not ignored.
    """
    if isinstance(error, Stopped):
        return True
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGINT) not in (_stop, signal.SIG_IGN, signal.SIG_DFL)
