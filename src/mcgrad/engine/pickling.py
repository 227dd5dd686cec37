"""Pickles of an Estimator: it is made again by its arguments where they arrive, such as in another process."""

from __future__ import annotations

import os
import pickle
import sys
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.engine.options import Request
from mcgrad.errors import ParameterError, shown
from mcgrad.system.machine import processor

_being_pickled: ContextVar[tuple[Any, ...]] = ContextVar("functions being pickled", default=())


def portable(request: Request) -> tuple[Any, ...]:
    """Return f and q, and the rest of a request, for pickle: arrays in host memory, functions by name or as code.

    Raises
    ------
    ParameterError
        Where f or q holds what cannot be pickled in either way, such as an open file.
    """
    functions = _functions(request.f, request.q)
    given = request.options
    params, data = (x and tree.map(to_host, x) for x in (given.params, given.data))
    return functions, replace(given, params=params, data=data), request.plan, request.ran, request.where


def ran_here(request: Request) -> str | None:
    """Return the backend that ran on a machine with this processor: to run there again gives the same bits."""
    return request.ran if request.ran and request.where == processor() else None


class Made(Protocol):
    """The part of an Estimator that this module uses."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal problems."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the Estimator of a request."""


Kind = TypeVar("Kind", bound=Made)


def unpickled(kind: type[Kind], made_of: tuple[Any, ...], fingerprint: str) -> Kind:
    """Make the Estimator that was pickled.

    Raises
    ------
    ParameterError
        Where it is another problem than the one that was pickled.
    """
    functions, *rest = made_of
    f, q = pickle.loads(functions) if isinstance(functions, bytes) else functions
    estimator = kind.of(Request(f, q, *rest))
    if estimator.fingerprint != fingerprint:
        given = f"{shown(f)}, with which this is another problem than where the Estimator was pickled"
        accepted = "the same code, and versions of mcgrad and NumPy, in both processes; for an Integrand, functions "
        raise ParameterError("f", given, f"{accepted}that read numbers, arrays and functions alone")
    return estimator


def _functions(f: Any, q: Any) -> Any:
    """Return both as they are, or as bytes with the code of functions in them that pickle does not find by name."""
    outer = _being_pickled.get()
    if any(f is each for each in outer):
        accepted = "an object whose pickle leaves the Estimator out, as __getstate__ may"
        raise ParameterError("f", f"{shown(f)}, which holds its own Estimator", accepted)
    token = _being_pickled.set((*outer, f))
    try:
        return _pickled(f, q)
    finally:
        _being_pickled.reset(token)


def _pickled(f: Any, q: Any) -> Any:
    try:
        content = pickle.dumps((f, q))
    except ParameterError:
        raise
    except Exception:  # pickle raises PicklingError, AttributeError, TypeError, or what a user's __reduce__ raises
        content = b""
    if content and not (b"__main__" in content and _is_interactive()):
        return f, q
    from numba import cloudpickle  # there wherever mcgrad is

    try:
        return bytes(cloudpickle.dumps((f, q)))  # type: ignore[no-untyped-call]
    except ParameterError:
        raise
    except Exception as error:
        if content:
            return f, q
        given = f"{shown(f)}, which cannot be pickled ({error})"
        raise ParameterError("f", given, "functions, and objects that pickle or cloudpickle takes") from error


def _is_interactive() -> bool:
    """Whether ``__main__`` is no file, as in a notebook: other processes then find none of its functions by name."""
    return not os.path.isfile(getattr(sys.modules["__main__"], "__file__", ""))  # "<stdin>" for a program on stdin
