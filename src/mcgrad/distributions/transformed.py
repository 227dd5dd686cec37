"""A distribution carried along by a smooth map."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Self

import numpy as np

from mcgrad import supports, tree
from mcgrad.bijections import Bijection
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import Constraint, FloatArray
from mcgrad.distributions.images import image
from mcgrad.distributions.reparameterized import leaf_shape
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import NoiseSpec, Shape
from mcgrad.supports import Support


class Transformed(Distribution):
    """Distribution of fn(x), x ~ base; ``base.transformed(fn, ...)`` makes one.

    Parameters
    ----------
    base : Distribution
    fn : Bijection or callable
        One of `mcgrad.bijections`, or ``fn(x, **params) -> y`` in plain NumPy, of one draw, differentiable; y is an
        array or a nested dict of arrays.
    params : nested dict of array_like, optional
        Parameters of `fn`, finite unless `constraints` say more, and named otherwise than those of the base. `inverse`
        and `log_det` are given them, too.
    inverse : callable, optional
        ``inverse(y, **params) -> x``.
    log_det : callable, optional
        ``log_det(x, **params) -> scalar``: the logarithm of the absolute value of the determinant of dy/dx, at x.
    constraints : dict of str to Constraint, optional
        Of `params`, by dotted path.

    Notes
    -----
    The parameters are those of the base and `params`. Pathwise gradients need `fn` alone; `log_prob` needs `inverse`
    and `log_det` as well, and is refused without: log p(y) = log p(x) - log_det(x) at x = inverse(y).
    """

    base: Distribution
    fn: Bijection | Callable[..., Any]
    _own: frozenset[str]  # names of the map's parameters
    _forward: Callable[..., Any]
    _inverse: Callable[..., Any] | None
    _log_det: Callable[..., Any] | None

    def __init__(
        self,
        base: Distribution,
        fn: Bijection | Callable[..., Any],
        params: Mapping[str, Any] | None = None,
        inverse: Callable[..., Any] | None = None,
        log_det: Callable[..., Any] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
    ) -> None:
        if not isinstance(base, Distribution):
            raise ParameterError("base", shown(base), "a distribution")
        is_bijection = isinstance(fn, Bijection)
        if not is_bijection and (isinstance(fn, type) or not callable(fn)):
            raise ParameterError("fn", shown(fn), "a function of a draw, or a bijection such as bijections.Exp()")
        for name, function in (("inverse", inverse), ("log_det", log_det)):
            if function is not None and (is_bijection or not callable(function)):
                raise ParameterError(name, shown(function), "a function; nothing where fn is a bijection")
        if is_bijection and not isinstance(base.event_shape, tuple):
            raise ParameterError("fn", shown(fn), "a function, as the draw of the base is a dict")
        own = dict(params or {})
        for name in own:
            if name in base.params:
                raise ParameterError(name, "in params, and a parameter of the base", "each name once; rename one")
        known = tree.flatten(own) if own else {}
        for path in constraints or {}:
            if path not in known:
                raise ParameterError(f"constraints[{path!r}]", "no parameter's name", ", ".join(known) or "none")
        self._set(base=base, fn=fn, constraints={**base.constraints, **(constraints or {})}, _own=frozenset(own))
        self._set(_forward=fn.forward if isinstance(fn, Bijection) else fn)
        self._set(_inverse=fn.inverse if isinstance(fn, Bijection) else inverse)
        self._set(_log_det=fn.log_det if isinstance(fn, Bijection) else log_det)
        self._set(reparameterized=base.reparameterized)
        super().__init__(**base.params, **own)

    def _split(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The base's parameters, and those of the map."""
        base = {name: value for name, value in params.items() if name not in self._own}
        return base, {name: value for name, value in params.items() if name in self._own}

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Any:
        """Return the shape of what the map returns."""
        base, own = self._split(self.params)
        with np.errstate(all="ignore"):
            x = self.base.transform(tree.map(lambda source: np.full(source.shape, 0.5), self.base.noise), **base)
            y = self._forward(x, **own)
        return tree.unflatten({path: leaf_shape("fn", path, leaf) for path, leaf in tree.flatten(y).items()})

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return the noise of the base."""
        return self.base.noise

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Check the base."""
        self.base.check({path: array for path, array in flat.items() if path in self.base.shapes})

    @property
    def signature(self) -> Hashable:
        """The base's, and the functions and constraints given."""
        functions = (self.fn, self._inverse, self._log_det)
        return (super().signature, self.base.signature, functions, tuple(self.constraints.items()))

    @property
    def _image(self) -> Support:
        """What the map maps all numbers to."""
        return self.fn.image if isinstance(self.fn, Bijection) else supports.real

    @property
    def support(self) -> Support:  # type: ignore[override]
        """What the map makes of the base's support; a parameter of the map may move its ends."""
        own = {path: array for path, array in self._flat.items() if path.partition(".")[0] in self._own}
        return image(self.base, self._forward, self._inverse, self._image, own, self.constraints)

    def transform(self, eps: Any, **params: Any) -> Any:
        """Transform the noise as the base does, and map the draw."""
        base, own = self._split(params)
        return self._forward(self.base.transform(eps, **base), **own)

    def log_density(self, z: Any, **params: Any) -> Any:
        """Return the log density at z.

        Raises
        ------
        ParameterError
            Without an inverse or a log determinant.
        """
        inverse, log_det = self._inverse, self._log_det
        if inverse is None or log_det is None:
            name = "inverse" if inverse is None else "log_det"
            raise ParameterError(name, "none", f"transformed(fn, {name}=...) where an estimator needs the density")
        base, own = self._split(params)
        if self._image is supports.real:
            x = inverse(z, **own)
            return self.base.log_density(x, **base) - log_det(x, **own)
        mask = self._image.inside(z)
        somewhere = self._forward(np.zeros(self.base.event_shape, z.dtype))  # for both sides of where are evaluated
        x = inverse(np.where(mask, z, somewhere), **own)
        return np.where(np.all(mask), self.base.log_density(x, **base) - log_det(x, **own), -np.inf)

    def __repr__(self) -> str:
        name = repr(self.fn) if isinstance(self.fn, Bijection) else getattr(self.fn, "__name__", repr(self.fn))
        return f"{self.base!r}.transformed({name})"

    def with_params(self, /, **changes: Any) -> Self:
        """Return the same distribution with other values for any subset of the parameters, of the same shapes."""
        new = super().with_params(**changes)
        base, _ = new._split(new.params)
        new._set(base=self.base.with_params(**base))
        return new
