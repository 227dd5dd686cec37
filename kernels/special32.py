"""The special functions in float32: what an emitted float32 kernel calls."""

from mcgrad.kernels import special
from mcgrad.kernels.widths import FLOAT32, namespace

__all__ = special.__all__
globals().update(namespace(special, FLOAT32))
