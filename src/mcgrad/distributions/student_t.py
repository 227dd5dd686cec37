"""Student's t distribution, of independent components and multivariate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import lower_cholesky, positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, real_line
from mcgrad.errors import ParameterError
from mcgrad.functions.gamma import gamma_log_ratio, log_rising
from mcgrad.functions.triangular_solve import solve_lower
from mcgrad.noise import NoiseSpec, Shape

HALF_LOG_PI = 0.5 * math.log(math.pi)


class StudentT(Distribution):
    """Student's t: z = loc + scale * x / sqrt(y/df), x normal, y chi-squared of df degrees of freedom.

    Parameters
    ----------
    df : array_like
        Degrees of freedom, > 0; not only whole numbers.
    loc : array_like
        Median, and mean for df > 1.
    scale : array_like
        > 0. The variance is scale**2 df / (df - 2) for df > 2, and infinite below. The event shape is what all three
        broadcast to.

    Notes
    -----
    Each component takes two normals. Below about 0.2 in float32 and 0.02 in float64, for df, some draws are larger than
    any number of the dtype.
    """

    constraints: ClassVar = {"df": positive, "loc": real, "scale": positive}
    divergence_forms: ClassVar = DivergenceForms(interval=real_line)
    support = supports.real
    chart = REAL

    def __init__(self, df: ArrayLike, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(df=df, loc=loc, scale=scale, batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return standard normals for the normal and for the chi-squared variable."""
        return {"normal": noise.normal(event_shape), "chi2": noise.normal(event_shape)}

    @staticmethod
    def transform(eps: Any, *, df: Any, loc: Any, scale: Any) -> Any:
        """Divide a normal variable by the root of a chi-squared one."""
        return loc + scale * (eps["normal"] * stretch(eps["chi2"], df))

    @staticmethod
    def log_density(x: Any, *, df: Any, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        square = np.square(about(x, loc) / scale) / df
        norm = log_rising(0.5 * df, 0.5) - 0.5 * np.log(df) - HALF_LOG_PI - np.log(scale)
        return np.sum(norm - 0.5 * (df + 1.0) * np.log1p(square))


class MultivariateStudentT(Distribution):
    """Multivariate t: z = loc + scale_tril @ x / sqrt(y/df), x normal, y chi-squared of df degrees of freedom.

    Parameters
    ----------
    df : float
        Degrees of freedom, > 0; not only whole numbers.
    loc : array_like, shape (d,)
        Median, and mean for df > 1.
    scale_tril : array_like, shape (d, d)
        Lower triangular, > 0 on the diagonal; the covariance is ``scale_tril @ scale_tril.T * df / (df - 2)`` for
        df > 2. Its gradient is zero above the diagonal.
    """

    constraints: ClassVar = {"df": positive, "loc": real, "scale_tril": lower_cholesky}
    support = supports.real
    chart = REAL

    def __init__(self, df: ArrayLike, loc: ArrayLike, scale_tril: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(df=df, loc=loc, scale_tril=scale_tril, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return (d,)."""
        df, loc, scale_tril = shapes["df"], shapes["loc"], shapes["scale_tril"]
        if df:
            raise ParameterError("df", f"shape {df}", "one number")
        if loc != scale_tril[:1]:
            raise ParameterError("loc", f"shape {loc} with scale_tril of shape {scale_tril}", f"shape {scale_tril[:1]}")
        return loc

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return d standard normals, and one for the chi-squared variable."""
        return {"normal": noise.normal(event_shape), "chi2": noise.normal()}

    @staticmethod
    def transform(eps: Any, *, df: Any, loc: Any, scale_tril: Any) -> Any:
        """Divide a multivariate normal variable by the root of a chi-squared one."""
        return loc + (scale_tril @ eps["normal"]) * stretch(eps["chi2"], df)

    @staticmethod
    def log_density(x: Any, *, df: Any, loc: Any, scale_tril: Any) -> Any:
        """Return the log density of z."""
        d = scale_tril.shape[0]
        square = np.sum(np.square(solve_lower(scale_tril, about(x, loc)))) / df
        log_det = np.sum(np.log(scale_tril[np.arange(d), np.arange(d)]))
        norm = log_rising(0.5 * df, 0.5 * d) - 0.5 * d * np.log(df) - d * HALF_LOG_PI - log_det
        return norm - 0.5 * (df + d) * np.log1p(square)


def stretch(eps: Any, df: Any) -> Any:
    """Return 1 / sqrt(y/df) for a chi-squared variable y."""
    return np.exp(-0.5 * gamma_log_ratio(0.5 * df, eps)) / np.sqrt(1.0 + 2.0 / df)
