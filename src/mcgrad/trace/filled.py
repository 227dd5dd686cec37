"""Arrays that f makes by `np.empty` or `np.zeros` and fills, one element after another, with traced values.

While a function is traced these are arrays of a class that behaves as NumPy's does until a traced value is written to
one of them, or to a row or a slice of it. From then on a Tracer stands for it. Rows and slices follow. Other views that
were made before, as by reshape, do not: what the array held is then NaN, so that no stale number is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mcgrad.trace.memory import Memory, is_view

NAMES = ("empty", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like")  # what makes them


class FilledArray(np.ndarray[Any, Any]):
    """An array of floats, or the Tracer that stands for it; of a row or a slice, what its array has there."""

    _traced: Any = None
    _memory: Memory | None = None  # of one that was made for f, and what is at a key of it
    _origin: tuple[FilledArray, Any] | None = None  # the array and the key, of a row or a slice

    @property
    def traced(self) -> Any:
        """The Tracer that stands for it, if one does."""
        if self._origin is None:
            return self._traced
        base, key = self._origin
        return None if base.traced is None else base.traced[key]

    def _trace(self) -> None:
        """Let a Tracer stand for it, and for the array that it is a row or a slice of."""
        if self._origin is not None:
            self._origin[0]._trace()
        elif self._traced is None:
            plain = self.view(np.ndarray)
            self._traced = _constant(plain)
            plain[...] = np.nan

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._memory is not None:
            self._memory.check_is_of_step()
            if _is_traced(value) or _is_traced(key):
                self._trace()
        if self.traced is None:
            super().__setitem__(key, value)
        else:
            self.traced[key] = value

    def __getitem__(self, key: Any) -> Any:
        found = plain(self)
        if self.traced is not None:
            return found[key]
        if _is_traced(key):
            return _constant(found)[key]
        if self._memory is None or not is_view(key, self.ndim):
            return found[key]
        part = super().__getitem__(key)
        part._memory, part._origin = self._memory, (self, key)
        return part

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self))) if self.ndim > 1 else iter(plain(self))

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name in ("traced", "_traced", "_trace", "_memory", "_origin", "view"):
            return super().__getattribute__(name)
        traced = self.traced
        return super().__getattribute__(name) if traced is None else getattr(traced, name)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def copy(self, order: Any = "C") -> Any:
        """Return an array that may be filled, too."""
        return self.traced.copy() if self.traced is not None else fillable(self.view(np.ndarray).copy(order))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out", ())
        own = self._memory if len(out) == 1 and out[0] is self else None
        if own is not None and (self.traced is not None or any(map(_is_traced, inputs))):  # total += z
            self[...] = getattr(ufunc, method)(*map(plain, inputs), **{**kwargs, "out": None})
            return self
        if own is not None:
            own.check_is_of_step()
        if out:
            kwargs["out"] = tuple(map(plain, out))
        result = getattr(ufunc, method)(*map(plain, inputs), **kwargs)
        return self if out and out[0] is self else result

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return func(*map(plain_within, args), **{name: plain_within(value) for name, value in kwargs.items()})


def fillable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of floats, of its own memory, as one that may be filled; others as they are."""
    if type(array) is not np.ndarray or array.dtype.kind != "f":
        return array
    if array.base is not None or not array.flags.writeable:
        array = array.copy()
    found = array.view(FilledArray)
    found._memory = Memory()
    return found


def plain(value: Any) -> Any:
    """Return what stands for an array that may be filled: a Tracer, or a plain array; other values as they are."""
    if not isinstance(value, FilledArray):
        return value
    return value.view(np.ndarray) if value.traced is None else value.traced


def plain_within(value: Any) -> Any:
    """Return a value, and what is in nested tuples and lists, as `plain` does."""
    if type(value) in (tuple, list):
        return type(value)(map(plain_within, value))
    return plain(value)


def _constant(array: np.ndarray[Any, Any]) -> Any:
    from mcgrad.ir import build
    from mcgrad.trace.tracer import Tracer

    return Tracer(build.const(array))


def _is_traced(value: Any) -> bool:
    from mcgrad.trace.tracer import holds_tracer

    return holds_tracer(value)
