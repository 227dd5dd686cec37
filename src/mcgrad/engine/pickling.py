"""Pickles of an Estimator: its Derivation, with Programs as bytes, and functions by name or as code."""

from __future__ import annotations

import pickle
from contextvars import ContextVar
from typing import Any, Protocol, Self, TypeVar

from mcgrad.engine.derivation import Derivation
from mcgrad.engine.options import Options
from mcgrad.errors import ParameterError, shown
from mcgrad.ir import serial
from mcgrad.pickles import is_interactive
from mcgrad.system.machine import processor

_being_pickled: ContextVar[tuple[Any, ...]] = ContextVar("distributions being pickled", default=())


class Made(Protocol):
    """The protocol of the Estimator class, as far as this module uses it."""

    @classmethod
    def of_derivation(cls, derived: Derivation, options: Options, ran: str | None = None) -> Self:
        """Return the Estimator of what was derived earlier."""


Kind = TypeVar("Kind", bound=Made)


def packed(derived: Derivation, options: Options, ran: str) -> tuple[Derivation | bytes, Options, str, str]:
    """Return the arguments of `unpickled` besides the class.

    Parameters
    ----------
    derived : Derivation
    options : Options
        Without parameters and data, which are among the inputs.
    ran : str
        The backend in use.

    Raises
    ------
    ParameterError
        q, or an Integrand, holds an object that can be pickled neither by name nor as code, such as an open file.
    """
    return _portable(derived), options, ran, processor()


def unpickled(kind: type[Kind], derived: Derivation | bytes, options: Options, ran: str, where: str) -> Kind:
    """Make the Estimator that was pickled; on a machine with the same processor it runs on the same backend.

    Raises
    ------
    ParameterError
        Its Programs are damaged, of another version, or call functions that are different in this process.
    """
    whole: Derivation = pickle.loads(derived) if isinstance(derived, bytes) else derived
    return kind.of_derivation(whole, options, ran if where == processor() else None)


def _portable(derived: Derivation) -> Derivation | bytes:
    """Return the derivation as it is, or as bytes with the code of functions that pickle does not find by name."""
    q, outer = derived.q, _being_pickled.get()
    if any(q is each for each in outer):
        accepted = "a distribution whose functions belong to an object whose pickle leaves the Estimator out"
        raise ParameterError("q", f"{shown(q)}, which holds its own Estimator", f"{accepted}, as __getstate__ may")
    token = _being_pickled.set((*outer, q))
    try:
        return _by_name_or_as_code(derived)
    finally:
        _being_pickled.reset(token)


def _by_name_or_as_code(derived: Derivation) -> Derivation | bytes:
    functions = derived.q, serial.functions(derived.program)
    try:
        content = pickle.dumps(functions)
    except ParameterError:
        raise
    except Exception:  # PicklingError, AttributeError, TypeError, or any exception of a user's __reduce__
        content = b""
    if content and not (b"__main__" in content and is_interactive()):
        return derived
    from numba import cloudpickle  # part of Numba, a dependency

    try:
        return bytes(cloudpickle.dumps(derived))  # type: ignore[no-untyped-call]
    except ParameterError:
        raise
    except Exception as error:
        if content:
            return derived
        given = f"{shown(derived.q)}, which cannot be pickled ({error})"
        raise ParameterError("q", given, "functions, and objects that pickle or cloudpickle takes") from error
