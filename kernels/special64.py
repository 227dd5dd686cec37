"""The special functions in float64, as emitted float64 kernels import them."""

from mcgrad.kernels import special
from mcgrad.kernels.widths import FLOAT64, namespace

__all__ = special.__all__
globals().update(namespace(special, FLOAT64))
