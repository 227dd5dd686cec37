"""Distributions of fn(x) for a smooth invertible map fn and a draw x of a base distribution."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.bijections import Bijection
from mcgrad.distributions.charts import REAL, Chart, Image, carried, total
from mcgrad.distributions.constraints import Constraint, FloatArray, checked
from mcgrad.distributions.divergence_forms import Form
from mcgrad.distributions.family import is_built_in
from mcgrad.distributions.images import image
from mcgrad.distributions.reparameterized import leaf_shape
from mcgrad.distributions.supports import Support
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import NoiseSpec, Shape
from mcgrad.pickles import HoldsFunctions
from mcgrad.trace.tracer import unwrap


class Transformed(Distribution):
    """Distribution of fn(x), x ~ base; ``base.transformed(fn, ...)`` makes one.

    Parameters
    ----------
    base : Distribution
    fn : Bijection or callable
        One of `mg.bijections`, or ``fn(x, **params) -> y`` in plain NumPy, of one draw, differentiable; y is an
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
    The parameters are those of the base and `params`. Pathwise gradients need `fn` alone. The density of a draw needs
    `log_det`, log p(y) = log p(x) - log_det(x), with the draw x of the base that was mapped; only where `fn` has
    parameters is that inverse(y) for scores in them. `log_prob` at a value needs `inverse` as well.
    """

    base: Distribution
    fn: Bijection | Callable[..., Any]
    _own: frozenset[str]  # names of the map's parameters
    _map: Bijection

    def __init__(
        self,
        base: Distribution,
        fn: Bijection | Callable[..., Any],
        params: Mapping[str, Any] | None = None,
        inverse: Callable[..., Any] | None = None,
        log_det: Callable[..., Any] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
        *,
        batch_ndim: int = 0,
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
        self._set(base=base, fn=fn, _own=frozenset(own))
        self._set(constraints={**base.constraints, **checked(constraints, known)})
        self._set(_map=fn if isinstance(fn, Bijection) else _Written(fn, inverse, log_det))
        self._set(chart=_chart(self._map, base.chart, bool(own)))
        self._set(reparameterized=base.reparameterized)
        ndim = batch_ndim or base.batch_ndim
        if base.batch and base.batch.ndim != ndim:
            raise ParameterError("batch_ndim", str(ndim), f"{base.batch.ndim}, as the base has")
        of_base = base.batch.by_row if base.batch else ()
        self._set(_by_row=[*of_base, *(path for path, x in known.items() if np.ndim(x) >= ndim)])
        super().__init__(**base.params, **own, batch_ndim=ndim)

    def _split(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The base's parameters, and those of the map."""
        base = {name: value for name, value in params.items() if name not in self._own}
        return base, {name: value for name, value in params.items() if name in self._own}

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Any:
        """Return the shape of what the map returns."""
        base, own = self._split(self.params)
        with np.errstate(all="ignore"):
            x = self.base.transform(tree.map(lambda source: np.full(source.shape, 0.5), self.base.noise), **base)
            y = self._map.forward(x, **own)
        return tree.unflatten({path: leaf_shape("fn", path, leaf) for path, leaf in tree.flatten(y).items()})

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return the noise of the base."""
        return self.base.noise

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Check the base."""
        self.base.check({path: array for path, array in flat.items() if path in self.base.shapes})

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return those of the base."""
        return self.base.relations({path: array for path, array in flat.items() if path in self.base.shapes})

    @property
    def relates(self) -> bool:
        """Whether the base says what its check looks at."""
        return self.base.relates

    @property
    def has_check(self) -> bool:
        """Whether parameters of the base limit one another."""
        return self.base.has_check

    @property
    def checks_elements(self) -> bool:
        """Whether the check of the base works element by element."""
        return self.base.checks_elements

    def _parts_of_first_row(self) -> dict[str, Any]:
        return {"base": self.base.template}

    def _known_of_first_row(self) -> dict[str, FloatArray]:
        return self.base.template.flat_params

    @property
    def is_built_in(self) -> bool:
        """Whether the density of the base is, and the map is one of `mg.bijections`."""
        return isinstance(self.fn, Bijection) and is_built_in(type(self.fn)) and self.base.is_built_in

    @property
    def has_crease(self) -> bool:  # type: ignore[override]
        """Whether the density of the base has."""
        return self.base.has_crease

    @property
    def signature(self) -> Hashable:
        """The base's, and the functions and constraints given."""
        return (super().signature, self.base.signature, self._map, tuple(self.constraints.items()))

    @property
    def support(self) -> Support:  # type: ignore[override]
        """The image of the base's support; a parameter of the map may move its ends."""
        own = {path: array for path, array in self._flat.items() if path.partition(".")[0] in self._own}
        return image(self.base, self._map.forward, self._map.inverse, self._map.image, own, self.constraints)

    def divergence_within(self, p: Distribution) -> Form | None:
        """Return that of the bases: one invertible map of both changes nothing."""
        from mcgrad.distributions.divergence import closed_form  # which imports families

        return closed_form(self.base, p.base) if isinstance(p, Transformed) and _is_one(self.fn, p.fn) else None

    def transform(self, eps: Any, /, **params: Any) -> Any:
        """Transform the noise as the base does, and map the draw."""
        base, own = self._split(params)
        return self._map.forward(self.base.transform(eps, **base), **own)

    def coordinates(self, eps: Any, /, **params: Any) -> Any:
        """Return those of the draw of the base, and what the map has no need of to go back to it."""
        base, own = self._split(params)
        draw = self.base.transform(eps, **base)
        x = self.base.coordinates_of(eps, draw, **base)
        if own:
            return {"value": self._map.forward(draw, **own), "made": own, **carried(draw, x)}
        return x if _keeps(self.base.chart) else carried(draw, x)

    def log_density(self, x: Any, /, **params: Any) -> Any:
        """Return the log density of y at its coordinates.

        Raises
        ------
        ParameterError
            Without a log determinant, or without the inverse where that is needed: for the density at a given value,
            and for scores in a map's own parameters.
        """
        base, own = self._split(params)
        back = bool(own) and not _same(x.get("made"), own)
        inverse, log_det = self._map.inverse, self._map.log_det
        if log_det is None or (back and inverse is None):
            name = "inverse" if back and inverse is None else "log_det"
            raise ParameterError(name, "none", f"transformed(fn, {name}=...) where a method needs the density")
        if back:
            assert inverse is not None
            draw = inverse(x["value"], **own)
            x = self.base.chart.coordinates(draw)
        elif own or not _keeps(self.base.chart):
            draw, x = x["draw"], x["base"]
        else:
            draw = total(x)
        return self.base.log_density(x, **base) - log_det(draw, **own)

    def __repr__(self) -> str:
        name = repr(self.fn) if isinstance(self.fn, Bijection) else getattr(self.fn, "__name__", repr(self.fn))
        return f"{self.base!r}.transformed({name})"

    def with_params(self, /, **changes: Any) -> Self:
        """Return the same distribution with other values for any subset of the parameters, of the same shapes."""
        new = super().with_params(**changes)
        base, _ = new._split(new.params)
        new._set(base=self.base.with_params(**base))
        if new.batch:
            new._set(_template=new._first_row(new.batch))
        return new


class _Written(HoldsFunctions, Bijection):
    """A map that the user writes as functions.

    Parameters
    ----------
    forward, inverse, log_det : callable
        The last two may be None.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        inverse: Callable[..., Any] | None = None,
        log_det: Callable[..., Any] | None = None,
    ) -> None:
        self.forward, self.inverse, self.log_det = forward, inverse, log_det


@dataclass(frozen=True)
class _Parametric(Chart):
    """Of a map that has parameters: the value, with which the parameters give the draw of the base."""

    def coordinates(self, z: Any) -> Any:
        return {"value": z}


def _chart(fn: Bijection, base: Chart, parametric: bool) -> Chart:
    if parametric:
        return _Parametric()
    if base == REAL and fn.chart is not None:
        return fn.chart
    return Image(fn, base)


def _is_one(first: Any, second: Any) -> bool:
    """Whether two maps are known to be the same: one bijection, or two of one class that hold nothing."""
    if not isinstance(first, Bijection) or type(first) is not type(second):
        return False
    return first is second or not (vars(first) or vars(second))


def _keeps(base: Chart) -> bool:
    """Whether the coordinates of a mapped draw are those of the draw before the map."""
    return base == REAL


def _same(made: Any, own: Mapping[str, Any]) -> bool:
    """Whether the parameters that made a draw are, Var for Var, those of the density."""
    if made is None:
        return False
    first, second = tree.flatten(made), tree.flatten(own)
    return all(unwrap(first[path]) is unwrap(x) for path, x in second.items())
