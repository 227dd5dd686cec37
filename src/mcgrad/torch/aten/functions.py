"""The mode that sees functions of PyTorch before they become operators: some are refused, some written otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mcgrad.errors import TraceError
from mcgrad.torch.aten.remedies import UNCHANGED, VALUES
from mcgrad.torch.aten.traced import TracedTensor
from mcgrad.trace.operands import IN_ARGUMENTS
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer

NUMPYS = ("numpy", "__array__", "tolist", "data_ptr", "untyped_storage", "__dlpack__")  # methods that read memory


class Functions(TorchFunctionMode):
    """While it is active, functions that read the memory of a tensor that has none, or change one of others, fail.

    Attributes
    ----------
    refused : TraceError or None
        As of `Operators`.
    """

    refused: TraceError | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or refuse it."""
        if args and isinstance(args[0], torch.Tensor) and torch._is_functional_tensor(args[0]):
            name = getattr(func, "__name__", "")
            if name in NUMPYS:
                raise refusal(f"Tensor.{name} in mg.from_torch", f"use functions of torch; {VALUES}")
            if func == torch.Tensor.data.__get__:
                return args[0].detach()
        try:
            if func in REPLACED and any(map(_is_traced, tree_leaves(args))):
                return REPLACED[func](*args, **(kwargs or {}))
            return func(*args, **(kwargs or {}))
        except RuntimeError as error:
            if "== nullptr INTERNAL ASSERT" in str(error):  # a level that is left out while f is replayed
                self.refused = refusal("a value of a transform of torch.func around f, which f reads,", IN_ARGUMENTS)
                raise self.refused from None
            if "mutating a non-functional tensor" not in str(error):
                raise
            raise refusal("changing a tensor that f has not made", UNCHANGED) from None


def _is_traced(x: Any) -> bool:
    """Whether a tensor that f has stands for a Tracer."""
    if not isinstance(x, torch.Tensor) or not torch._is_functional_tensor(x):
        return False
    inside = torch._from_functional_tensor(x)
    return isinstance(inside, TracedTensor) and isinstance(inside.value, Tracer)


def _is_number(k: Any) -> bool:
    """Whether part of an index is one traced whole number, of which PyTorch asks for the value."""
    return isinstance(k, torch.Tensor) and k.ndim == 0 and k.dtype not in (torch.bool, torch.uint8) and _is_traced(k)


def _item(x: torch.Tensor, key: Any) -> Any:
    """x[key], of which one traced number along an axis is an array of one."""
    parts, axis = list(key) if isinstance(key, tuple) else [key], 0
    taken = sum(k is not None and k is not Ellipsis and not isinstance(k, bool) for k in parts)
    for i, k in enumerate(parts):
        if _is_number(k):
            x, parts[i] = x.index_select(axis, k.reshape(1)), 0
        if k is Ellipsis:
            axis += x.ndim - taken
        elif k is not None:
            axis += k.ndim if isinstance(k, torch.Tensor) and k.dtype == torch.bool else 1
    return x[tuple(parts)]


def _set_item(x: torch.Tensor, key: Any, value: Any) -> None:
    """x[key] = value, where the key is whole axes and numbers, of which some are traced."""
    parts = list(key) if isinstance(key, tuple) else [key]
    plain = all(_is_number(k) or type(k) is int or k == slice(None) for k in parts)
    if not any(map(_is_number, parts)) or not plain or len(parts) > x.ndim:
        x.__setitem__(key, value)
        return
    parts = [_constant(k, axis, x) if type(k) is int else k for axis, k in enumerate(parts)]
    value = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=x.dtype)
    torch.ops.aten.index_put_(x, [k if isinstance(k, torch.Tensor) else None for k in parts], value)


def _constant(k: int, axis: int, x: torch.Tensor) -> torch.Tensor:
    """An index that is known, from 0 on."""
    if not -x.shape[axis] <= k < x.shape[axis]:
        raise IndexError(f"index {k} is out of bounds for dimension {axis} with size {x.shape[axis]}")
    return torch.tensor(k % x.shape[axis])


def _cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """As PyTorch computes it, which does so partly without derivatives: those are of the norms alone."""
    sizes = [torch.linalg.vector_norm(x, dim=dim, keepdim=True).clamp_min(eps) for x in (x1, x2)]
    return ((x1 / sizes[0]) * (x2 / sizes[1])).sum(dim)


REPLACED: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__getitem__: _item,
    torch.Tensor.__setitem__: _set_item,
    torch.cosine_similarity: _cosine_similarity,
}
