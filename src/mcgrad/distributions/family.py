"""The attributes and methods that a family of distributions states, in plain NumPy, with their defaults.

`Distribution` derives from it. When a class is made, closed forms and `log_prob` become descriptors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np

from mcgrad.distributions.charts import VALUE, Chart
from mcgrad.distributions.constraints import Constraint, FloatArray
from mcgrad.distributions.decompositions import Decomposition
from mcgrad.distributions.descriptors import ClosedForm, LogProb
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.mixture_components import Correlated, Independent
from mcgrad.distributions.supports import Support, unstated
from mcgrad.errors import ParameterError
from mcgrad.noise import Noise, NoiseSpec, Shape

CLOSED_FORMS = {"entropy", "cdf", "survival"}  # static in a class; a distribution fills in its parameters
DENSITY = {"noise_kind", "noise_of", "transform", "log_density", "log_prob"}  # the draws of a class and their density
OF_A_DENSITY = {"decompositions", "divergence_forms", "components"}  # right for these draws and this density alone


class Family:
    """The part of a distribution that its family states; `Distribution` has the rest.

    A family sets `constraints` and writes :meth:`transform` and `log_density`. Where its event shape is not what its
    parameters broadcast to, it overrides :meth:`event_shape_of`; where its noise is not standard normal of that shape,
    `noise_kind` or :meth:`noise_of`; :meth:`check` where one parameter limits another, and `entropy` where there is a
    closed form. Where draws round to what the density cannot be computed from, it names a `chart` and writes
    `coordinates`.

    `transform` and `log_density` are plain NumPy on one draw and are traced: whole-array functions, ``np.where``
    instead of ``if`` on values, nothing in place, constants as Python floats (a NumPy float64 would make float32 wide).

    Attributes
    ----------
    constraints : dict of str to Constraint
        By dotted path; a parameter that is not listed must be finite.
    noise_kind : {"normal", "uniform"}
        Of the noise, where :meth:`noise_of` is not overridden.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "normal"

    # Declared by type rather than written out, so that a family may name its own parameters.
    transform: Callable[..., Any]
    """``transform(eps, **params) -> z``: one draw of the noise to one draw, differentiable in both."""

    coordinates: Callable[..., Any] | None = None
    """``coordinates(eps, **params) -> x``: the coordinates of the draw that `transform` makes, in `chart`, before they
    round; None where they are those of z. A class with a `transform` of its own has none but its own."""

    chart: Chart = VALUE
    """What `log_density` is computed from: coordinates of a value. By default the value itself."""

    log_density: Callable[..., Any]
    """``log_density(x, **params) -> scalar``: the log density of z at its coordinates, summed over independent
    components; refused where a class has none. A class that writes `log_prob(z, **params)` in its place is read alike,
    with z itself for its coordinates."""

    log_prob = LogProb()

    entropy: Callable[..., Any] | None = None
    """``entropy(**params) -> scalar``: -E log_prob in closed form, or None where it has none. Plain NumPy, traced. Of a
    distribution, as `cdf` and `survival`, by default at its parameters: ``q.entropy()``, ``q.cdf(z)``."""

    rarity: Callable[..., Any] | None = None
    """``rarity(**params) -> dict``: for parameters, by path, about how probable a draw is that is not at an end of the
    support, to the digits of a float, or, of discrete draws, not the most probable value; None where nearly all draws
    are such. Arrays that broadcast with the parameter.
    """

    bridges: Callable[..., Any] | None = None
    """``bridges(**params) -> dict``: for parameters, by path, about how probable the rarest draws are that carry a part
    of the gradient along draws; None where the density has no gaps that a parameter moves draws across.
    """

    decompositions: ClassVar[Mapping[str, Decomposition]] = MappingProxyType({})
    """By parameter, the derivative of the density as a constant times the difference of two densities: the constant and
    a draw of each, ``rule(z, u, **params) -> (constant, positive, negative)``. Measure-valued gradients need it; see
    `decompositions`. A class with noise, a `transform` or a density of its own has none but its own."""

    components: ClassVar[Callable[[type[Any]], Independent | Correlated]] = Independent
    """How components of the family go into a mixture; called with the family."""

    divergence_forms: ClassVar[DivergenceForms] = DivergenceForms()
    """What the family states for divergences in closed form, of two of its own and with other families. A class with
    noise, a `transform` or a density of its own has none but its own."""

    cdf: Callable[..., Any] | None = None
    """``cdf(z, **params)``: the distribution function, element by element, of a family with independent components, or
    None. Plain NumPy, traced and differentiated: mixtures need it."""

    survival: Callable[..., Any] | None = None
    """``survival(z, **params)``: 1 - cdf without its cancellation, or None."""

    reparameterized: ClassVar[bool] = True
    """Whether draws move smoothly with the parameters; not those of discrete families, where pathwise is refused."""

    elementwise_check: ClassVar[bool] = False
    """Whether :meth:`check` works element by element on parameters that broadcast: then all rows of a batch are checked
    at once."""

    has_crease: bool = False
    """Whether the density bends sharply inside of the support, at a place that parameters move: there scores jump."""

    support: Support = unstated
    """Where the density is positive, and which parameters move its ends: "score", "stl" and "dreg" are refused in
    those."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "transform" in own and "coordinates" not in own:
            cls.coordinates = None
        if own.keys() & DENSITY:
            for name in OF_A_DENSITY - own.keys():
                setattr(cls, name, getattr(Family, name))
        if "log_prob" in own and "log_density" not in own:
            cls.log_density, cls.chart, cls.coordinates = own["log_prob"], VALUE, None
        if "log_density" in own:
            cls.log_prob = LogProb(cls)
        for name in CLOSED_FORMS & own.keys():
            if own[name] is not None:
                setattr(cls, name, ClosedForm(own[name]))

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Any:
        """Return the event shape; by default what the parameters broadcast to."""
        try:
            return np.broadcast_shapes(*shapes.values())
        except ValueError:
            given = " and ".join(f"{path} {shape}" for path, shape in shapes.items())
            raise ParameterError(", ".join(shapes), f"shapes {given}", "shapes that broadcast") from None

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return the noise; by default `noise_kind`, one number for each of the event."""
        return Noise(self.noise_kind, event_shape)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Raise ParameterError where parameters, each accepted by its own constraint, do not go together."""

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return what `check` looks at, as boolean arrays, all true where parameters go together.

        So that it can be seen to on a device. A family without it is checked on the host.
        """
        return []


def is_built_in(kind: type) -> bool:
    """Whether a class is mcgrad's own."""
    return kind.__module__.startswith("mcgrad.")


def _no_density(q: Any, *args: Any, **params: Any) -> Any:
    given = f"{type(q).__name__}, which has no log_density" if isinstance(q, Family) else "no log_density"
    raise ParameterError("q", given, "a distribution with a density")


Family.log_density = _no_density  # a method that subclasses may replace by a static one
