"""Noise: which a transform takes (`spec`, public), where its numbers come from, and what they are."""

from mcgrad.noise.spec import (
    Noise as Noise,
    NoiseSpec as NoiseSpec,
    Shape as Shape,
    normal as normal,
    sources as sources,
    uniform as uniform,
)
