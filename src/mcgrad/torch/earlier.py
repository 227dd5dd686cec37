"""Calls like one that was made before: found by the kinds of their arguments, so that these are not read again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mcgrad.system.locks import Lock
from mcgrad.system.recent import Recent
from mcgrad.torch.leaves import Leaf, Leaves
from mcgrad.torch.operator import PLAIN, Call
from mcgrad.torch.problems import Problem, key_of

KEPT = 256  # calls


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Earlier:
    """What follows from the kinds of a call's arguments.

    Parameters
    ----------
    call : Call
    known : tuple of Leaf
    problem : Problem
        Kept alive.
    where : tuple of (int, torch.dtype or None)
        Which values are the call's tensors, in order; with a dtype those that are floats.
    """

    call: Call
    known: tuple[Leaf, ...]
    problem: Problem
    where: tuple[tuple[int, torch.dtype | None], ...]

    def tensors(self, values: list[Any]) -> list[torch.Tensor]:
        """Return the tensors of another call with arguments of these kinds."""
        return [values[i] if dtype is None else torch.tensor(values[i], dtype=dtype) for i, dtype in self.where]


def kinds_of(
    f: Any, q: Any, others: tuple[Any, ...], arguments: tuple[Mapping[str, Any] | None, ...]
) -> tuple[Hashable | None, list[Any]]:
    """Return what is equal for calls with arguments of the same kinds, and the values, one after the other.

    There are no kinds, but None, where an argument is no dict, or a value is of another type, such as a nested dict.
    """
    kinds: list[Any] = [key_of(f), key_of(q), others, torch.is_grad_enabled()]
    values: list[Any] = []
    for argument in arguments:
        kinds.append(None)
        for name, x in argument.items() if type(argument) is dict else ():
            if type(x) in PLAIN:
                kinds.append((name, x.shape, x.dtype, x.requires_grad))
            elif type(x) is float:
                kinds.append(name)
            elif type(x) is int or type(x) is bool:
                kinds.append((name, type(x), x))
            else:
                return None, values
            values.append(x)
        if argument is not None and type(argument) is not dict:
            return None, values
    return tuple(kinds), values


def find(kinds: Hashable | None) -> Earlier | None:
    """Return what follows from the kinds of arguments, if a call had them before and is kept still."""
    try:
        return _made.get(kinds)
    except TypeError:  # an option that cannot be hashed
        return None


def put(kinds: Hashable | None, values: list[Any], leaves: Leaves, call: Call, problem: Problem) -> None:
    """Keep what follows from the kinds of arguments."""
    if kinds is None:
        return
    where: list[tuple[int, torch.dtype | None]] = []
    for i, x in enumerate(values):
        if type(x) is float:
            where.append((i, leaves.dtype))
        elif type(x) in PLAIN:
            where.append((i, None))
    if len(where) == len(leaves.tensors):  # ints are values of parameters of f, and arguments of families
        with _lock:
            _made.put(kinds, Earlier(call, leaves.known, problem, tuple(where)))


_made: Recent[Hashable, Earlier] = Recent(KEPT)
_lock = Lock()
