"""Mixtures of components of one family, with pathwise gradients in the weights, too."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise as noises
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, shifted, total
from mcgrad.distributions.constraints import Constraint, FloatArray, positive, real
from mcgrad.distributions.family import is_built_in
from mcgrad.distributions.gaps import bridging
from mcgrad.distributions.mixture_components import Correlated, Independent
from mcgrad.distributions.probs_logits import either, log_probabilities, log_weights
from mcgrad.distributions.supports import Support, unstated
from mcgrad.distributions.thresholds import is_above, is_below, split
from mcgrad.errors import ParameterError, shown
from mcgrad.functions.implicit_derivative import implicit, stop
from mcgrad.functions.special import logsumexp
from mcgrad.noise import NoiseSpec, Shape


class MixtureSameFamily(Distribution):
    """Mixture of K distributions of one family.

    Parameters
    ----------
    components : Distribution, or sequence of them
        One distribution whose first axis counts the components, as ``Normal(loc, scale)`` with loc of shape (K,) or
        (K, d), of a family with a `cdf`; or a sequence of K of one family and one shape. `MultivariateNormal` comes as
        a sequence.
    probs, logits : array_like, shape (K,)
        One of them: weights > 0, or their logarithms. They are normalized, and gradients are those of the normalized
        weights, as in torch.distributions.

    Raises
    ------
    ParameterError
        Families without a `cdf`, components that differ in family or shape, another number of weights.

    Notes
    -----
    A uniform chooses the component, which is a jump; the pathwise derivative does not go through it. It is that of the
    distributional transform (Graves 2016; Figurnov et al. 2018, section 4; Jankowiak and Karaletsos 2019), coordinate
    by coordinate: F_i is the mixture of the components' distribution functions of z_i given z_1 .. z_{i-1}, with
    weights updated by the density of those, and the path solves J dz = -dF with the triangular J = dF/dz. So with the
    parameters draws flow from one component to the other through the density between them: where that is small the
    gradient in the weights has a large variance, and where no draw is between them it is wrong, with a
    `RareDrawsWarning`.

    The gradients with respect to parameters of stacked components have a first axis of length K:
    ``est.grad["components"]["loc"][k]``.
    """

    def __init__(
        self,
        components: Distribution | Sequence[Distribution],
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        weights = either(probs, logits)
        family, event, noise, params, by_row, ndim = _stacked(components)
        if ndim and batch_ndim not in (0, ndim):
            raise ParameterError("batch_ndim", str(batch_ndim), f"{ndim}, as the components have")
        ndim = ndim or batch_ndim
        weighted = [name for name, x in weights.items() if np.ndim(x) > ndim]
        self._set(_by_row=[*weighted, *(f"components.{path}" for path in by_row)])
        constraints: dict[str, Constraint] = {"probs": positive, "logits": real}
        for path, constraint in family.constraints.items():
            constraints[f"components.{path}"] = family.components(family).constraint(path, constraint)
        self._set(family=family, chart=family.chart, constraints=constraints, _event=event, _noise=noise)
        super().__init__(**weights, components=params, batch_ndim=ndim)

    family: type[Distribution]
    _event: Shape
    _noise: NoiseSpec

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape of one component's draw."""
        name = "probs" if "probs" in shapes else "logits"
        count = max(shape[0] for path, shape in shapes.items() if path != name and len(shape) == 1 + len(self._event))
        if shapes[name] != (count,):
            raise ParameterError(name, f"shape {shapes[name]}", f"shape ({count},), one for each component")
        return self._event

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return a uniform that chooses, the noise of one component, and what the uniform leaves out."""
        return {"choice": noises.uniform(), "draw": self._noise, "fine": noises.uniform()}

    @property
    def is_built_in(self) -> bool:
        """Whether the density of the components is."""
        return is_built_in(self.family)

    @property
    def has_crease(self) -> bool:  # type: ignore[override]
        """Whether the density of the components has."""
        return self.family.has_crease

    @property
    def signature(self) -> Hashable:
        """As for every distribution, and the family."""
        return (super().signature, self.family)

    def transform(self, eps: Any, *, components: Any, probs: Any = None, logits: Any = None) -> Any:
        """Draw from the component that the uniform chooses; differentiate the distributional transform."""
        log_weights = log_probabilities(probs, logits)
        z = stop(self._chosen(eps, log_weights, self._components.draws(eps["draw"], components)))
        return self._components.path(z, log_weights, components)

    def coordinates(self, eps: Any, *, components: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return those of the chosen component's draw, on the path of the mixture's draw."""
        z = self.transform(eps, components=components, probs=probs, logits=logits)
        if self.family.coordinates is None or self.chart == REAL:
            return self.chart.coordinates(z)
        each = total(self.family.coordinates(eps["draw"], **components))
        x = shifted(stop(self._chosen(eps, log_probabilities(probs, logits), each)), 0.0)
        return shifted(implicit(x["point"], -z, self.chart.slope(x)), 0.0)  # dx = dz / (dz/dx)

    def _chosen(self, eps: Any, log_weights: Any, draws: Any) -> Any:
        """Return that of the components' draws, along the first axis, which the uniform chooses."""
        ends = np.cumsum(np.exp(log_weights))[:-1]  # the last one is 1, but for rounding
        uniforms, parts = {"coarse": eps["choice"], "fine": eps["fine"]}, split(ends)
        below, above = is_below(uniforms, parts), is_above(uniforms, parts)
        hit = np.concatenate([below, np.array([True])]) & np.concatenate([np.array([True]), above])
        return np.sum(np.where(np.reshape(hit, (-1, *(1,) * len(self._event))), draws, 0.0), axis=0)

    def log_density(self, x: Any, *, components: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the log density of z."""
        log_weights = log_probabilities(probs, logits)
        each = [self.family.log_density(x, **self._one(components, k)) for k in range(np.shape(log_weights)[0])]
        return logsumexp(np.stack(each) + log_weights)

    @property
    def _components(self) -> Independent | Correlated:
        return self.family.components(self.family)

    def _one(self, components: Mapping[str, Any], k: int) -> dict[str, Any]:
        """Return the parameters of one component."""
        return self._components.one(components, k, self._event)

    def bridges(self, *, components: Any, probs: Any = None, logits: Any = None) -> dict[str, Any]:
        """Return how probable the rarest draws between the components are, for the weights."""
        weights = np.exp(log_probabilities(probs, logits))
        cdf = self._components.cdf(components)
        return {"logits" if probs is None else "probs": bridging(cdf, weights, self._event)}

    @property
    def support(self) -> Support:  # type: ignore[override]
        """The union of the components' supports."""
        each = self.family.support if isinstance(self.family.support, Support) else unstated  # of an instance alone

        def inside(z: Any, *, components: Any, probs: Any = None, logits: Any = None) -> Any:
            count = np.shape(log_weights(probs, logits))[0]
            masks = [np.all(each.inside(z, **self._one(components, k))) for k in range(count)]
            return np.any(np.stack(masks))

        moving = tuple(f"components.{path}" for path in each.moving)
        return Support(each.describe, inside, moving=moving, discrete=each.discrete)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.family.__name__}, {super().__repr__().split('(', 1)[1]}"


def _stacked(given: Any) -> tuple[type[Distribution], Shape, NoiseSpec, dict[str, Any], frozenset[str], int]:
    """Return the family, the shape and the noise of one draw, and the parameters of all components.

    The last two are which of these parameters have batch axes, in front of the axis of the components, and how many.
    """
    if isinstance(given, Distribution):
        family = type(given)
        family.components(family).check(None)
        if not given.event_shape:
            accepted = "a first axis that counts the components, as in Normal([0.0, 1.0], 1.0)"
            raise ParameterError("components", f"{given!r} of event shape ()", accepted)
        event, by_row = given.event_shape[1:], given.batch.by_row if given.batch else frozenset[str]()
        return family, event, given.template.noise_of(event), given.params, by_row, given.batch_ndim
    if not isinstance(given, Sequence) or not given or not all(isinstance(part, Distribution) for part in given):
        raise ParameterError("components", shown(given), "a distribution, or a sequence of them")
    family, first = type(given[0]), given[0]
    for part in given:
        if type(part) is not family or part.shapes != first.shapes or part.batch != first.batch:
            accepted = f"a {family.__name__} with parameters of the same shapes as the first, and its batch axes"
            raise ParameterError("components", repr(part), accepted)
    components, axes = family.components(family), len(first.event_shape)
    components.check(given)
    by_row = first.batch.by_row if first.batch else frozenset[str]()

    def stack(name: str) -> FloatArray:
        batch = first.batch_shape if name in by_row else ()
        arrays = [part.flat_params[name] for part in given]
        level = components.level(arrays[0].reshape(-1, *arrays[0].shape[len(batch) :])[0], axes).shape
        return np.stack([x.reshape((*batch, *level)) for x in arrays], axis=len(batch))

    return (
        family,
        first.event_shape,
        first.noise,
        {name: stack(name) for name in first.shapes},
        by_row,
        first.batch_ndim,
    )
