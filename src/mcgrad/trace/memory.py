"""Arrays that share memory in NumPy, such as an array and a slice of it, and what a write to one of them does.

A traced value never changes: `z[0] = 1` gives the stand-in another value. In NumPy all arrays that share the memory
would follow. Here they do not, so the ones that were made before the write may not be read after it.
"""

from __future__ import annotations

from typing import Any

from mcgrad.trace.indexing import is_integer

VIEWS = {  # of the functions and methods, those whose result may share memory with their argument
    "reshape", "ravel", "squeeze", "expand_dims", "transpose", "permute_dims", "matrix_transpose", "swapaxes",
    "moveaxis", "conj", "conjugate", "atleast_1d", "atleast_2d", "split", "array_split", "hsplit", "vsplit", "flip",
    "fliplr", "flipud", "real", "T", "mT",
}  # fmt: skip
READ_ONLY = {"broadcast_to", "broadcast_arrays", "diagonal", "diag"}  # those whose result is read-only in NumPy


class Memory:
    """What arrays that share memory have in common: how often any of them was written to."""

    __slots__ = ("writes",)

    def __init__(self) -> None:
        self.writes = 0


def is_view(key: Any, ndim: int) -> bool:
    """Whether x[key] shares memory with x, of so many axes: what slices take out, and not single elements."""
    keys = key if isinstance(key, tuple) else (key,)
    basic = all(k is None or k is Ellipsis or isinstance(k, slice) or is_integer(k) for k in keys)
    return basic and not (len(keys) == ndim and all(map(is_integer, keys)))
