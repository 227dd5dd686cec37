"""The sinh-arcsinh distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, real_line
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.functions.special import ndtr

ARCSINH_2 = math.asinh(2.0)


class SinhArcsinh(Distribution):
    """Normal with a skewness and tails: z = loc + scale * m * sinh((arcsinh(eps) + skewness) * tailweight).

    Parameters
    ----------
    loc : array_like
    scale : array_like
        > 0.
    skewness : array_like
        Positive for a heavier right tail.
    tailweight : array_like
        > 0; above 1 for tails heavier than a normal's. The event shape is what all four broadcast to.

    Notes
    -----
    m = 2 / sinh(arcsinh(2) * tailweight), as in TFP: with skewness 0, two standard deviations of the noise are two
    scales of z. Jones and Pewsey, *Sinh-arcsinh distributions*, 2009.
    """

    constraints: ClassVar = {"loc": real, "scale": positive, "skewness": real, "tailweight": positive}
    divergence_forms: ClassVar = DivergenceForms(interval=real_line)
    support = supports.real
    chart = REAL

    def __init__(
        self,
        loc: ArrayLike,
        scale: ArrayLike,
        skewness: ArrayLike = 0.0,
        tailweight: ArrayLike = 1.0,
        *,
        batch_ndim: int = 0,
    ) -> None:
        super().__init__(loc=loc, scale=scale, skewness=skewness, tailweight=tailweight, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any, skewness: Any, tailweight: Any) -> Any:
        """Transform standard normal noise by the sinh of a scaled arcsinh."""
        bent = np.sinh((np.arcsinh(eps) + skewness) * tailweight)
        return loc + scale * 2.0 / np.sinh(ARCSINH_2 * tailweight) * bent

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any, skewness: Any, tailweight: Any) -> Any:
        """Return the log density of z, summed over the components."""
        unit = scale * 2.0 / np.sinh(ARCSINH_2 * tailweight)
        y = about(x, loc) / unit
        angle = np.arcsinh(y) / tailweight - skewness
        log_slope = np.logaddexp(angle, -angle) - np.log(2.0 * tailweight * unit) - np.log(np.hypot(1.0, y))
        return np.sum(log_slope - 0.5 * np.square(np.sinh(angle)) - HALF_LOG_2PI)

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any, skewness: Any, tailweight: Any) -> Any:
        """Return the distribution function, element by element."""
        return ndtr(np.sinh(_angle(z, loc, scale, skewness, tailweight)))

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any, skewness: Any, tailweight: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return ndtr(-np.sinh(_angle(z, loc, scale, skewness, tailweight)))


def _angle(z: Any, loc: Any, scale: Any, skewness: Any, tailweight: Any) -> Any:
    """Arcsinh of the noise that gives z."""
    unit = scale * 2.0 / np.sinh(ARCSINH_2 * tailweight)
    return np.arcsinh((z - loc) / unit) / tailweight - skewness
