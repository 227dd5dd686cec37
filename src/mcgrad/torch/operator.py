"""The operators of PyTorch that estimate a problem at some tensors, also for compiled graphs.

``torch.ops.mcgrad.estimate`` returns the value and what is kept for its backward pass, ``torch.ops.mcgrad.contract`` is
the backward pass where that is nothing: it estimates again. They are defined and implemented by `torch.library`'s plain
calls, which cost less a call than `custom_op`. Outputs are few and flat, as each costs microseconds: `Rows` makes the
gradient of each tensor of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mcgrad.errors import ParameterError
from mcgrad.results.flat import cut
from mcgrad.torch import on_cuda
from mcgrad.torch.problems import problem
from mcgrad.torch.rows import Kind, Rows
from mcgrad.torch.seeds import seed_of

ESTIMATE = (
    "estimate(Tensor[] tensors, Tensor seed, int problem, SymInt n, bool[] differentiable, ScalarType dtype, "
    "bool errors, bool kept, SymInt[] batch, SymInt[] shape, bool[] by_row, float? weight) "
    "-> (Tensor value, Tensor grad, Tensor stderr, Tensor nonfinite)"
)  # with other arguments they need other names: compiled graphs on the disk have their names alone
CONTRACT = (
    "contract(Tensor[] tensors, Tensor seed, Tensor cotangent, int problem, SymInt n, bool[] differentiable, "
    "ScalarType dtype) -> Tensor"
)
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
    kept : bool
        Whether `grad` holds gradients; else it is empty, and the backward pass estimates them again.
    rows : Rows
        Its fields are the last arguments.
    value : tuple of (str, tuple of int)
        Shapes of what f returns, by path; no argument.
    alike : bool
        Whether all tensors to differentiate in have the dtype of the outputs; no argument.
    """

    problem: int
    n: int
    differentiable: list[bool]
    dtype: torch.dtype
    errors: bool
    kept: bool
    rows: Rows
    value: tuple[tuple[str, tuple[int, ...]], ...] = (("", ()),)
    alike: bool = False

    def returned(self, x: torch.Tensor, axis: int) -> Any:
        """Return the numbers on one axis of a tensor nested as f returns them, where that is a dict."""
        return cut(x, dict(self.value), axis)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.problem, self.n, self.differentiable, self.dtype, self.errors, self.kept, *self.rows))

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
    differentiable, dtype, errors, kept, *fields = others
    rows = Rows(tuple(fields[0]), tuple(fields[1]), *fields[2:])
    return solve_call(Call(number, n, differentiable, dtype, errors, kept, rows), tensors, seed)


def solve_call(call: Call, tensors: Sequence[torch.Tensor], seed: int | torch.Tensor) -> list[torch.Tensor]:
    """Return what `solve` does, of a call."""
    n, dtype, errors, kept, rows = call.n, call.dtype, call.errors, call.kept, call.rows
    solved = problem(call.problem) if kept else problem(call.problem).alone
    shape = rows.value
    if kept and not errors and isinstance(seed, int):
        short = solved.at_addresses(tensors, n, seed)
        if short is not None:
            value, grad = short
            return [torch.from_numpy(value.astype(NUMPY[dtype])), torch.from_numpy(grad)]
    arrays, device = arrays_of(solved, tensors)
    if device is not None and device.type == "cuda" and not solved.takes_seeds:
        size = sum(map(math.prod, rows.shapes(_kinds(tensors, call.differentiable)))) if kept else 0
        found = on_cuda.outputs(solved, tensors, arrays, n, seed, dtype, errors, shape, size, device)
        if found is not None:
            return found
    seed = seed_of(seed) if isinstance(seed, torch.Tensor) else seed
    value, grad, stderr, nonfinite = solved.estimate(arrays, n, seed, _stream(device), errors, shape)
    width = NUMPY[dtype]
    outputs = [torch.from_numpy(value.astype(width)), torch.from_numpy(grad.astype(width, copy=False))]
    if errors:
        outputs += [torch.from_numpy(stderr.astype(width, copy=False)), torch.from_numpy(nonfinite)]
    return outputs if device is None else [x.to(device) for x in outputs]


def arrays_of(solved: Any, tensors: Sequence[torch.Tensor]) -> tuple[list[Any], torch.device | None]:
    """Return tensors as arrays in host memory, but those on a CUDA device as they are; and the device, if any."""
    arrays: list[Any] = []
    device = None
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
    return arrays, device


def contract(
    tensors: Sequence[torch.Tensor],
    seed: int | torch.Tensor,
    cotangent: torch.Tensor,
    number: int,
    n: int,
    differentiable: list[bool],
    dtype: torch.dtype,
) -> torch.Tensor:
    """Estimate the gradients of cotangent times value, flat and one after the other, from the draws of the value."""
    solved = problem(number).contracted
    arrays, device = arrays_of(solved, tensors)
    weights, seed = cotangent.numpy(force=True), seed if isinstance(seed, int) else seed_of(seed)
    _, grad, _, _ = solved.estimate(arrays, n, seed, _stream(device), False, tuple(weights.shape), weights)
    found = torch.from_numpy(grad.astype(NUMPY[dtype]))
    return found if device is None else found.to(device)


def _stream(device: torch.device | None) -> Any:
    """Return PyTorch's current stream of a CUDA device, or None for another device."""
    return torch.cuda.current_stream(device) if device is not None and device.type == "cuda" else None


def fake(
    tensors: Sequence[torch.Tensor],
    seed: torch.Tensor,
    number: int,
    n: int,
    differentiable: list[bool],
    dtype: torch.dtype,
    errors: bool,
    kept: bool,
    batch: Sequence[int],
    shape: Sequence[int],
    by_row: list[bool],
    weight: float | None,
) -> Outputs:
    """Return tensors without values, with the shapes, dtypes and devices of what `run` returns."""
    device, rows = _device(tensors), Rows(tuple(batch), tuple(shape), by_row, weight)
    size = sum(map(math.prod, rows.shapes(_kinds(tensors, differentiable)))) if kept else 0
    shapes: tuple[Any, ...] = rows.value, (size,), (math.prod(rows.value) + size,) if errors else (0,)
    dtypes = dtype, dtype, dtype if errors else torch.float32
    made = [torch.empty(shape, dtype=kind, device=device) for shape, kind in zip(shapes, dtypes, strict=True)]
    nonfinite = torch.empty(seed.shape if errors else (0,), dtype=torch.int64, device=device)
    return made[0], made[1], made[2], nonfinite


def _fake_contract(
    tensors: Sequence[torch.Tensor],
    seed: torch.Tensor,
    cotangent: torch.Tensor,
    number: int,
    n: int,
    differentiable: list[bool],
    dtype: torch.dtype,
) -> torch.Tensor:
    size = sum(shape.numel() for shape, _ in _kinds(tensors, differentiable))
    return torch.empty((size,), dtype=dtype, device=_device(tensors))


def _device(tensors: Sequence[torch.Tensor]) -> torch.device:
    return next((x.device for x in tensors if x.device.type != "cpu"), torch.device("cpu"))


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
    tensors, seed, *others = inputs
    number, n, differentiable, dtype, errors, kept, batch, shape, by_row, weight = others
    ctx.call = Call(number, n, differentiable, dtype, errors, kept, Rows(tuple(batch), tuple(shape), by_row, weight))
    ctx.others = [[] if isinstance(x, list | tuple) and not x else None for x in inputs[1:]]  # nested as the inputs are
    ctx.parameters = _kinds(tensors, differentiable)
    ctx.save_for_backward(*([output[1]] if kept else [seed, *tensors]))


def _backward(ctx: Any, cotangent: torch.Tensor, *others: Any) -> tuple[Any, ...]:
    call = ctx.call
    if not ctx.parameters:
        found = []
    elif call.kept:
        found = call.rows.multiplied(*ctx.saved_tensors, cotangent, ctx.parameters)
    else:
        seed, *tensors = ctx.saved_tensors
        flat = contract_op(tensors, seed, cotangent, call.problem, call.n, call.differentiable, call.dtype)
        found = call.rows.contracted(flat, ctx.parameters)
    products = iter(found)
    return [next(products) if wanted else None for wanted in call.differentiable], *ctx.others


_library = torch.library.Library("mcgrad", "DEF")
_library.define(ESTIMATE)
_library.impl("estimate", run, "CompositeExplicitAutograd")
_library.define(CONTRACT)
_library.impl("contract", contract, "CompositeExplicitAutograd")
torch.library.register_fake("mcgrad::estimate", fake, lib=_library)
torch.library.register_fake("mcgrad::contract", _fake_contract, lib=_library)
torch.library.register_autograd("mcgrad::estimate", _backward, setup_context=_setup, lib=_library)
estimate_op, contract_op = torch.ops.mcgrad.estimate.default, torch.ops.mcgrad.contract.default


def expectation_of(call: Call, seed: torch.Tensor, *tensors: torch.Tensor) -> Outputs:
    """Call the operator."""
    outputs: Outputs = estimate_op(tensors, seed, *call)
    return outputs
