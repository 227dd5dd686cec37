"""Normal variables carried to the simplex, by breaking a stick or by a softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.bijections import SoftmaxCentered, StickBreaking
from mcgrad.distributions.charts import REAL, Image, shifted, total
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.divergence_normal import normal as normal_divergence
from mcgrad.distributions.normal import Normal
from mcgrad.errors import ParameterError
from mcgrad.noise import NoiseSpec, Shape


class _OnSimplex(Distribution):
    """A normal of independent components, carried to the simplex."""

    constraints: ClassVar = {"loc": real, "scale": positive}
    support = supports.simplex
    _bijection: ClassVar[Any]

    def __init__(self, loc: ArrayLike, scale: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape of `loc`, one longer along the last axis."""
        shape = np.broadcast_shapes(*shapes.values()) if _broadcast(shapes) else ()
        if not shape:
            given = f"shapes {' and '.join(f'{path} {shape}' for path, shape in shapes.items())}"
            raise ParameterError(", ".join(shapes), given, "shapes that broadcast to (..., K - 1)")
        return (*shape[:-1], shape[-1] + 1)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return K - 1 standard normals."""
        return noise.normal((*event_shape[:-1], event_shape[-1] - 1))

    @classmethod
    def transform(cls, eps: Any, *, loc: Any, scale: Any) -> Any:
        """Shift and scale standard normal noise, and carry it to the simplex."""
        return cls._bijection.forward(loc + scale * eps)

    @staticmethod
    def coordinates(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Return the normal draw."""
        return shifted(scale * eps, loc)

    @classmethod
    def log_density(cls, x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z with respect to its first K - 1 components."""
        return Normal.log_density(x, loc=loc, scale=scale) - cls._bijection.log_det(total(x))


class LogisticNormal(_OnSimplex):
    """Logistic-normal distribution on the simplex, as torch.distributions has it: a stick, broken by normals.

    z[k] is expit(x[k] - log(K - 1 - k)) of what z[0] ... z[k - 1] have left of 1, x = loc + scale * eps.

    Parameters
    ----------
    loc : array_like, shape (..., K - 1)
    scale : array_like
        > 0. The event shape is (..., K), (..., K - 1) being what both broadcast to.

    See Also
    --------
    SoftmaxNormal : Aitchison's, by a softmax.
    """

    divergence_forms: ClassVar = DivergenceForms(within=normal_divergence)
    _bijection: ClassVar[Any] = StickBreaking()
    chart = Image(_bijection, REAL)


class SoftmaxNormal(_OnSimplex):
    """Logistic-normal distribution on the simplex, as Aitchison has it: z = softmax([loc + scale * eps, 0]).

    Parameters
    ----------
    loc : array_like, shape (..., K - 1)
        Means of log(z[k] / z[K - 1]).
    scale : array_like
        Their standard deviations, > 0. The event shape is (..., K), (..., K - 1) being what both broadcast to.

    Notes
    -----
    Aitchison and Shen, *Logistic-normal distributions: some properties and uses*, 1980. With a covariance:
    ``MultivariateNormal(loc, scale_tril).transformed(bijections.SoftmaxCentered())``.
    """

    divergence_forms: ClassVar = DivergenceForms(within=normal_divergence)
    _bijection: ClassVar[Any] = SoftmaxCentered()
    chart = Image(_bijection, REAL)


def _broadcast(shapes: Mapping[str, Shape]) -> bool:
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        return False
    return True
