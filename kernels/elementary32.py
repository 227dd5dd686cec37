"""The elementary functions in float32, as emitted float32 kernels import them."""

from mcgrad.kernels import elementary
from mcgrad.kernels.widths import FLOAT32, namespace

__all__ = elementary.__all__
globals().update(namespace(elementary, FLOAT32))
