"""The operator ``torch.ops.mcgrad.expectation``: estimates a problem at some tensors, also for compiled graphs.

It is defined and implemented by `torch.library`'s plain calls, which cost less a call than `custom_op`. Its outputs are
few and flat, as each costs microseconds: `Rows.multiplied` makes the gradient of each tensor of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mcgrad.errors import ParameterError
from mcgrad.torch import on_cuda
from mcgrad.torch.problems import problem
from mcgrad.torch.rows import Kind, Rows
from mcgrad.torch.seeds import seed_of

SCHEMA = (
    "expectation(Tensor[] tensors, Tensor seed, int problem, SymInt n, bool[] differentiable, ScalarType dtype, "
    "bool errors, SymInt[] value, bool[] by_row, float weight) "
    "-> (Tensor value, Tensor grad, Tensor stderr, Tensor nonfinite)"
)  # with other arguments it needs another name: compiled graphs on the disk know it by that alone
PLAIN = (torch.Tensor, torch.nn.Parameter)  # types of tensors with numbers of their own
NUMPY: dict[Any, Any] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments of the operator that are no tensors, in their order there.

    Besides these it takes the tensors, and the seed as an int64 tensor, as a graph makes a new one each time it runs.

    Parameters
    ----------
    problem : int
        Number of a `Problem`.
    n : int
        Number of draws.
    differentiable : list of bool
        For each tensor, whether it is among those whose gradients `grad` holds, flat and one after the other.
    dtype : torch.dtype
        Of all outputs but `nonfinite`.
    errors : bool
        Whether `stderr` holds the standard errors of the value and of `grad`, in this order, and `nonfinite` the number
        of draws that were not finite; else both are empty.
    rows : Rows
        Its fields are the last arguments.
    """

    problem: int
    n: int
    differentiable: list[bool]
    dtype: torch.dtype
    errors: bool
    rows: Rows

    def __iter__(self) -> Iterator[Any]:
        return iter((self.problem, self.n, self.differentiable, self.dtype, self.errors, *self.rows))

    def chosen(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the tensors to differentiate in."""
        return [x for x, wanted in zip(tensors, self.differentiable, strict=True) if wanted]


def run(tensors: Sequence[torch.Tensor], seed: torch.Tensor, *others: Any) -> Outputs:
    """Estimate the problem, for the dispatcher, with empty tensors in the place of what is not asked for."""
    value, grad, *errors = solve(tensors, seed if seed.is_cuda else seed_of(seed), *others)
    device = value.device
    stderr, nonfinite = errors or (torch.empty(0, device=device), torch.empty(0, dtype=torch.int64, device=device))
    return value, grad, stderr, nonfinite


def solve(
    tensors: Sequence[torch.Tensor], seed: int | torch.Tensor, number: int, n: int, *others: Any
) -> list[torch.Tensor]:
    """Return the value, the gradient and, if asked for, the two outputs of errors.

    They are on the device of the first tensor that is not in host memory. A seed on a CUDA device is read there, unless
    the estimate goes by way of the host.
    """
    solved, device = problem(number), None
    _, dtype, errors, shape, *_ = others
    arrays: list[Any] = []
    for x in tensors:
        if x.is_cpu:
            arrays.append(_host_array(solved, len(arrays), x))
        else:
            device = device or x.device
            leaf, there = solved.known[len(arrays)], x.is_cuda
            if there and leaf.is_fixed:
                on_cuda.check_integers(leaf.path)
                there = False
            arrays.append(x.detach() if there else _host_array(solved, len(arrays), x))
    if device is not None and device.type == "cuda":
        found = on_cuda.outputs(solved, tensors, arrays, n, seed, dtype, errors, tuple(shape), device)
        if found is not None:
            return found
    seed = seed if isinstance(seed, int) else seed_of(seed)
    stream = torch.cuda.current_stream(device) if device is not None and device.type == "cuda" else None
    value, grad, stderr, nonfinite = solved.estimate(arrays, n, seed, stream, errors, tuple(shape))
    width = NUMPY[dtype]
    outputs = [torch.from_numpy(x.astype(width)) for x in ((value, grad, stderr) if errors else (value, grad))]
    if errors:
        outputs.append(torch.from_numpy(nonfinite))
    return outputs if device is None else [x.to(device) for x in outputs]


def fake(
    tensors: Sequence[torch.Tensor],
    seed: torch.Tensor,
    number: int,
    n: int,
    differentiable: list[bool],
    dtype: torch.dtype,
    errors: bool,
    value: Sequence[int],
    by_row: list[bool],
    weight: float,
) -> Outputs:
    """Return tensors without values, with the shapes, dtypes and devices of what `run` returns."""
    device = next((x.device for x in tensors if x.device.type != "cpu"), torch.device("cpu"))
    kinds = _kinds(tensors, differentiable)
    size, rows = sum(Rows(tuple(value), by_row, weight).sizes(kinds)), math.prod(value)
    shapes: tuple[Any, ...] = tuple(value), (size,), (rows + size,) if errors else (0,)
    dtypes = dtype, dtype, dtype if errors else torch.float32
    made = [torch.empty(shape, dtype=kind, device=device) for shape, kind in zip(shapes, dtypes, strict=True)]
    nonfinite = torch.empty(() if errors else (0,), dtype=torch.int64, device=device)
    return made[0], made[1], made[2], nonfinite


def _kinds(tensors: Sequence[torch.Tensor], differentiable: list[bool]) -> list[Kind]:
    return [(x.shape, x.dtype) for x, wanted in zip(tensors, differentiable, strict=True) if wanted]


def _host_array(solved: Any, which: int, x: torch.Tensor) -> Any:
    """Return a tensor's numbers as a NumPy array, which shares the memory of one on the CPU."""
    try:
        return x.numpy(force=True)
    except (TypeError, RuntimeError) as error:
        given = f"a tensor that NumPy does not take over ({str(error).splitlines()[0]})"
        raise ParameterError(solved.known[which].path, given, "a dense tensor of real numbers") from None


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    tensors, _, _, _, differentiable, _, _, *rows = inputs
    ctx.differentiable, ctx.rows = differentiable, Rows(tuple(rows[0]), *rows[1:])
    ctx.others = [[] if isinstance(x, list | tuple) and not x else None for x in inputs[1:]]  # as PyTorch wants them
    ctx.parameters = _kinds(tensors, differentiable)
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, cotangent: torch.Tensor, *others: Any) -> tuple[Any, ...]:
    (grad,) = ctx.saved_tensors
    products = iter(ctx.rows.multiplied(grad, cotangent, ctx.parameters) if ctx.parameters else ())
    return [next(products) if wanted else None for wanted in ctx.differentiable], *ctx.others


_library = torch.library.Library("mcgrad", "DEF")
_library.define(SCHEMA)
_library.impl("expectation", run, "CompositeExplicitAutograd")
torch.library.register_fake("mcgrad::expectation", fake, lib=_library)
torch.library.register_autograd("mcgrad::expectation", _backward, setup_context=_setup, lib=_library)
expectation_op = torch.ops.mcgrad.expectation.default


def expectation_of(call: Call, seed: torch.Tensor, *tensors: torch.Tensor) -> Outputs:
    """Call the operator."""
    outputs: Outputs = expectation_op(tensors, seed, *call)
    return outputs
