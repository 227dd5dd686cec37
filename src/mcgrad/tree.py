"""Parameter trees: nested dicts of leaves, and the dotted paths that name the leaves.

``{"a": {"loc": x, "scale": y}, "tau": t}`` flattens to ``{"a.loc": x, "a.scale": y, "tau": t}``, in the order in
which the dicts were filled. A leaf is whatever is not a dict. A tree that is itself a leaf has the one path ``""``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mcgrad.errors import ParameterError, shown

DEEP = "dicts that are nested too deep, or without end"


def flatten(tree: Any) -> dict[str, Any]:
    """Return the leaves of `tree` by dotted path, in insertion order.

    Inner dicts without leaves are dropped.

    Raises
    ------
    ParameterError
        A name is not a string, is empty or has a dot; dicts are nested deeper than Python's stack.
    """
    if not isinstance(tree, Mapping):
        return {"": tree}
    flat: dict[str, Any] = {}
    try:
        _flatten_into(flat, "", tree)
    except RecursionError:
        raise ParameterError(str(next(iter(tree))), DEEP, "fewer") from None
    return flat


def _flatten_into(flat: dict[str, Any], prefix: str, tree: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if not isinstance(name, str) or not name or "." in name:
            raise ParameterError(f"{prefix}name", shown(name), "a string that is not empty and holds no dot")
        if isinstance(value, Mapping):
            _flatten_into(flat, f"{prefix}{name}.", value)
        else:
            flat[prefix + name] = value


def unflatten(flat: Mapping[str, Any]) -> Any:
    """Return the tree whose :func:`flatten` is `flat`: nested dicts, or the leaf itself for the one path ``""``.

    Raises
    ------
    ParameterError
        A path leads through a leaf (``"a"`` and ``"a.b"``).
    """
    if len(flat) == 1 and "" in flat:
        return flat[""]
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        if "." not in path and path not in tree:
            tree[path] = value
            continue
        node, names = tree, path.split(".")
        for name in names[:-1]:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ParameterError(path, "a path through a leaf", "paths of which none is the beginning of another")
        if names[-1] in node:
            raise ParameterError(path, "a path twice", "paths of which none is the beginning of another")
        node[names[-1]] = value
    return tree


def map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree of the same names with `function` of each leaf.

    Raises
    ------
    ParameterError
        Dicts are nested deeper than Python's stack.
    """
    if not isinstance(tree, Mapping):
        return function(tree)
    try:
        return {name: map(function, value) for name, value in tree.items()}
    except RecursionError:
        raise ParameterError(str(next(iter(tree))), DEEP, "fewer") from None


def select(paths: Iterable[str], names: str | Iterable[str], option: str = "name") -> tuple[str, ...]:
    """Return those of `paths` that `names` select, in the order of `paths`.

    Parameters
    ----------
    paths : iterable of str
        Dotted paths, as the keys of :func:`flatten`.
    names : str or iterable of str
        Each a whole path (``"a.loc"``) or the beginning of paths at a dot (``"a"`` selects all inside ``a``).
    option : str
        The argument that gives the names, for the error.

    Raises
    ------
    ParameterError
        A name that selects no path.
    """
    paths = tuple(paths)
    chosen: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        found = [path for path in paths if path == name or path.startswith(f"{name}.")]
        if not found:
            raise ParameterError(option, shown(name), f"any of {', '.join(paths) or '(there are none)'}")
        chosen.update(found)
    return tuple(path for path in paths if path in chosen)
