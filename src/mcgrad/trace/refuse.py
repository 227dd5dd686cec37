"""The error for code that cannot be traced: it names the call, the user's line and what to write instead."""

from __future__ import annotations

from mcgrad.errors import TraceError
from mcgrad.trace.frames import user_line


def refusal(call: str, remedy: str) -> TraceError:
    """Return the error for `call`, with the line of the user's code that is running now."""
    return TraceError(f"{call} cannot be traced; {remedy}", *(user_line() or ()))
