"""Distributions from a user's sampler and its distribution function, which gives the derivatives of draws."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.distributions.constraints import Constraint
from mcgrad.distributions.reparameterized import Reparameterized
from mcgrad.errors import ParameterError, shown
from mcgrad.functions.implicit_derivative import follow
from mcgrad.noise import NoiseSpec

STEP = 1e-3  # of the differences that test for dependence on later components
LEAST = 1e-6  # the difference that counts as one


class Implicit(Reparameterized):
    """A sampler of any kind, with the pathwise derivative of its distribution function.

    Parameters
    ----------
    cdf : callable
        ``cdf(z, **params)`` in plain NumPy, of the shape of z: the distribution function of each component given
        those before it (in C order), differentiable in z and in the parameters.
    sampler : callable
        ``sampler(eps, **params) -> z`` in plain NumPy, of one draw: an array. It may choose, reject and jump, as it is
        not differentiated. Its draws must have the distribution function `cdf`.
    params : nested dict of array_like
        Values of the parameters; finite unless `constraints` say more.
    noise : Noise, or nested dict of them
        ``mg.noise.normal(shape)`` or ``mg.noise.uniform(shape)``.
    log_prob, constraints
        As for :class:`Reparameterized`.

    Raises
    ------
    ParameterError
        A function that does not take the parameters; a `cdf` of another shape than z, or whose component i depends on
        later ones.

    Notes
    -----
    dz/dphi = -(dF/dphi) / (dF/dz), Figurnov et al. 2018, equation 6; for dependent components with the triangular
    Jacobian of the Rosenblatt transform. Derivatives lose digits where `cdf` does: in the upper tail it is 1 less
    something small.

    Examples
    --------
    >>> from mcgrad import noise
    >>> Implicit(
    ...     cdf=lambda z, *, rate: -np.expm1(-rate * z),
    ...     sampler=lambda u, *, rate: -np.log(u) / rate,
    ...     params={"rate": 2.0},
    ...     noise=noise.uniform(),
    ... )
    Implicit(rate=2.0)
    """

    _path: _Path

    def __init__(
        self,
        cdf: Callable[..., Any],
        sampler: Callable[..., Any],
        params: Mapping[str, Any],
        noise: NoiseSpec,
        log_prob: Callable[..., Any] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        for name, function in {"cdf": cdf, "sampler": sampler}.items():
            if not callable(function):
                raise ParameterError(name, shown(function), "a function")
        self._set(_path=_Path(cdf, sampler))
        super().__init__(self._path, params, noise, log_prob, constraints, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """Return the shape of what the sampler returns; refuse a `cdf` that does not go with it."""
        path, params = self._path, self.params
        for name, function in {"cdf": path.cdf, "sampler": path.sampler}.items():
            try:
                inspect.signature(function).bind(None, **params)
            except TypeError as error:
                raise ParameterError(
                    "params", f"{', '.join(params) or 'none'} ({error})", f"what {name} takes"
                ) from None
            except ValueError:  # a builtin without a signature: errors are raised by the call
                pass
        shape = super().event_shape_of(shapes)
        if not isinstance(shape, tuple):
            raise ParameterError("sampler", "one that returns a dict", "one that returns an array")
        eps = tree.map(lambda source: np.full(source.shape, 0.4), self.noise)
        with np.errstate(all="ignore"):
            z = np.asarray(path.sampler(eps, **params), np.float64)
            _check_cdf(lambda x: path.cdf(x, **params), z)
        return shape


@dataclass(frozen=True)
class _Path:
    """The transform: the sampler's draw, with the derivative that the distribution function implies."""

    cdf: Callable[..., Any]
    sampler: Callable[..., Any]

    def __call__(self, eps: Any, **params: Any) -> Any:
        return follow(self.sampler(eps, **params), lambda z: self.cdf(z, **params))


def _check_cdf(cdf: Callable[[Any], Any], z: Any) -> None:
    """Refuse a wrong shape, and a component that depends on a later one."""
    here = np.asarray(cdf(z))
    if here.shape != z.shape:
        raise ParameterError(
            "cdf", f"one that returns shape {here.shape} for z of shape {z.shape}", "one value for each component of z"
        )
    for j in range(1, z.size):
        moved = z.copy()
        moved.flat[j] += STEP * (1.0 + abs(moved.flat[j]))
        changed = np.abs(np.ravel(cdf(moved)) - here.ravel())[:j]
        if (changed > LEAST).any():
            i = int(np.argmax(changed))
            raise ParameterError(
                "cdf",
                f"one whose component {i} depends on component {j}",
                "each component's distribution function given those before it alone",
            )
