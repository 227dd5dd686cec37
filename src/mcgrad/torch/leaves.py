"""The tensors of a call: parameters of q, parameters of f, and data, flat and in one order.

`torch.compile` traces this file, so it reads shapes and dtypes of tensors, never their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from mcgrad.errors import ParameterError, shown
from mcgrad.torch.rows import DATA, PARAMS, Axes, Q

WIDTHS = (torch.float32, torch.float64)
TENSORS = "tensors, floats or NumPy arrays"


class Leaf(NamedTuple):
    """What is known of a tensor before it has values, and decides, with f and the options, which Estimator serves it.

    Parameters
    ----------
    argument : {"q", "params", "data"}
    path : str
        Dotted path of a parameter, or the name of data.
    shape : tuple of int
    dtype : torch.dtype
    differentiable : bool
        Whether its gradient is asked for.
    by_row : bool
        Whether it has the axes of a batch in front.
    """

    argument: str
    path: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    differentiable: bool
    by_row: bool

    @property
    def is_fixed(self) -> bool:
        """Whether its values are part of the compiled code: integers and booleans that all rows share."""
        return self.argument == DATA and not self.dtype.is_floating_point and not self.by_row


class Leaves(NamedTuple):
    """The tensors of a call.

    Parameters
    ----------
    tensors : list of Tensor
    known : tuple of Leaf
        One for each.
    static : tuple of (str, object)
        Arguments of q that are no parameters' values, such as a count, by dotted path.
    dtype : torch.dtype
        Of the result: the widest of the tensors', to which floats adapt.
    axes : Axes
        Of the batch.
    """

    tensors: list[torch.Tensor]
    known: tuple[Leaf, ...]
    static: tuple[tuple[str, Any], ...]
    dtype: torch.dtype
    axes: Axes


def leaves(
    q: Mapping[str, Any],
    params: Mapping[str, Any],
    data: Mapping[str, Any],
    dtype: torch.dtype | None,
    axes: Axes,
    every_gradient: bool,
) -> Leaves:
    """Return the tensors of a call.

    Parameters
    ----------
    q, params : nested dict of str to Tensor, float or array
        In `q`, values of other types are static.
    data : dict of str to Tensor, float, int, bool or array
    dtype : torch.dtype or None
        Of the result; None for that of the tensors.
    axes : Axes
        Of the batch.
    every_gradient : bool
        Whether gradients are asked for in all tensors that are parameters, or in those that require one.

    Raises
    ------
    ParameterError
        Values that are no tensors, of a dtype that mcgrad does not compute in, or data that require a gradient.
    """
    found: list[tuple[str, str, Any]] = []
    for argument, values in ((Q, q), (PARAMS, params), (DATA, data)):
        _flatten(argument, "", values, found)
    static = tuple([(path, x) for argument, path, x in found if argument == Q and not _is_value(x)])
    axes = axes.stated_by(static)
    found = [(argument, path, x) for argument, path, x in found if argument != Q or _is_value(x)]
    if dtype is None:
        dtype = _widest([x for _, _, x in found if isinstance(x, torch.Tensor)])
    tensors = [_tensor(argument, path, x, dtype) for argument, path, x in found]
    differentiates = torch.is_grad_enabled()
    known = []
    for (argument, path, given), x in zip(found, tensors, strict=True):
        wanted = differentiates and requires_grad(x) if given is x and not every_gradient else given is x
        differentiable = argument != DATA and x.dtype.is_floating_point and wanted
        by_row = axes.has(argument, path, x.ndim)
        known.append(Leaf(argument, path, tuple(x.shape), x.dtype, differentiable, by_row))
    return Leaves(tensors, tuple(known), static, dtype, axes)


def _flatten(argument: str, prefix: str, values: Mapping[str, Any], found: list[tuple[str, str, Any]]) -> None:
    if not isinstance(values, Mapping):
        raise ParameterError(argument, shown(values), f"a dict of names to {TENSORS}")
    for name, value in values.items():
        if isinstance(value, Mapping) and argument != DATA:
            _flatten(argument, f"{prefix}{name}.", value, found)
        else:
            found.append((argument, f"{prefix}{name}", value))


def _is_value(x: Any) -> bool:
    return isinstance(x, torch.Tensor | float | np.ndarray | np.floating)


def _widest(tensors: list[torch.Tensor]) -> torch.dtype:
    floats = [x.dtype for x in tensors if x.dtype.is_floating_point]
    if not floats:
        return torch.get_default_dtype()
    return torch.float64 if torch.float64 in floats else torch.float32


def _tensor(argument: str, path: str, x: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return a value as a tensor, of which the dtype is one that mcgrad reads; floats get the dtype of the result."""
    if isinstance(x, torch.Tensor):
        if x.dtype.is_complex or (x.dtype.is_floating_point and x.dtype not in WIDTHS):
            raise ParameterError(path, f"a tensor of {x.dtype}", "torch.float32 or torch.float64: x.float()")
        if argument == DATA and torch.is_grad_enabled() and requires_grad(x):
            raise ParameterError(path, "data that require a gradient", f"x.detach(), or params={{{path!r}: x}}")
        return x
    if isinstance(x, float):
        return torch.tensor(x, dtype=dtype)
    if isinstance(x, np.ndarray | np.generic):
        return torch.tensor(x)
    if isinstance(x, bool | int) and argument == DATA:
        return torch.tensor(x)
    if isinstance(x, int) and not isinstance(x, bool):
        return torch.tensor(x, dtype=dtype)
    raise ParameterError(path, shown(x), f"{TENSORS}, or dicts of them")


def requires_grad(x: torch.Tensor) -> bool:
    """Return whether a tensor requires a gradient, at any level of `torch.func`'s transforms."""
    if x.requires_grad or torch.compiler.is_compiling():
        return bool(x.requires_grad)
    wrapped = torch._C._functorch
    while wrapped.is_functorch_wrapped_tensor(x):  # batched ones do not say so themselves
        x = wrapped.get_unwrapped(x)
        if x.requires_grad:
            return True
    return False
