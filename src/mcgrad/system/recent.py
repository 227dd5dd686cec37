"""Values by key for as long as they are used, and the last few of them for longer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """What was made once and shall be found again: all values that are used elsewhere, and the last few besides.

    Parameters
    ----------
    size : int
        How many values are kept though nothing else holds them: those that were put or found last.

    Notes
    -----
    For one thread at a time, except `get`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._alive: WeakValueDictionary[Key, Value] = WeakValueDictionary()
        self._last: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None."""
        return self._alive.get(key)

    def find(self, key: Key) -> Value | None:
        """Return the value of a key, which is then the last used, or None."""
        value = self._alive.get(key)
        return None if value is None else self.put(key, value)

    def put(self, key: Key, value: Value) -> Value:
        """Keep and return a value; let go of the one that was used longest ago."""
        self._alive[key] = self._last[key] = value
        self._last.move_to_end(key)
        if len(self._last) > self._size:
            self._last.popitem(last=False)
        return value

    def keys(self) -> list[Key]:
        """Return the keys of all values that are there."""
        return list(self._alive.keys())

    def values(self) -> list[Value]:
        """Return all values that are there."""
        return list(self._alive.values())

    def clear(self) -> None:
        """Forget all."""
        self._alive.clear()
        self._last.clear()
