"""Paths: constructions of Brownian motion from the normal noise of a draw, in plain NumPy that can be traced."""

from mcgrad.paths.constructions import brownian as brownian
from mcgrad.system.public_names import listed

__all__ = ["brownian"]
__dir__ = listed(__name__)
