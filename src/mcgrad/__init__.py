"""Monte Carlo gradients of expectations, with standard errors, from plain NumPy functions.

The public names are listed in `__init__.pyi`, and imported when they are first used, so that `import mcgrad` costs next
to nothing.
"""

from mcgrad.system.lazy_names import lazy_names

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(__name__)
