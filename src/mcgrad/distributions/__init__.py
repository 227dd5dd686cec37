"""Distributions: each a transform of noise and a log density, in plain NumPy, with constraints on its parameters."""

from mcgrad.system.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
