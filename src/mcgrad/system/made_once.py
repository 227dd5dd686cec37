"""A cache in memory for threads: values that are each made once, of which the least recently used are released."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from mcgrad.system.locks import Lock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class MadeOnce(Generic[Key, Value]):
    """Values by key. Threads that want one that another thread is making wait for it, and no others.

    Parameters
    ----------
    most : int
        How much is kept: the last value in any case.
    size : callable, optional
        Of a value. Default: 1 each.
    """

    def __init__(self, most: int, size: Callable[[Value], int] = lambda value: 1) -> None:
        self._most, self._size = most, size
        self._lock = Lock()
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, Lock] = {}

    def get(self, key: Key, make: Callable[[], Value] | None = None) -> Value | None:
        """Return a value; make it if it is not there, or return None where nothing is given that does."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            own = self._making.setdefault(key, Lock()) if make else self._making.get(key)
        if own is None:
            return None
        with own:
            with self._lock:
                found = self._values.get(key)
            if found is not None or make is None:
                return found
            try:
                return self._put(key, make())
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _put(self, key: Key, value: Value) -> Value:
        with self._lock:
            self._values[key] = value
            while len(self._values) > 1 and sum(map(self._size, self._values.values())) > self._most:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Release all values."""
        with self._lock:
            self._values.clear()
