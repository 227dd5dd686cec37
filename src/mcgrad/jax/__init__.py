"""JAX: expectations as an op of jit, grad, vmap and scan, whose derivative mcgrad estimates; integrands in jax.numpy.

The public names are listed in `__init__.pyi`, and imported when they are first used: JAX is loaded then.
"""

from mcgrad.system.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
