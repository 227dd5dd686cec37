"""The error for code that cannot be traced: it names the call, the user's line and what to write instead."""

from __future__ import annotations

from mcgrad.errors import TraceError
from mcgrad.trace.frames import user_frame


def refusal(call: str, remedy: str) -> TraceError:
    """Return the error for `call`, with the line of the user's code that is running now."""
    frame = user_frame()
    message = f"{call} cannot be traced; {remedy}"
    return TraceError(message, frame.f_code.co_filename, frame.f_lineno) if frame else TraceError(message)
