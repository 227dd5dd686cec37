"""What a user hears about code that cannot be traced: the call, the line of their own file, the remedy."""

from __future__ import annotations

import dis
import linecache
import os
import sys
from itertools import islice
from types import FrameType

import numpy as np

import mcgrad.ir
from mcgrad.errors import TraceError


def refusal(call: str, remedy: str) -> TraceError:
    """Return the error for `call`, with the line of the user's code that is running now."""
    frame = user_frame()
    message = f"{call} cannot be traced; {remedy}"
    return TraceError(message, frame.f_code.co_filename, frame.f_lineno) if frame else TraceError(message)


def user_frame() -> FrameType | None:
    """Return the innermost frame that is not the tracer's, NumPy's or SciPy's."""
    folders = [os.path.dirname(__file__), os.path.dirname(mcgrad.ir.__file__), os.path.dirname(np.__file__)]
    if "scipy" in sys.modules:
        folders.append(os.path.dirname(sys.modules["scipy"].__file__ or ""))
    inner = tuple(folder + os.sep for folder in folders if folder)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(inner):
        frame = frame.f_back
    return frame


def user_stores() -> bool:
    """Whether the user's code is assigning to an item."""
    frame = user_frame()
    return frame is not None and dis.opname[frame.f_code.co_code[frame.f_lasti]] == "STORE_SUBSCR"


def user_expression() -> str | None:
    """Return the text of the expression that the user's code is evaluating, where it stands on one line."""
    frame = user_frame()
    if frame is None:
        return None
    position = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), None)
    if position is None or None in position or position[0] != position[1]:
        return None
    line, _, start, stop = position
    assert line is not None
    return linecache.getline(frame.f_code.co_filename, line).encode()[start:stop].decode(errors="replace") or None
