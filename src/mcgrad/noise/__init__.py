"""Noise: the specs of transforms (`spec`, public), generators of random words, and laws that make numbers of these."""

from mcgrad.noise.spec import (
    Noise as Noise,
    NoiseSpec as NoiseSpec,
    Shape as Shape,
    normal as normal,
    sources as sources,
    uniform as uniform,
)
from mcgrad.system.public_names import listed

__all__ = ["Noise", "NoiseSpec", "Shape", "normal", "sources", "uniform"]
__dir__ = listed(__name__)
