"""Paths: constructions of Brownian motion from the normal noise of a draw, in plain NumPy that can be traced."""

from mcgrad.paths.constructions import brownian as brownian
