"""The stack frames while a user's function is traced: the library of each, and the expression that it evaluates."""

from __future__ import annotations

import dis
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import islice
from types import FrameType

LIBRARIES = ("mcgrad", "numpy", "scipy", "pandas", "torch", "jax", "jaxlib", "numba", "sympy", "xarray", "tensorflow")
STANDARD = os.path.dirname(os.__file__) + os.sep

Line = tuple[str, int]  # file and line
_replayed: ContextVar[Callable[[], Line | None] | None] = ContextVar("line that is replayed", default=None)


@contextmanager
def replaying(line: Callable[[], Line | None] | None) -> Iterator[None]:
    """Let errors and warnings of what is traced inside name a line of the user's code that ran before.

    Parameters
    ----------
    line : callable or None
        Returns the line; called where it is needed. None if the user's code itself runs.
    """
    token = _replayed.set(line)
    try:
        yield
    finally:
        _replayed.reset(token)


def replayed() -> Callable[[], Line | None] | None:
    """Return what says which line is replayed now, or None where the user's code itself runs."""
    return _replayed.get()


def user_line() -> Line | None:
    """Return the line of the user's code that runs now, or is replayed."""
    line = _replayed.get()
    if line is not None:
        return line()
    frame = user_frame()
    return (frame.f_code.co_filename, frame.f_lineno) if frame else None


def line_of(error: BaseException) -> Line | None:
    """Return the line of the user's code, the innermost one, through which an error came."""
    step, line = error.__traceback__, None
    while step is not None:
        if owner(step.tb_frame.f_code.co_filename) is None:
            line = step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next
    return line


def user_frame() -> FrameType | None:
    """Return the innermost frame that is not mcgrad's, Python's or another library's; None for a line replayed."""
    if _replayed.get() is not None:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and owner(frame.f_code.co_filename) is not None:
        frame = frame.f_back
    return frame


@cache
def owner(filename: str) -> str | None:
    """Return which of the known libraries a file belongs to, or None for one of the user's own.

    Of a file whose code has run: its library is among the modules then.
    """
    for name in LIBRARIES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and filename.startswith(os.path.dirname(file) + os.sep):
            return name
    if filename.startswith("<frozen ") or (filename.startswith(STANDARD) and "site-packages" not in filename):
        return "python"
    return None


def crossed() -> str | None:
    """Return the library whose code stands between the user's code and the Tracer, if there is one besides NumPy."""
    frame, found = sys._getframe(1), None
    while frame is not None and (name := owner(frame.f_code.co_filename)) is not None:
        if name == "numpy" and f"{os.sep}ma{os.sep}" in frame.f_code.co_filename:
            name = "numpy.ma"
        found = name if name not in ("mcgrad", "numpy") else found
        frame = frame.f_back  # type: ignore[assignment]
    return found if frame is not None else None


def user_stores() -> bool:
    """Whether the user's code is assigning to an item."""
    frame = user_frame()
    return frame is not None and dis.opname[frame.f_code.co_code[frame.f_lasti]] == "STORE_SUBSCR"


def user_expression() -> str | None:
    """Return the text of the expression that the user's code is evaluating, where it stands on one line."""
    frame = user_frame()
    return None if frame is None else expression(frame, frame.f_lasti)


def expression(frame: FrameType, instruction: int) -> str | None:
    """Return the text of the expression that an instruction of a frame belongs to, where it stands on one line."""
    position = next(islice(frame.f_code.co_positions(), instruction // 2, None), None)
    if position is None or None in position or position[0] != position[1]:
        return None
    line, _, start, stop = position
    assert line is not None
    return linecache.getline(frame.f_code.co_filename, line).encode()[start:stop].decode(errors="replace") or None
