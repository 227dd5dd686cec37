"""JAX's primitives that hold jaxprs: calls, which are inlined, branches, which are selected, and loops, unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.extend import core

from mcgrad.jax.jaxprs.elementwise import ELEMENTWISE
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer

Evaluate = Callable[..., list[Any]]
UNROLLED = 5000  # equations
BODIES = ("call_jaxpr", "fun_jaxpr", "jaxpr")
WHOLE = "write it for whole arrays, with jnp.cumsum, jnp.cumprod or lax.associative_scan, or give it fewer steps"
STEPS = "the number of steps must be known while tracing: lax.scan or lax.fori_loop with bounds that are integers"
LOOPS = ("scan", "while")  # of constants, JAX runs them
RANDOM = frozenset(
    ("random_bits", "random_seed", "random_wrap", "random_unwrap", "random_fold_in", "random_split", "random_clone",
     "random_gamma", "threefry2x32", "rng_bit_generator", "rng_uniform")
)  # fmt: skip


def _inside(evaluate: Evaluate, jaxpr: Any, args: list[Any]) -> list[Any]:
    """Evaluate a jaxpr with or without constants of its own."""
    closed = isinstance(jaxpr, core.ClosedJaxpr)
    return evaluate(jaxpr.jaxpr, jaxpr.consts, args) if closed else evaluate(jaxpr, (), args)


def _call(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    body = next(equation.params[name] for name in BODIES if name in equation.params)
    return _inside(evaluate, body, args)


def _cond(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Take the branch of a constant index, and select from all branches where it is traced."""
    which, *rest = args
    branches = equation.params["branches"]
    if not isinstance(which, Tracer):
        return _inside(evaluate, branches[min(max(int(which), 0), len(branches) - 1)], rest)
    results = [_inside(evaluate, branch, rest) for branch in branches]
    return [ELEMENTWISE["select_n"](which, *cases) for cases in zip(*results, strict=True)]


def _scan(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    params = equation.params
    length, body = params["length"], params["jaxpr"]
    steps = range(length)[::-1] if params["reverse"] else range(length)
    _limit(length, body, "lax.scan")
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, carry, inputs = args[:first], args[first:last], args[last:]
    outputs: list[list[Any]] = [[None] * length for _ in equation.outvars[len(carry) :]]
    for step in steps:
        made = _inside(evaluate, body, [*consts, *carry, *(x[step] for x in inputs)])
        carry, made = made[: len(carry)], made[len(carry) :]
        for output, value in zip(outputs, made, strict=True):
            output[step] = value
    empty = [np.zeros(var.aval.shape) for var in equation.outvars[len(carry) :]]
    return [*carry, *(np.stack(rows) if length else rest for rows, rest in zip(outputs, empty, strict=True))]


def _while(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Run a loop whose condition no traced value changes."""
    params = equation.params
    asked, done = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    of_condition, of_body, carry = args[:asked], args[asked:done], args[done:]
    count = 0
    while True:
        (goes_on,) = _inside(evaluate, params["cond_jaxpr"], [*of_condition, *carry])
        if isinstance(goes_on, Tracer):
            raise refusal("lax.while_loop with a traced condition", STEPS)
        if not goes_on:
            return carry
        count += 1
        _limit(count, params["body_jaxpr"], "lax.while_loop")
        carry = _inside(evaluate, params["body_jaxpr"], [*of_body, *carry])


def _limit(steps: int, body: core.ClosedJaxpr, name: str) -> None:
    equations = steps * len(body.jaxpr.eqns)
    if equations > UNROLLED:
        text = f"{name} of {steps} steps or more, which would be unrolled to more than {UNROLLED} equations,"
        raise refusal(text, WHOLE)


def _linear_solve(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Solve as JAX does, by the jaxpr for it among those of `lax.custom_linear_solve`."""
    lengths = equation.params["const_lengths"]
    first = lengths.matvec + lengths.vecmat
    known, right = args[first : first + lengths.solve], args[sum(lengths) :]
    return _inside(evaluate, equation.params["jaxprs"].solve, [*known, *right])


CALLS: dict[str, Callable[[Evaluate, core.JaxprEqn, list[Any]], list[Any]]] = {
    **dict.fromkeys(
        ("jit", "pjit", "core_call", "closed_call", "remat", "remat2", "checkpoint", "custom_jvp_call",
         "custom_vjp_call", "composite"), _call),
    "cond": _cond,
    "scan": _scan,
    "while": _while,
    "custom_linear_solve": _linear_solve,
}  # fmt: skip
