"""The error for code that cannot be traced: it names the call, the user's line and what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mcgrad.errors import TraceError
from mcgrad.trace.frames import user_line


def refusal(call: str, remedy: str) -> TraceError:
    """Return the error for `call`, with the line of the user's code that is running now."""
    return TraceError(f"{call} cannot be traced; {remedy}", *(user_line() or ()))


def refusal_of(function: Callable[..., Any], message: str) -> TraceError:
    """Return an error that points at the first line of a function of the user's."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return TraceError(message, code.co_filename, code.co_firstlineno) if code else TraceError(message)
