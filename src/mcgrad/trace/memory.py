"""Arrays that share memory in NumPy, such as an array and a slice of it, and what a write to one of them does.

A traced value never changes: `z[0] = 1` gives the stand-in another value. In NumPy all arrays that share the memory
follow. Here rows and slices do, which refer to their array and have its key. Other views, as those by reshape, do not:
what was made before a write to one of them may not be read after it.

A step of a loop is traced once. What it writes to an array from outside would be written once, not in each step, so
that is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mcgrad.trace.indexing import is_integer
from mcgrad.trace.refuse import refusal

VIEWS = {  # of the functions and methods, those whose result may share memory with their argument
    "reshape", "ravel", "squeeze", "expand_dims", "transpose", "permute_dims", "matrix_transpose", "swapaxes",
    "moveaxis", "conj", "conjugate", "atleast_1d", "atleast_2d", "split", "array_split", "hsplit", "vsplit", "flip",
    "fliplr", "flipud", "real", "T", "mT",
}  # fmt: skip
READ_ONLY = {"broadcast_to", "broadcast_arrays", "diagonal", "diag"}  # those whose result is read-only in NumPy


_step: ContextVar[object] = ContextVar("step", default=None)


@contextmanager
def in_step() -> Iterator[None]:
    """Trace a step of a loop inside of this."""
    token = _step.set(object())
    try:
        yield
    finally:
        _step.reset(token)


class Memory:
    """What arrays that share memory have in common: how often any of them was written to, and where they are made."""

    __slots__ = ("_step", "writes")

    def __init__(self) -> None:
        self.writes = 0
        self._step = _step.get()

    def check_is_of_step(self) -> None:
        """Refuse a write in a step of a loop to arrays from outside of it."""
        if self._step is not _step.get():
            raise refusal(
                "a write in a step of a loop to an array from outside of it",
                "write to a copy of it in the step, x = x.copy(), or hand it on as a carry",
            )


def is_view(key: Any, ndim: int) -> bool:
    """Whether x[key] shares memory with x, of so many axes: what slices take out, and not single elements."""
    keys = key if isinstance(key, tuple) else (key,)
    basic = all(k is None or k is Ellipsis or isinstance(k, slice) or is_integer(k) for k in keys)
    return basic and not (len(keys) == ndim and all(map(is_integer, keys)))
