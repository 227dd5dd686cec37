"""PyTorch's reductions, running versions of them, products and losses, as functions of NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.functions import special
from mcgrad.functions.running import running_logsumexp


def _axes(dim: Any) -> Any:
    """Return axes as NumPy takes them: no or an empty list of axes means all."""
    if isinstance(dim, Sequence):
        return tuple(dim) or None
    return dim


def _over(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        return function(x, axis=_axes(dim), keepdims=keepdim) if x.ndim else function(x)

    return reduce


def _extreme(function: Callable[..., Any], both: Callable[..., Any], place: Callable[..., Any]) -> Callable[..., Any]:
    """torch.max and torch.min: of all, of two tensors, or along one axis with indices."""

    def reduce(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return function(x)
        if not isinstance(dim, int):
            return both(x, dim)
        if not x.ndim:
            return x, np.zeros(())
        return function(x, axis=dim, keepdims=keepdim), place(x, axis=dim, keepdims=keepdim)

    return reduce


def _variance(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, dim: Any = None, correction: Any = 1, keepdim: bool = False, **_: Any) -> Any:
        if isinstance(dim, bool):
            dim, correction = None, int(dim)
        return function(x, axis=_axes(dim), ddof=1 if correction is None else correction, keepdims=keepdim)

    return reduce


def _var_mean(x: Any, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> tuple[Any, Any]:
    return _variance(np.var)(x, dim, correction, keepdim), np.mean(x, axis=_axes(dim), keepdims=keepdim)


def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    axes = _axes(dim)
    if ord == 2:
        return np.sqrt(np.sum(x * x, axis=axes, keepdims=keepdim))
    size = np.absolute(x)
    if abs(ord) == float("inf"):
        return (np.max if ord > 0 else np.min)(size, axis=axes, keepdims=keepdim)
    if ord == 1:
        return np.sum(size, axis=axes, keepdims=keepdim)
    return np.sum(size**ord, axis=axes, keepdims=keepdim) ** (1.0 / ord)


def _softmax(x: Any, dim: int, *_: Any) -> Any:
    return special.softmax(x, axis=dim) if x.ndim else x * 0.0 + 1.0


def _log_softmax(x: Any, dim: int, *_: Any) -> Any:
    return special.log_softmax(x, axis=dim) if x.ndim else x * 0.0


def _logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    return special.logsumexp(x, axis=_axes(dim), keepdims=keepdim) if x.ndim else x


def _running(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim, dtype=None: function(x, axis=dim) if x.ndim else x


def _running_extreme(function: Any) -> Callable[..., Any]:
    return lambda x, dim: (function.accumulate(x, dim) if x.ndim else x, None)


# --- products --------------------------------------------------------------------------------------------------------
def _plus_product(x: Any, first: Any, second: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = np.matmul(first, second)
    product = product if alpha == 1 else alpha * product
    if beta == 0:
        return product
    return product + (x if beta == 1 else beta * x)


# --- losses ----------------------------------------------------------------------------------------------------------
def _reduced(loss: Any, reduction: int) -> Any:
    return (lambda x: x, np.mean, np.sum)[reduction](loss)


def _cross_entropy_of_logits(
    x: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = 1
) -> Any:
    log_weight = 1.0 if pos_weight is None else 1.0 + (pos_weight - 1.0) * target
    loss = (1.0 - target) * x + log_weight * np.logaddexp(-x, 0.0)
    return _reduced(loss if weight is None else loss * weight, reduction)


def _cross_entropy(x: Any, target: Any, weight: Any = None, reduction: int = 1) -> Any:
    """-target log x - (1 - target) log(1 - x), with logarithms of at least -100."""
    loss = -target * np.maximum(np.log(x), -100.0) - (1.0 - target) * np.maximum(np.log1p(-x), -100.0)
    return _reduced(loss if weight is None else loss * weight, reduction)


def _mse(x: Any, target: Any, reduction: int = 1) -> Any:
    return _reduced((x - target) ** 2, reduction)


# --- normalization ---------------------------------------------------------------------------------------------------
def _layer_norm(x: Any, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> tuple[Any, None, None]:
    axes = tuple(range(-len(shape), 0))
    centred = x - np.mean(x, axis=axes, keepdims=True)
    normal = centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + eps)
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias, None, None


def _distances(x: Any, y: Any, p: float = 2.0, *_: Any) -> Any:
    """Norms of all differences of rows; that of equal rows has the derivative 0. For p = 0: how many numbers differ."""
    size = np.absolute(x[..., :, None, :] - y[..., None, :, :])
    if p == 0.0:
        return np.sum(np.where(size > 0.0, 1.0, 0.0), -1)
    if p in (1.0, math.inf):
        return np.sum(size, -1) if p == 1.0 else np.max(size, -1)
    total = np.sum(size * size if p == 2 else size**p, -1)
    return np.where(total > 0.0, total ** (1.0 / p), 0.0)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": _over(np.sum),
    "mean": _over(np.mean),
    "prod": _over(np.prod),
    "amax": _over(np.max),
    "amin": _over(np.min),
    "any": _over(np.any),
    "all": _over(np.all),
    "count_nonzero": _over(np.count_nonzero),
    "max": _extreme(np.max, np.maximum, np.argmax),
    "min": _extreme(np.min, np.minimum, np.argmin),
    "var": _variance(np.var),
    "std": _variance(np.std),
    "var_mean": _var_mean,
    "linalg_vector_norm": _vector_norm,
    "norm": lambda x, p=2, dim=None, keepdim=False, dtype=None: _vector_norm(x, 2 if p is None else p, dim, keepdim),
    "logsumexp": _logsumexp,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "cumsum": _running(np.cumsum),
    "cumprod": _running(np.cumprod),
    "logcumsumexp": _running(running_logsumexp),
    "cummax": _running_extreme(np.maximum),
    "cummin": _running_extreme(np.minimum),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), np.matmul),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _plus_product),
    "binary_cross_entropy_with_logits": _cross_entropy_of_logits,
    "binary_cross_entropy": _cross_entropy,
    "_cdist_forward": _distances,
    "_pdist_forward": lambda x, p=2.0: _distances(x, x, p)[np.triu_indices(x.shape[0], 1)],
    "mse_loss": _mse,
    "native_layer_norm": _layer_norm,
}
