"""The elementary functions in float64, as emitted float64 kernels import them."""

from mcgrad.kernels import elementary
from mcgrad.kernels.widths import FLOAT64, namespace

__all__ = elementary.__all__
globals().update(namespace(elementary, FLOAT64))
