"""Components of a mixture, of one family: how their parameters are stacked, their draws, and the path of draws.

`mixture` calls them. A family with a `cdf` has `Independent` components. `MultivariateNormal` states `Correlated` in
their place, in `Distribution.components`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mcgrad.distributions.constraints import Constraint, FloatArray
from mcgrad.distributions.gaps import marginal
from mcgrad.distributions.rosenblatt import factorized_path, normal_path
from mcgrad.errors import ParameterError
from mcgrad.noise import Shape

if TYPE_CHECKING:
    from mcgrad.distributions.base import Distribution


@dataclass(frozen=True)
class Independent:
    """Components whose coordinates are independent: their parameters broadcast to (K, *event shape)."""

    family: type[Distribution]

    def check(self, parts: Sequence[Distribution] | None) -> None:
        """Refuse a family, or parts of one; None where the components are given as one distribution.

        Raises
        ------
        ParameterError
        """
        if self.family.cdf is None:
            accepted = "MultivariateNormal, or a family with a cdf; the weights are probs= or logits="
            raise ParameterError("components", f"{self.family.__name__}, which has no cdf", accepted)

    def constraint(self, path: str, constraint: Constraint) -> Constraint:
        """Return the constraint of a stack of parameters, each of which has one."""
        return constraint

    def level(self, x: FloatArray, axes: int) -> FloatArray:
        """Give a parameter as many axes as the draw, so that one in front of them counts components."""
        return x.reshape((1,) * (axes - x.ndim) + x.shape)

    def draws(self, eps: Any, components: Mapping[str, Any]) -> Any:
        """Return a draw of each component, along the first axis."""
        return self.family.transform(eps, **components)

    def path(self, z: Any, log_weights: Any, components: Mapping[str, Any]) -> Any:
        """Return the mixture's draw, held fixed, with its pathwise derivative."""
        return factorized_path(self.family, z, log_weights, components)

    def one(self, components: Mapping[str, Any], k: int, event: Shape) -> dict[str, Any]:
        """Return the parameters of one component."""
        axes = 1 + len(event)
        return {name: x[min(k, np.shape(x)[0] - 1)] if np.ndim(x) == axes else x for name, x in components.items()}

    def cdf(self, components: Mapping[str, Any]) -> Callable[[Any], Any]:
        """Return the distribution functions of the coordinates of each component, each by itself."""
        assert self.family.cdf is not None  # others are refused
        return partial(self.family.cdf, **components)


@dataclass(frozen=True)
class Correlated:
    """Normal components with any covariance: `loc` of shape (K, d) and `scale_tril` of shape (K, d, d)."""

    family: type[Distribution]
    marginal_cdf: Callable[..., Any]  # of a coordinate, ``cdf(z, loc=, scale=)``

    def check(self, parts: Sequence[Distribution] | None) -> None:
        """Refuse what comes as one distribution, and parts that are given by another matrix than the factor.

        Raises
        ------
        ParameterError
        """
        name = self.family.__name__
        if parts is None:
            raise ParameterError("components", f"one {name}", "a sequence of them")
        for part in parts:
            if "scale_tril" not in part.shapes:
                accepted = f"{name}(loc, scale_tril=np.linalg.cholesky(covariance))"
                raise ParameterError("components", repr(part), accepted)

    def constraint(self, path: str, constraint: Constraint) -> Constraint:
        """Return the constraint of a stack of parameters, each of which has one."""
        if path != "scale_tril":
            return constraint
        each = _Each(constraint)
        return replace(constraint, check=each.check, wrong=each.wrong, free=each.free, rows=each.rows)

    def level(self, x: FloatArray, axes: int) -> FloatArray:
        """Return a parameter as it is."""
        return x

    def draws(self, eps: Any, components: Mapping[str, Any]) -> Any:
        """Return a draw of each component, along the first axis."""
        return components["loc"] + np.einsum("kij,j->ki", components["scale_tril"], eps)

    def path(self, z: Any, log_weights: Any, components: Mapping[str, Any]) -> Any:
        """Return the mixture's draw, held fixed, with its pathwise derivative."""
        return normal_path(z, log_weights, components["loc"], components["scale_tril"])

    def one(self, components: Mapping[str, Any], k: int, event: Shape) -> dict[str, Any]:
        """Return the parameters of one component."""
        return {name: x[k] for name, x in components.items()}

    def cdf(self, components: Mapping[str, Any]) -> Callable[[Any], Any]:
        """Return the distribution functions of the coordinates of each component, each by itself."""
        return marginal(self.marginal_cdf, components["loc"], components["scale_tril"])


@dataclass(frozen=True)
class _Each:
    """A constraint on each array of a stack."""

    one: Constraint

    def check(self, stack: FloatArray) -> Any:
        return stack.ndim > 1 and all(bool(self.one.check(array)) for array in stack)

    def rows(self, stacks: FloatArray) -> Any:
        return stacks.ndim > 2 and self.one.check_rows(stacks.reshape(-1, *stacks.shape[2:]))

    def wrong(self, stack: FloatArray) -> Any:
        assert self.one.wrong is not None
        return np.stack([self.one.wrong(array) for array in stack])

    def free(self, shape: Shape) -> Any:
        mask = self.one.free(shape[1:])
        return None if mask is None else np.broadcast_to(mask, shape)
