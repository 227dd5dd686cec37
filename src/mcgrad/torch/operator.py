"""The operator ``torch.ops.mcgrad.expectation``: estimates a problem at some tensors, also for compiled graphs.

It is defined and implemented by `torch.library`'s plain calls, which cost less a call than `custom_op`. Its outputs are
few and flat, as each costs microseconds: `split` makes the gradient of each tensor of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mcgrad.errors import ParameterError
from mcgrad.torch.problems import problem
from mcgrad.torch.seeds import seed_of

SCHEMA = (
    "expectation(Tensor[] tensors, Tensor seed, int problem, SymInt n, bool[] differentiable, ScalarType dtype, "
    "bool errors) -> (Tensor value, Tensor grad, Tensor stderr)"
)
"""
tensors, n
    As `Problem.estimate` takes them.
seed
    An int64 tensor, as a graph makes a new one each time that it runs.
problem
    Number of a `Problem`.
differentiable
    For each tensor, whether it is among those whose gradients `grad` holds, flat and one after the other.
dtype
    Of all outputs.
errors
    Whether `stderr` holds the standard errors of the value and of `grad`, in this order; else it is empty.
"""
NUMPY: dict[Any, Any] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def run(
    tensors: Sequence[torch.Tensor],
    seed: torch.Tensor,
    number: int,
    n: int,
    differentiable: list[bool],
    dtype: torch.dtype,
    errors: bool,
) -> Outputs:
    """Estimate the problem; the results are on the device of the first tensor that is not in host memory."""
    solved, device = problem(number), None
    arrays: list[Any] = []
    for x in tensors:
        if x.is_cpu:
            arrays.append(_host_array(solved, len(arrays), x))
        else:
            device = device or x.device
            arrays.append(x.detach() if x.is_cuda else _host_array(solved, len(arrays), x))
    stream = torch.cuda.current_stream(device) if device is not None and device.type == "cuda" else None
    value, grad, stderr = solved.estimate(arrays, n, seed_of(seed), stream, errors)
    width = NUMPY[dtype]
    outputs = [torch.from_numpy(x.astype(width)) for x in (value, grad, stderr)]
    if device is not None:
        outputs = [x.to(device) for x in outputs]
    return outputs[0], outputs[1], outputs[2]


def fake(
    tensors: Sequence[torch.Tensor],
    seed: torch.Tensor,
    number: int,
    n: int,
    differentiable: list[bool],
    dtype: torch.dtype,
    errors: bool,
) -> Outputs:
    """Return tensors without values, with the shapes, dtypes and devices of what `run` returns."""
    device = next((x.device for x in tensors if x.device.type != "cpu"), torch.device("cpu"))
    size = sum(x.numel() for x, wanted in zip(tensors, differentiable, strict=True) if wanted)
    shapes: tuple[Any, ...] = (), (size,), (1 + size if errors else 0,)
    value, grad, stderr = (torch.empty(shape, dtype=dtype, device=device) for shape in shapes)
    return value, grad, stderr


def split(flat: torch.Tensor, shapes: list[torch.Size]) -> list[torch.Tensor]:
    """Return views of a flat tensor in some shapes, one after the other."""
    if len(shapes) == 1:
        return [flat.view(shapes[0])]
    parts = flat.split_with_sizes([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def multiplied(grad: torch.Tensor, cotangent: torch.Tensor, parameters: list[Kind]) -> list[torch.Tensor]:
    """Return the gradient of each parameter, times the cotangent of the value."""
    parts = split(grad * cotangent, [shape for shape, _ in parameters])
    return [x if x.dtype == dtype else x.to(dtype) for x, (_, dtype) in zip(parts, parameters, strict=True)]


def _host_array(solved: Any, which: int, x: torch.Tensor) -> Any:
    """Return a tensor's numbers as a NumPy array, which shares the memory of one on the CPU."""
    try:
        return x.numpy(force=True)
    except (TypeError, RuntimeError) as error:
        given = f"a tensor that NumPy does not take over ({str(error).splitlines()[0]})"
        raise ParameterError(solved.known[which].path, given, "a dense tensor of real numbers") from None


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    tensors, _, _, _, differentiable, *_ = inputs
    ctx.differentiable = differentiable
    ctx.parameters = [(x.shape, x.dtype) for x, wanted in zip(tensors, differentiable, strict=True) if wanted]
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, cotangent: torch.Tensor, *others: Any) -> tuple[Any, ...]:
    (grad,) = ctx.saved_tensors
    products = iter(multiplied(grad, cotangent, ctx.parameters) if ctx.parameters else ())
    return [next(products) if wanted else None for wanted in ctx.differentiable], *[None] * 6


Kind = tuple[torch.Size, torch.dtype]  # of a tensor

_library = torch.library.Library("mcgrad", "DEF")
_library.define(SCHEMA)
_library.impl("expectation", run, "CompositeExplicitAutograd")
torch.library.register_fake("mcgrad::expectation", fake, lib=_library)
torch.library.register_autograd("mcgrad::expectation", _backward, setup_context=_setup, lib=_library)
expectation_op = torch.ops.mcgrad.expectation.default
