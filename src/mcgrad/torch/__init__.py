"""PyTorch: expectations of tensors whose gradient joins autograd; imports torch only when a name of it is used."""

from mcgrad.system.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
