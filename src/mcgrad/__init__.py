"""Monte Carlo gradients of expectations, with standard errors, from plain NumPy functions."""

__version__ = "0.1.0"
