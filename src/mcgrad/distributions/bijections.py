"""Smooth invertible maps for `q.transformed`: each with its inverse and the logarithm of its determinant.

All are plain NumPy on one draw, and traced. What maps along the last axis has independent draws along the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.charts import LOG, LOGIT, Chart
from mcgrad.distributions.supports import Support
from mcgrad.errors import ParameterError, shown
from mcgrad.functions.special import expit, log_expit, logsumexp, softmax
from mcgrad.system.public_names import listed

__all__ = ["Affine", "Bijection", "Exp", "Sigmoid", "SoftmaxCentered", "Softplus", "StickBreaking", "Tanh"]
__dir__ = listed(__name__)


class Bijection:
    """A map x -> y of one draw; a subclass has some or all of these as methods.

    Attributes
    ----------
    forward : callable
        ``forward(x, **params) -> y``, differentiable.
    inverse : callable or None
        ``inverse(y, **params) -> x``. Only densities need it.
    log_det : callable or None
        ``log_det(x, **params) -> scalar``: the logarithm of the absolute value of the determinant of dy/dx, at x. Only
        densities need it.
    image : Support
        What y may be; everything where a subclass does not say.
    chart : Chart or None
        The chart in which the coordinates of y are those of any x in `REAL`, where there is one.
    """

    forward: Callable[..., Any]
    inverse: Callable[..., Any] | None = None
    log_det: Callable[..., Any] | None = None
    image: Support = supports.real
    chart: Chart | None = None

    def __eq__(self, other: object) -> bool:
        """Whether it is the same map: of one class, with equal attributes."""
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return mine.keys() == theirs.keys() and all(np.array_equal(x, theirs[name]) for name, x in mine.items())

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Exp(Bijection):
    """y = e**x, onto the positive numbers."""

    image = supports.positive
    chart = LOG

    @staticmethod
    def forward(x: Any) -> Any:
        """Exponentiate."""
        return np.exp(x)

    @staticmethod
    def inverse(y: Any) -> Any:
        """Take the logarithm."""
        return np.log(y)

    @staticmethod
    def log_det(x: Any) -> Any:
        """Return the log determinant at x."""
        return np.sum(x)


class Sigmoid(Bijection):
    """y = 1 / (1 + e**-x), onto (0, 1)."""

    image = supports.unit_interval
    chart = LOGIT

    @staticmethod
    def forward(x: Any) -> Any:
        """Return the logistic function of x."""
        return expit(x)

    @staticmethod
    def inverse(y: Any) -> Any:
        """Take the log odds."""
        return np.log(y) - np.log1p(-y)

    @staticmethod
    def log_det(x: Any) -> Any:
        """Return the log determinant at x."""
        return np.sum(log_expit(x) + log_expit(-x))


class Softplus(Bijection):
    """y = log(1 + e**x), onto the positive numbers."""

    image = supports.positive

    @staticmethod
    def forward(x: Any) -> Any:
        """Return log(1 + e**x)."""
        return np.logaddexp(0.0, x)

    @staticmethod
    def inverse(y: Any) -> Any:
        """Take log(e**y - 1)."""
        return y + np.log(-np.expm1(-y))

    @staticmethod
    def log_det(x: Any) -> Any:
        """Return the log determinant at x."""
        return np.sum(log_expit(x))


class Tanh(Bijection):
    """y = tanh(x), onto (-1, 1)."""

    image = supports.interval(-1.0, 1.0)

    @staticmethod
    def forward(x: Any) -> Any:
        """Return tanh(x)."""
        return np.tanh(x)

    @staticmethod
    def inverse(y: Any) -> Any:
        """Take the inverse."""
        return np.arctanh(y)

    @staticmethod
    def log_det(x: Any) -> Any:
        """Return the log determinant at x: 2 (log 2 - x - softplus(-2 x)), summed."""
        return np.sum(2.0 * (math.log(2.0) - x - np.logaddexp(0.0, -2.0 * x)))


class Affine(Bijection):
    """y = loc + scale * x, with constants.

    Parameters
    ----------
    loc, scale : array_like
        Finite; `scale` is not 0. They broadcast to the shape of x.

    Notes
    -----
    They are no parameters. Where they are to be, write ``q.transformed(lambda x, *, a, b: a + b * x, params={...})``.
    """

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self.loc, self.scale = (np.array(x, np.float64) for x in (loc, scale))
        if not np.isfinite(self.loc).all():
            raise ParameterError("loc", shown(loc), "finite")
        if not (np.isfinite(self.scale).all() and np.all(self.scale != 0)):
            raise ParameterError("scale", shown(scale), "finite and not 0")

    def forward(self, x: Any) -> Any:
        """Scale and shift."""
        return self.loc.astype(x.dtype) + self.scale.astype(x.dtype) * x

    def inverse(self, y: Any) -> Any:
        """Shift and scale back."""
        return (y - self.loc.astype(y.dtype)) / self.scale.astype(y.dtype)

    def log_det(self, x: Any) -> Any:
        """Return the log determinant at x, the same for all x."""
        return np.sum(np.broadcast_to(np.log(np.abs(self.scale)).astype(x.dtype), np.shape(x)))

    def __repr__(self) -> str:
        return f"Affine({shown(self.loc[()])}, {shown(self.scale[()])})"


class StickBreaking(Bijection):
    """R**(K - 1) onto the simplex of K components: each takes a part of what is left of 1.

    The parts are expit(x[k] - log(K - 1 - k)), so that x = 0 is the centre, as in torch.distributions.
    """

    image = supports.simplex

    @staticmethod
    def forward(x: Any) -> Any:
        """Break the stick, in logarithms."""
        part, before, rest = _broken(x)
        return np.exp(np.concatenate([part + before, rest[..., -1:]], axis=-1))

    @staticmethod
    def inverse(y: Any) -> Any:
        """Compare each component with the sum of the later ones."""
        rest = np.flip(np.cumsum(np.flip(y, -1), axis=-1), -1)[..., 1:]
        return np.log(y[..., :-1]) - np.log(rest) + _centre(rest)

    @staticmethod
    def log_det(x: Any) -> Any:
        """Return the log determinant at x, of the first K - 1 components."""
        part, _, rest = _broken(x)
        return np.sum(part + rest)


class SoftmaxCentered(Bijection):
    """R**(K - 1) onto the simplex of K components: softmax of x with a 0 behind it, as in TFP."""

    image = supports.simplex

    @staticmethod
    def forward(x: Any) -> Any:
        """Take the softmax."""
        return softmax(_with_zero(x), axis=-1)

    @staticmethod
    def inverse(y: Any) -> Any:
        """Compare each component with the last."""
        return np.log(y[..., :-1]) - np.log(y[..., -1:])

    @staticmethod
    def log_det(x: Any) -> Any:
        """Return the log determinant at x, of the first K - 1 components: the sum of the logarithms of all K."""
        return np.sum(x) - (x.shape[-1] + 1) * np.sum(logsumexp(_with_zero(x), axis=-1))


def _centre(x: Any) -> Any:
    """log(K - 1 - k) for k = 0 ... K - 2."""
    return np.log(np.arange(x.shape[-1], 0.0, -1.0)).astype(x.dtype)


def _broken(x: Any) -> tuple[Any, Any, Any]:
    """Logarithms of the part that is taken, of what was left before, and of what is left after."""
    odds = x - _centre(x)
    rest = np.cumsum(log_expit(-odds), axis=-1)
    before = np.concatenate([np.zeros_like(rest[..., :1]), rest[..., :-1]], axis=-1)
    return log_expit(odds), before, rest


def _with_zero(x: Any) -> Any:
    return np.concatenate([x, np.zeros_like(x[..., :1])], axis=-1)
