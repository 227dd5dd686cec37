"""Samples of ops, and traced cases, as Programs: outputs with their gradients, in few Programs for few compilations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad.backends.base import Partial
from mcgrad.differentiate.modes import forward, reverse
from mcgrad.ir.build import apply, broadcast, const, input_, noise, reduce
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program, Var
from mcgrad.simplify.fixed_point import simplify
from mcgrad.trace.trace import trace
from tests.ops.samples import SAMPLES, Sample
from tests.trace.cases import CASES

Array = np.ndarray[Any, np.dtype[Any]]
MODES: dict[str, Callable[[Var, Sequence[Var]], list[Var]]] = {"forward": forward, "reverse": reverse}


def traced(case: Any) -> Sample:
    """Return a traced case as a sample."""
    return Sample(
        case.id, lambda *leaves: trace(case.function, leaves, {}), case.function, case.shapes, case.domains,
        case.differentiable,
    )  # fmt: skip


OP_SAMPLES = [sample for samples in SAMPLES.values() for sample in samples]
ALL_SAMPLES = [*OP_SAMPLES, *map(traced, CASES)]


def weighted(result: Var) -> Var:
    """Sum all elements with distinct weights."""
    result = apply("float", result)
    weights = const(np.linspace(0.5, 1.5, result.size).reshape(result.shape))
    return reduce("sum", apply("multiply", result, weights), range(len(result.shape)))


def evaluate(root: Var, leaves: dict[Var, Array]) -> Array:
    """Return the value of a Var in float64, given values of the leaves with the draws as last axis."""
    draws = max(x.shape[-1] for x in leaves.values())
    (value,) = interpret([root], leaves, "float64")
    return np.broadcast_to(value, (*root.shape, draws))


def central_differences(value: Var, wrt: Sequence[Var], at: dict[Var, Array], step: float = 1e-3) -> list[Array]:
    """Return the gradient of a scalar by differences of fourth order; `at` has one draw."""
    found = []
    for var in wrt:
        moves = np.concatenate([k * step * np.eye(var.size) for k in (-2, -1, 1, 2)], axis=1)
        moved = {**at, var: at[var] + moves.reshape(*var.shape, -1)}
        f = evaluate(value, moved).reshape(4, var.size)
        found.append(((8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * step)).reshape(var.shape))
    return found


@dataclass(frozen=True)
class Packed:
    """Many samples in one Program, and which output is whose."""

    program: Program
    inputs: dict[str, Array]


def pack(samples: Sequence[Sample], dtype: str, mode: str = "reverse", simplified: bool = True) -> Packed:
    """Put samples into one Program.

    Their arguments are shifts (of zero) plus uniform noise over the domain. The outputs are their results and, of
    smooth samples, the gradients of the results' weighted sums in the shifts.
    """
    outputs, inputs = [], {}
    streams: dict[tuple[Any, ...], int] = {}
    for sample in samples:
        args, shifts = [], []
        for i, (shape, (low, high)) in enumerate(zip(sample.shapes, sample.domains, strict=True)):
            stream = streams.setdefault((i, shape), len(streams))
            shift = input_(f"{sample.id}.{i}", shape)
            inputs[shift.attrs] = np.zeros(shape, dtype)
            spread = apply("multiply", noise(stream, "uniform", shape), broadcast(const(high - low), shape))
            args.append(apply("add", shift, apply("add", low, spread)))
            shifts.append(shift)
        result = sample.build(*args)
        outputs.append(Output(sample.id, apply("float", result)))
        if sample.smooth:
            grads = MODES[mode](weighted(result), shifts)
            outputs += [Output(shift.attrs.path, grad) for shift, grad in zip(shifts, grads, strict=True)]
    program = Program(tuple(outputs), dtype)
    return Packed(simplify(program) if simplified else program, inputs)


def components(program: Program, partial: Partial) -> Iterator[tuple[str, Array]]:
    """Yield the path and the means of every random output."""
    start = 0
    for out in program.outputs:
        if out.var.by_draw:
            yield out.path, partial.moments.mean[start : start + out.var.size]
            start += out.var.size
