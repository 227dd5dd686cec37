"""The exceptions that mcgrad raises, its warnings, and the text of values in their messages.

Every error is a :class:`McgradError` and also the built-in error a caller would expect, so that
``except ValueError`` works as it does for NumPy.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class McgradError(Exception):
    """Base of every error that mcgrad raises on purpose."""


class ParameterError(McgradError, ValueError):
    """An argument that is refused before anything runs.

    Parameters
    ----------
    parameter : str
        The argument's name; a dotted path (``"a.loc"``) inside a parameter tree.
    given : str
        What was given, in words or as :func:`shown` prints it.
    accepted : str
        What would have been accepted.

    Examples
    --------
    >>> raise ParameterError("n", "1", "a whole number of at least 2")
    Traceback (most recent call last):
    mcgrad.errors.ParameterError: n: given 1; accepted: a whole number of at least 2
    """

    def __init__(self, parameter: str, given: str, accepted: str) -> None:
        super().__init__(parameter, given, accepted)  # args as they came, so that the error pickles
        self.parameter = parameter
        self.given = given
        self.accepted = accepted

    def __str__(self) -> str:
        return f"{self.parameter}: given {self.given}; accepted: {self.accepted}"


class UserCodeError(ParameterError):
    """A Python file of a job, or a function in it, raises; that exception is the cause of this one."""


@contextmanager
def renamed(rename: Callable[[str], str]) -> Iterator[None]:
    """Rename the parameter of a ParameterError that is raised in the context, such as to its path in a larger tree.

    Parameters
    ----------
    rename : callable
        Returns the new name of a parameter; called with the name in the error.
    """
    try:
        yield
    except ParameterError as error:
        raise ParameterError(rename(error.parameter), error.given, error.accepted) from error


class TraceError(McgradError, TypeError):
    """Code that cannot be traced into a Program.

    Parameters
    ----------
    message : str
        Which call or operation it is, and the remedy.
    filename : str or None
        File of the user's code that made the call.
    lineno : int or None
        Line in that file, from 1.
    line : str or None
        The source line; read from the file if left out.
    """

    def __init__(
        self, message: str, filename: str | None = None, lineno: int | None = None, line: str | None = None
    ) -> None:
        super().__init__(message, filename, lineno, line)
        self.message = message
        self.filename = filename
        self.lineno = lineno
        if line is None and filename is not None and lineno is not None:
            line = linecache.getline(filename, lineno)
        self.line = (line or "").strip()

    def __str__(self) -> str:
        if self.filename is None:
            return self.message
        where = f'{self.message}\n  File "{self.filename}", line {self.lineno}'
        return f"{where}\n    {self.line}" if self.line else where


class NonFiniteError(McgradError, ArithmeticError):
    """Draws whose value or gradient is not finite, under ``nonfinite="raise"``."""


class BackendError(McgradError, RuntimeError):
    """A backend that is not available here, or that failed."""


class ExecutorError(McgradError, RuntimeError):
    """An executor that cannot do tasks, or is gone in the middle of a run: a killed worker, a lost scheduler."""


class BackendWarning(UserWarning):
    """A backend that ``backend="auto"`` would have taken is missing or failed; the next best one runs."""


class CacheWarning(UserWarning):
    """A cache folder that is not used, cannot be written, or had a damaged file: code is compiled again each time."""


class JumpWarning(UserWarning):
    """A pathwise gradient that is biased where f, or the transform of q, jumps as a parameter moves."""


class OverrunWarning(UserWarning):
    """Draws are not finite, and an `mg.while_loop` may not have ended in them after its last step."""


class ControlWarning(UserWarning):
    """The mean that was given for a control is not that of the draws."""


class RareDrawsWarning(UserWarning):
    """A gradient is zero or too small, as the draws that its parameter moves are too rare for the number of draws."""


class ToleranceWarning(UserWarning):
    """A run until its error is within a tolerance has ended at a limit before that."""


class WeightsWarning(UserWarning):
    """Draws of a proposal whose weights have so heavy a tail that standard errors are not to be trusted."""


class MultilevelWarning(UserWarning):
    """Levels that are not coupled as they should be, or whose standard errors are not to be trusted."""


class UnrolledWarning(UserWarning):
    """A long Python loop that is no loop in the Program, as its iterations differ: it is compiled turn by turn."""


class MergeError(McgradError, ValueError):
    """Estimates that cannot be merged: of different problems, seeds or dtypes, or with draws in common."""


def shown(value: object, limit: int = 60) -> str:
    """Print a refused value in a few words: arrays by kind and shape, anything else by its repr, cut at `limit`."""
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if dtype is not None and shape:
            return f"{dtype} array of shape {shape}"
        text = repr(value)
    except Exception as error:  # nesting too deep, too many digits, or any exception of a user's class
        return f"{type(value).__name__}, whose repr raises {type(error).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


BETWEEN = ("mcgrad", "numba", "torch", "jax")  # packages whose frames may lie between a warning and the user's code


def user_level() -> int:
    """Return the `stacklevel` of a warning by the caller with which it names the line of the user's code."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    return level


def shown_names(names: Sequence[str], limit: int = 20) -> str:
    """Print names that would be accepted, the first `limit` of them, as :func:`shown` prints each."""
    more = f", ... ({len(names)})" if len(names) > limit else ""
    return ", ".join(shown(name) for name in names[:limit]) + more
