"""The inverse Gaussian distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import DivergenceForms, Params, positive_line
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.functions.gamma import log_excess
from mcgrad.functions.implicit_derivative import implicit, stop
from mcgrad.functions.special import erfcx, ndtr
from mcgrad.noise import NoiseSpec

SQRT_HALF, SQRT_2PI = math.sqrt(0.5), math.sqrt(2 * math.pi)


def _divergence(q: Params, p: Params) -> Any:
    ours, theirs = q["concentration"], p["concentration"]
    spread = 0.5 * log_excess(theirs / ours, (theirs - ours) / ours)
    return np.sum(spread + 0.5 * theirs * np.square((q["loc"] - p["loc"]) / p["loc"]) / q["loc"])


class InverseGaussian(Distribution):
    """Inverse Gaussian (Wald) distribution: when a Brownian motion with drift first reaches a level.

    Parameters
    ----------
    loc : array_like
        Mean, > 0.
    concentration : array_like
        Shape, > 0; the variance is loc**3 / concentration. The event shape is what both broadcast to.

    Notes
    -----
    A draw is loc times one of mean 1, which is chosen between the two roots of a quadratic equation (Michael, Schucany
    and Haas 1976). The choice jumps as the parameters move, so that derivatives through the roots would be biased. The
    derivative is the implicit one, -(dF/dphi) / p, in closed form: F is a sum of two normal probabilities, and what
    cancels in its derivative leaves

        dw/dphi = w / phi - 2 R(b) w**(3/2) / phi**(1/2),    b = sqrt(phi / w) (1 + w),  phi = concentration / loc

    with Mills' ratio R. The two terms nearly cancel where phi is large: about log10(phi) / 2 digits are lost.
    """

    constraints: ClassVar = {"loc": positive, "concentration": positive}
    divergence_forms: ClassVar = DivergenceForms(within=_divergence, interval=positive_line)
    support = supports.positive

    def __init__(self, loc: ArrayLike, concentration: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, concentration=concentration, batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return a normal, for the roots, and a uniform, for the choice, for each of the event."""
        return {"root": noise.normal(event_shape), "choice": noise.uniform(event_shape)}

    @staticmethod
    def transform(eps: Any, *, loc: Any, concentration: Any) -> Any:
        """Choose a root, and give it the derivative of a draw of its distribution."""
        phi = concentration / loc
        held = stop(phi)
        h = 0.5 * np.square(eps["root"]) / held
        large = 1.0 + h + np.sqrt(h * (2.0 + h))  # the roots are this and its inverse
        w = np.where(eps["choice"] * (1.0 + large) < large, 1.0 / large, large)
        mills = 0.5 * SQRT_2PI * erfcx(SQRT_HALF * np.sqrt(held / w) * (1.0 + w))
        slope = w / held - 2.0 * mills * w * np.sqrt(w / held)
        return loc * implicit(w, -slope * phi, 1.0)

    @staticmethod
    def log_density(z: Any, *, loc: Any, concentration: Any) -> Any:
        """Return the log density at z, summed over the components."""
        inside = z > 0
        safe = np.where(inside, z, 1.0)
        exponent = -0.5 * concentration * np.square(safe / loc - 1.0) / safe
        density = 0.5 * np.log(concentration) - 1.5 * np.log(safe) - HALF_LOG_2PI + exponent
        return np.sum(np.where(inside, density, -np.inf))

    @staticmethod
    def cdf(z: Any, *, loc: Any, concentration: Any) -> Any:
        """Return the distribution function, element by element."""
        near, far = _areas(z, loc, concentration)
        return ndtr(near) + far

    @staticmethod
    def survival(z: Any, *, loc: Any, concentration: Any) -> Any:
        """Return 1 - cdf, element by element."""
        near, far = _areas(z, loc, concentration)
        return ndtr(-near) - far


def _areas(z: Any, loc: Any, concentration: Any) -> tuple[Any, Any]:
    """The bound of the first normal probability, and the second, with its factor."""
    inside = z > 0
    safe = np.where(inside, z, 1.0)
    root = np.sqrt(concentration / safe)
    near = root * (safe / loc - 1.0)
    far = 0.5 * np.exp(-0.5 * np.square(near)) * erfcx(SQRT_HALF * root * (safe / loc + 1.0))
    return np.where(inside, near, -np.inf), np.where(inside, far, 0.0)
