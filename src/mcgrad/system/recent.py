"""A cache in memory, for compiled functions: values by key while they are in use, and the last few for longer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values by key: all that something else still refers to, and the last few besides.

    Parameters
    ----------
    size : int
        How many values are kept though nothing else refers to them: those that were put or found last.

    Notes
    -----
    Not thread-safe, except `get`: callers hold a lock.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._alive: WeakValueDictionary[Key, Value] = WeakValueDictionary()
        self._last: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None."""
        return self._alive.get(key)

    def find(self, key: Key) -> Value | None:
        """Return the value of a key and mark it as the last used, or return None."""
        value = self._alive.get(key)
        return None if value is None else self.put(key, value)

    def put(self, key: Key, value: Value) -> Value:
        """Keep and return a value; release the least recently used one."""
        self._alive[key] = self._last[key] = value
        self._last.move_to_end(key)
        if len(self._last) > self._size:
            self._last.popitem(last=False)
        return value

    def keys(self) -> list[Key]:
        """Return the keys of all values."""
        return list(self._alive.keys())

    def values(self) -> list[Value]:
        """Return all values."""
        return list(self._alive.values())

    def clear(self) -> None:
        """Remove all values."""
        self._alive.clear()
        self._last.clear()
