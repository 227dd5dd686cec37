"""Signals that end a run, as an exception in the main thread: Ctrl-C, and what schedulers and terminals send."""

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
REPEATED = 2.0  # seconds in which terminals and schedulers may send the same signal again


class Stopped(KeyboardInterrupt):
    """A signal that ends the process has come.

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
        """The exit status that shells give a process that the signal ended."""
        return 128 + self.number

    def __str__(self) -> str:
        return "interrupted" if self.number == signal.SIGINT else f"ended by {self.args[0]}"


_received: list[Stopped] = []
_before: dict[int, Any] = {}  # handlers that those of `stoppable` are in place of


def received() -> Stopped | None:
    """Return the first signal that has come inside `stoppable`, also where the exception was caught somewhere."""
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
    """Put back the handlers from before; in a forked child, too, which `multiprocessing` ends by SIGTERM."""
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
    """Raise, but not for one that is merely sent again, while what the first has interrupted is being saved."""
    stopped = Stopped(number)
    if _received and number != signal.SIGINT and stopped.time - _received[0].time < REPEATED:
        return
    _received.append(stopped)
    raise stopped


def ends_the_process(error: BaseException) -> bool:
    """Whether an error is a signal to this process, rather than raised by code that merely chose KeyboardInterrupt.

    Python delivers signals to the main thread alone. There a plain KeyboardInterrupt is one where SIGINT has another
    handler than `stoppable` installs, and is not ignored.
    """
    if isinstance(error, Stopped):
        return True
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGINT) not in (_stop, signal.SIG_IGN, signal.SIG_DFL)
