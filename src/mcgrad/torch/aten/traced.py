"""Tensors that stand for Tracers, and the mode that evaluates operators on them with NumPy's functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from mcgrad.errors import TraceError
from mcgrad.torch.aten.constants import check_constants
from mcgrad.torch.aten.elementwise import ELEMENTWISE, stopped
from mcgrad.torch.aten.matrices import MATRICES
from mcgrad.torch.aten.moving import MOVING
from mcgrad.torch.aten.reductions import REDUCTIONS
from mcgrad.torch.aten.remedies import BESIDES, FORWARD, KEYS, RANDOM, UNCHANGED, remedy
from mcgrad.torch.aten.sorting import SORTING
from mcgrad.torch.aten.windowed import WINDOWED
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer

RULES: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **MOVING, **REDUCTIONS, **MATRICES, **SORTING, **WINDOWED}
PRODUCTS = ("mm", "bmm", "mv", "dot", "vdot", "addmm", "addmv", "baddbmm")
ANSWERS = {"_has_same_storage_numel": True}  # to what is no tensor, of tensors without memory
BY_INDEX = ("index", "index_put")  # with a mask, PyTorch does not know the shape


class TracedTensor(torch.Tensor):
    """A tensor without memory, whose value is a Tracer or a NumPy array.

    Parameters
    ----------
    value : Tracer or array or None
        None for what an operator does not compute, such as the indices of a maximum.
    meta : Tensor
        On the device "meta": its shape, dtype and strides.

    Attributes
    ----------
    shared : bool
        Whether it is a view of another tensor, or another is one of it. Code of f does not see this: its views are
        made functional before. Operators of PyTorch's that call others do.
    """

    value: Any
    shared: bool

    @staticmethod
    def __new__(cls, value: Any, meta: torch.Tensor) -> TracedTensor:
        """Make the tensor without memory."""
        made: TracedTensor = torch.Tensor._make_wrapper_subclass(
            cls, meta.shape, dtype=meta.dtype, device="cpu", strides=meta.stride()
        )
        made.value, made.shared = value, False
        return made

    def __repr__(self, **_: Any) -> str:
        return f"TracedTensor({self.dtype}{list(self.shape)})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Evaluate an operator that a decomposition calls."""
        return evaluate(func, args, kwargs or {})


class Operators(TorchDispatchMode):
    """While it is active, operators on TracedTensors are evaluated by NumPy's functions.

    Attributes
    ----------
    refused : TraceError or None
        The last refusal. PyTorch takes it, a TypeError, for another word for NotImplemented where it is in an operator
        of Python's.
    """

    refused: TraceError | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to import torch._dynamo, which takes seconds, for its decorator of the method below."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Evaluate an operator that f calls."""
        try:
            return evaluate(func, args, kwargs or {})
        except TraceError as error:
            self.refused = error
            raise


def traced(value: Any) -> TracedTensor:
    """Return a tensor, of float64 or of booleans, that stands for a Tracer or an array of floats."""
    dtype = torch.bool if value.dtype == bool else torch.float64
    return TracedTensor(value, torch.empty(value.shape, dtype=dtype, device="meta"))


def value_of(x: Any) -> Any:
    """Return the Tracer or array of a tensor, floats as float64; anything else as it is."""
    if isinstance(x, TracedTensor):
        if x.value is None:
            raise refusal("what an operator returns besides its value", BESIDES)
        return x.value
    if not isinstance(x, torch.Tensor):
        return x
    if x.is_meta:
        raise refusal("a derivative in forward mode of this function", FORWARD)
    plain = x.detach().cpu()
    return (plain.double() if plain.is_floating_point() else plain).numpy()


def evaluate(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return the result of an operator: by a rule, by its decomposition, or by PyTorch where no tensor is traced.

    Raises
    ------
    TraceError
        An operator that has no rule, one of random numbers, or one that changes a tensor that f has not made.
    """
    name = func._schema.name.partition("::")[2]
    in_place = name.endswith("_") and not name.endswith("__")
    if name in RANDOM:
        raise refusal(f"random numbers, as the operator aten.{name},", KEYS)
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    if not any(isinstance(x, TracedTensor) for x in tensors):
        return func(*args, **kwargs) if in_place else _of_any_width(func, args, kwargs)
    check_constants(tensors)
    if name in ANSWERS:
        return ANSWERS[name]
    if in_place and not isinstance(args[0], TracedTensor):
        raise refusal(f"aten.{name}, which changes a tensor that f has not made,", UNCHANGED)
    base = name.removesuffix("_") if in_place else name
    base = base if base in RULES else base.removesuffix("_copy")
    if base not in RULES:
        return _decomposed(func, name, args, kwargs)
    given = {key: x for key, x in kwargs.items() if key not in ("memory_format", "layout", "device", "pin_memory",
                                                                "non_blocking", "generator")}  # fmt: skip
    values = RULES[base](*tree_map(value_of, args), **tree_map(value_of, given))
    dtype = args[0].dtype if base in BY_INDEX else _dtype(base, values, tensors)
    known = _meta(func, args, kwargs) if dtype is None else torch.empty(values.shape, dtype=dtype, device="meta")
    made = _tensors(values, known)
    if not in_place:
        _note_sharing(func, args[0], made)
        return made
    changed: TracedTensor = args[0]
    if changed.shape != made.shape:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.Python)):
            func(*args, **kwargs)  # of the shape alone: squeeze_ and its like
    elif changed.shared:
        raise refusal(f"aten.{name} of a part of a tensor, in an operator of PyTorch,", "write the operator out")
    changed.value = made.value
    return changed


def _note_sharing(func: Any, given: Any, made: Any) -> None:
    """Note that two tensors would have memory in common, so that neither may change."""
    if any(result.alias_info is not None for result in func._schema.returns):
        for x in (given, *(made if isinstance(made, tuple | list) else (made,))):
            if isinstance(x, TracedTensor):
                x.shared = True


def _dtype(name: str, values: Any, tensors: list[torch.Tensor]) -> torch.dtype | None:
    """Return the dtype of floats that are made of floats; asking PyTorch would have it import its compiler first."""
    if name not in (*ELEMENTWISE, *PRODUCTS) or name == "_to_copy" or isinstance(values, tuple):
        return None
    common = functools.reduce(torch.promote_types, [x.dtype for x in tensors])
    return torch.bool if values.dtype == bool else common if common.is_floating_point else None


def _tensors(values: Any, metas: Any) -> Any:
    """Return a result, or each of several, as a tensor."""
    if isinstance(metas, tuple | list):
        return type(metas)(_tensor(value, meta) for value, meta in zip(values, metas, strict=True))
    return _tensor(values, metas)


def _tensor(value: Any, meta: Any) -> Any:
    if not isinstance(meta, torch.Tensor):
        return meta
    if value is not None:
        kind = _kind(meta.dtype)
        if not isinstance(value, Tracer):
            value = np.asarray(value, kind)
        elif kind is int:
            value = value.astype(int)
        assert value.shape == meta.shape, f"{value.shape} for {meta.shape}"
        value = value if torch.is_grad_enabled() else stopped(value)
    return TracedTensor(value, meta)


def _kind(dtype: torch.dtype) -> type:
    return float if dtype.is_floating_point else bool if dtype == torch.bool else int


def _meta(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what PyTorch knows of a result without values."""
    moved = {**kwargs, "device": "meta"} if kwargs.get("device") is not None else kwargs
    return _of_any_width(func, tree_map(_shape, args), tree_map(_shape, moved))


def _of_any_width(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call an operator that may refuse floats of several widths, with all of them in float64 then."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if len({x.dtype for x in tensors if x.is_floating_point()}) < 2:
            raise
    wide = tree_map(
        lambda x: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, (args, kwargs)
    )
    return func(*wide[0], **wide[1])


def _shape(x: Any) -> Any:
    if not isinstance(x, torch.Tensor):
        return x
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _decomposed(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """Evaluate an operator as PyTorch writes it with simpler ones."""
    from torch._decomp import decomposition_table

    if name not in RANDOM and func in decomposition_table:
        return decomposition_table[func](*args, **kwargs)
    made = func.decompose(*args, **kwargs)
    if made is NotImplemented:
        raise refusal(f"the operator aten.{name} of PyTorch", remedy(name))
    return made
