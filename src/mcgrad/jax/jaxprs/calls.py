"""JAX's primitives that hold jaxprs: calls, which are inlined, branches, which are selected, and loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.extend import core

from mcgrad.jax.jaxprs import loops
from mcgrad.jax.jaxprs.elementwise import ELEMENTWISE
from mcgrad.jax.jaxprs.linear_solve import linear_solve
from mcgrad.jax.jaxprs.named import body
from mcgrad.trace.tracer import Tracer

Evaluate = Callable[..., list[Any]]
LOOPS = ("scan", "while")
OF_CONSTANTS = (*LOOPS, "custom_linear_solve")  # which JAX runs
RANDOM = frozenset(
    ("random_bits", "random_seed", "random_wrap", "random_unwrap", "random_fold_in", "random_split", "random_clone",
     "random_gamma", "threefry2x32", "rng_bit_generator", "rng_uniform")
)  # fmt: skip


def _inside(evaluate: Evaluate, jaxpr: Any, args: list[Any]) -> list[Any]:
    """Evaluate a jaxpr with or without constants of its own."""
    closed = isinstance(jaxpr, core.ClosedJaxpr)
    return evaluate(jaxpr.jaxpr, jaxpr.consts, args) if closed else evaluate(jaxpr, (), args)


def _call(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    return _inside(evaluate, body(equation), args)


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
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    parts = args[:first], args[first:last], args[last:]
    return loops.run(evaluate, loops.Steps("lax.scan", params["jaxpr"], *parts, params["length"], params["reverse"]))


def _while(evaluate: Evaluate, equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Run a loop whose condition no traced value changes."""
    params = equation.params
    first, last = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    length = loops.number_of_steps(params, args)
    steps = loops.Steps("lax.while_loop", params["body_jaxpr"], args[first:last], args[last:], (), length)
    return loops.run(evaluate, steps)


CALLS: dict[str, Callable[[Evaluate, core.JaxprEqn, list[Any]], list[Any]]] = {
    **dict.fromkeys(
        ("jit", "pjit", "core_call", "closed_call", "remat", "remat2", "checkpoint", "custom_jvp_call",
         "custom_vjp_call", "composite"), _call),
    "cond": _cond,
    "scan": _scan,
    "while": _while,
    "custom_linear_solve": linear_solve,
}  # fmt: skip
