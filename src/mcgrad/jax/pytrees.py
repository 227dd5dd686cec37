"""Parameters of f as JAX has them: pytrees, which become the nested dicts that mcgrad takes, and are rebuilt for f."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from mcgrad import tree
from mcgrad.errors import ParameterError, shown


def flat(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the leaves of the parameters by dotted path, and the structures of those that are not dicts throughout.

    Parameters
    ----------
    params : dict of str to pytree

    Returns
    -------
    dict of str to leaf
        Leaves of other nodes, such as lists, are named by their number: ``"layers.0"``.
    dict of str to PyTreeDef
        By name of the parameter.
    """
    leaves: dict[str, Any] = {}
    structures: dict[str, Any] = {}
    for name, value in params.items():
        if _is_plain(value):
            leaves |= tree.flatten({name: value})
            continue
        found, structures[name] = jax.tree.flatten(value)
        leaves |= {f"{name}.{i}": leaf for i, leaf in enumerate(found)}
    return leaves, structures


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(isinstance(name, str) and _is_plain(x) for name, x in value.items())
    return bool(jax.tree.structure(value) == LEAF)


LEAF = jax.tree.structure(0)


def like(structures: Mapping[str, Any], nested: dict[str, Any]) -> dict[str, Any]:
    """Return parameters that :func:`flat` made nested dicts of in their own structures."""
    return {
        name: jax.tree.unflatten(structures[name], list(value.values())) if name in structures else value
        for name, value in nested.items()
    }


@dataclass(frozen=True)
class Rebuilding:
    """An integrand that is called with its parameters in their own structures.

    Parameters
    ----------
    f : callable
    structures : tuple of (str, PyTreeDef)
    """

    f: Callable[..., Any]
    structures: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, f: Any, structures: Mapping[str, Any]) -> Any:
        """Return f itself where its parameters are nested dicts."""
        if not structures:
            return f
        if not callable(f):
            raise ParameterError("params", f"{next(iter(structures))} as a pytree, with f {shown(f)}", "nested dicts")
        return cls(f, tuple(structures.items()))

    def __call__(self, *draw: Any, **others: Any) -> Any:
        """Call f."""
        return self.f(*draw, **like(dict(self.structures), others))
