"""The special functions in float32, as emitted float32 kernels import them."""

from mcgrad.kernels import special
from mcgrad.kernels.widths import FLOAT32, namespace

__all__ = special.__all__
globals().update(namespace(special, FLOAT32))
