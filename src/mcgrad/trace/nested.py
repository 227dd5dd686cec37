"""Values in nested dicts, tuples and lists: their leaves, and the same nesting of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves by path, such as ``['v'][0]``, dicts in the order of their keys; None has no leaves."""
    found: dict[str, Any] = {}
    for key, part in _parts(value):
        found |= leaves(part, f"{path}[{key!r}]")
    return found if is_nested(value) else {path: value}


def is_nested(value: Any) -> bool:
    """Whether a value is no leaf."""
    return value is None or isinstance(value, Mapping | tuple | list)


def mapped(function: Callable[[str, Any], Any], value: Any, path: str = "") -> Any:
    """Return the same nesting of what a function of path and leaf makes of each leaf."""
    if not is_nested(value):
        return function(path, value)
    parts = {key: mapped(function, part, f"{path}[{key!r}]") for key, part in _parts(value)}
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: parts[key] for key in value}
    in_order = [parts[i] for i in range(len(value))]
    if hasattr(value, "_fields"):
        return type(value)(*in_order)
    return type(value)(in_order)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from ((key, value[key]) for key in sorted(value, key=str))
    elif isinstance(value, tuple | list):
        yield from enumerate(value)
