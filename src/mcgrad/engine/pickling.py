"""Pickles of an Estimator: it is made again by its arguments where they arrive, such as in another process."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.plan import MethodNames, Plan
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.system.machine import processor

_being_pickled: ContextVar[tuple[Any, ...]] = ContextVar("functions being pickled", default=())


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of an Estimator, and what an earlier one of them settled.

    Parameters
    ----------
    f, q, params, data, wrt, method, baseline, k, dtype, backend, threads, nonfinite, draws, devices, output
        As for `Estimator`.
    plan : Plan, optional
        What `method` came to, by a pilot under "auto".
    ran, where : str
        The backend that ran, and the processor of that machine.
    """

    f: Callable[..., Any] | Integrand | Objective
    q: Distribution | None
    params: Mapping[str, Any] | None
    data: Mapping[str, Any] | None
    wrt: str | Iterable[str] | None
    method: MethodNames
    baseline: str | None
    k: int
    dtype: npt.DTypeLike | None
    backend: str
    threads: int | None
    nonfinite: str
    draws: int | None
    devices: Iterable[int] | None
    output: str
    plan: Plan | None = None
    ran: str = ""
    where: str = ""

    def ran_here(self) -> str | None:
        """Return the backend that ran on a machine with this processor: to run there again gives the same bits."""
        return self.ran if self.ran and self.where == processor() else None

    def portable(self) -> tuple[Any, dict[str, Any]]:
        """Return f and q, and the rest by name, for pickle: arrays in host memory, functions by name or as code.

        Raises
        ------
        ParameterError
            Where f or q holds what cannot be pickled in either way, such as an open file.
        """
        rest = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("f", "q")}
        for name in ("params", "data"):
            rest[name] = rest[name] and tree.map(to_host, rest[name])
        return _functions(self.f, self.q), rest


class Made(Protocol):
    """The part of an Estimator that this module uses."""

    @property
    def problem(self) -> str:
        """Its fingerprint."""

    def _make(self, given: Request) -> None: ...


Kind = TypeVar("Kind", bound=Made)


def unpickled(kind: type[Kind], portable: tuple[Any, dict[str, Any]], problem: str) -> Kind:
    """Make the Estimator that was pickled.

    Raises
    ------
    ParameterError
        Where it is another problem than the one that was pickled.
    """
    functions, rest = portable
    f, q = pickle.loads(functions) if isinstance(functions, bytes) else functions
    estimator = object.__new__(kind)
    estimator._make(Request(f, q, **rest))
    if estimator.problem != problem:
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
