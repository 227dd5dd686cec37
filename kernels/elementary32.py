"""The elementary functions in float32: what an emitted float32 kernel calls."""

from mcgrad.kernels import elementary
from mcgrad.kernels.widths import FLOAT32, namespace

__all__ = elementary.__all__
globals().update(namespace(elementary, FLOAT32))
