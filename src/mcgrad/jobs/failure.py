"""Messages of exceptions that users' code raises: of any type, even where their own methods raise."""

from __future__ import annotations

import traceback

from mcgrad.errors import McgradError, UserCodeError


def described(error: BaseException) -> str:
    """Return the kind and the message of an error."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:
        return f"{kind}, whose message raises {type(second).__name__}"
    return f"{kind}: {text}" if text else kind


def reason(error: BaseException) -> str:
    """Return why a job failed: the message of an error of mcgrad's, the type and the message of any other."""
    return str(error) if isinstance(error, McgradError) else described(error)


def stack(error: BaseException) -> str:
    """Return the traceback of an unexpected error; an empty string for errors that mcgrad raises on purpose."""
    cause: BaseException | None = error
    users = False
    while isinstance(cause, McgradError):
        users = users or isinstance(cause, UserCodeError)
        cause = cause.__cause__
    if cause is None or (cause is not error and not users):
        return ""
    try:
        return "".join(traceback.format_exception(cause))
    except BaseException as second:
        return f"{type(error).__name__}, whose traceback raises {type(second).__name__}\n"
