"""Distributions with a user's own transform of noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from mcgrad import noise as noises, tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import Constraint, checked
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import NoiseSpec, Shape


class Reparameterized(Distribution):
    """The user's own reparameterization: z = transform(eps, **params).

    Parameters
    ----------
    transform : callable
        ``transform(eps, **params) -> z`` in plain NumPy, of one draw. `eps` has the shape of `noise` (a dict where
        `noise` is one); z is an array or a nested dict of arrays, and must depend on `eps` smoothly.
    params : nested dict of array_like
        Values of the parameters; finite unless `constraints` say more.
    noise : Noise, or nested dict of them
        ``mg.noise.normal(shape)`` or ``mg.noise.uniform(shape)``.
    log_prob : callable, optional
        ``log_prob(z, **params) -> scalar`` in plain NumPy. Pathwise gradients do not need it.
    constraints : dict of str to Constraint, optional
        By dotted path.

    Notes
    -----
    The event shape is found by one call of `transform` with every noise component at 0.5.

    Examples
    --------
    >>> Reparameterized(lambda eps, *, a, b: np.sinh(a + b * eps), params={"a": 0.1, "b": 0.5}, noise=noises.normal())
    Reparameterized(a=0.1, b=0.5)
    """

    def __init__(
        self,
        transform: Callable[..., Any],
        params: Mapping[str, Any],
        noise: NoiseSpec,
        log_prob: Callable[..., Any] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        for name, function in {"transform": transform, "log_prob": log_prob}.items():
            if not callable(function) and not (name == "log_prob" and function is None):
                raise ParameterError(name, shown(function), "a function")
        if not isinstance(params, Mapping):
            raise ParameterError("params", shown(params), "a dict of names to values")
        noises.sources(noise)  # raises for other values than noise
        self._set(transform=transform, noise=noise, constraints=checked(constraints, tree.flatten(params)))
        self._set(log_density=log_prob or _no_log_prob)
        super().__init__(**params, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Any:
        """Return the shape of what `transform` returns."""
        params = tree.map(to_host, self.params)
        try:
            inspect.signature(self.transform).bind(None, **params)
        except TypeError as error:
            raise ParameterError("params", f"{', '.join(params) or 'none'} ({error})", "what transform takes") from None
        except ValueError:  # a builtin without a signature: errors are raised by the call
            pass
        eps = tree.map(lambda source: np.full(source.shape, 0.5), self.noise)
        with np.errstate(all="ignore"):
            z = self.transform(eps, **params)
        return tree.unflatten({path: leaf_shape("transform", path, leaf) for path, leaf in tree.flatten(z).items()})

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return the noise as given."""
        return self.noise

    @property
    def is_built_in(self) -> bool:
        """False: the user writes the transform and the density."""
        return False

    @property
    def signature(self) -> Hashable:
        """As for every distribution, and the functions and constraints given."""
        return (super().signature, self.transform, self.log_density, tuple(self.constraints.items()))


def leaf_shape(function: str, path: str, leaf: Any) -> Shape:
    """Return the shape of one array that a user's function returned; refuse what is not floats."""
    array = np.asarray(leaf)
    if not array.size or array.dtype.kind != "f":
        raise ParameterError(
            function, f"one that returns {shown(leaf)}{f' for {path}' if path else ''}", "one that returns floats"
        )
    return array.shape


def _no_log_prob(z: Any, **params: Any) -> Any:
    raise ParameterError("log_prob", "none", "Reparameterized(..., log_prob=...) where a method needs the density")
