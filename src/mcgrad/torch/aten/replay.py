"""Evaluate a function of PyTorch's tensors with NumPy's functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from mcgrad.errors import TraceError
from mcgrad.system.locks import Lock
from mcgrad.torch.aten.constants import check_constants
from mcgrad.torch.aten.functions import Functions
from mcgrad.torch.aten.higher_order import register
from mcgrad.torch.aten.traced import Operators, traced, value_of
from mcgrad.trace.frames import line_of
from mcgrad.trace.tracer import Tracer


def _dispatch() -> tuple[Any, Any]:
    """Return the keys that PyTorch's dispatcher adds and leaves out in a thread that has set none."""
    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(_keys).result()


def _keys() -> tuple[Any, Any]:
    return torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()


DISPATCH = _dispatch()
register()
TRANSFORMS = torch._C.DispatchKey.FuncTorchDynamicLayerFrontMode

_lock = Lock()
_replays = 0
_validated = True


def replay(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return function(*args, **kwargs), whose arguments are trees of Tracers, NumPy arrays and numbers.

    Floats and Tracers become tensors without memory, integers and booleans those with their values.

    Returns
    -------
    Tracer or array, or a tree of them, as the function nests its result.

    Raises
    ------
    TraceError
        An operator that has no counterpart, or code that needs a value.
    """
    pure = torch.func.functionalize(function, remove="mutations_and_views")
    operators, functions = Operators(), Functions()
    try:
        with np.errstate(all="ignore"), _without_validation(), _uncompiled(), _with_gradients(), operators, functions:
            result = pure(*_tensors(args), **_tensors(kwargs))
    except TypeError:
        refused = operators.refused or functions.refused
        if refused is None:
            raise
        raise refused from None
    except RuntimeError as error:
        if "does not have a grad_fn" in str(error):
            message = "torch.autograd.grad cannot be traced; torch.func.grad differentiates functions inside f"
            raise TraceError(message, *(line_of(error) or ())) from error
        if "custom_function_call" not in str(error) and "autograd.Function" not in str(error):
            raise
        message = "torch.autograd.Function cannot be traced; write what its forward computes: mcgrad differentiates it"
        raise TraceError(message, *(line_of(error) or ())) from error
    return _values(result)


def _tensors(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _tensors(x) for name, x in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(map(_tensors, tree))
    if isinstance(tree, Tracer):
        return traced(tree)
    if isinstance(tree, np.ndarray | np.generic):
        return traced(np.asarray(tree, float)) if tree.dtype.kind == "f" else torch.tensor(np.array(tree))
    return tree


def _values(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _values(x) for name, x in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(map(_values, tree))
    if isinstance(tree, torch.Tensor):
        check_constants([tree])
    return value_of(tree)


def _uncompiled() -> AbstractContextManager[Any]:
    """Let what torch.compile has made run as it was written."""
    loaded = "torch._dynamo" in sys.modules  # imports it otherwise, which takes seconds
    return torch.compiler.set_stance("force_eager") if loaded else nullcontext()


@contextmanager
def _with_gradients() -> Iterator[None]:
    """Leave torch.no_grad and inference_mode of the caller: those of f itself stop derivatives.

    Operators of a compiled graph are called with all transformations left out, so also those that replay f.
    """
    left_out = torch._C._dispatch_tls_is_dispatch_key_excluded(TRANSFORMS)
    dispatch = torch._C._ForceDispatchKeyGuard(*DISPATCH) if left_out else nullcontext()
    with dispatch, _untransformed(), torch.inference_mode(False), torch.enable_grad():
        yield


def _untransformed() -> AbstractContextManager[Any]:
    """Leave the transforms of torch.func around the call, whose levels would wrap what f returns: those in f stay."""
    if not torch._C._are_functorch_transforms_active():
        return nullcontext()
    cleared: AbstractContextManager[Any] = torch._functorch.pyfunctorch.temporarily_clear_interpreter_stack()
    return cleared


@contextmanager
def _without_validation() -> Iterator[None]:
    """Keep torch.distributions from asking whether the values of tensors are valid."""
    global _replays, _validated
    distribution = torch.distributions.Distribution
    with _lock:
        if not _replays:
            _validated = distribution._validate_args
            distribution.set_default_validate_args(False)
        _replays += 1
    try:
        yield
    finally:
        with _lock:
            _replays -= 1
            if not _replays:
                distribution.set_default_validate_args(_validated)
