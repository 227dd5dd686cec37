"""PyTorch: expectations of tensors whose gradient joins autograd, and integrands written in PyTorch.

The public names are listed in `__init__.pyi`, and imported when they are first used: torch is loaded then.
"""

from mcgrad.system.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
