"""Bounds on the size of values, before any is computed: factors of moderate size, and noise about zero."""

from __future__ import annotations

import numpy as np

from mcgrad.ir.build import apply
from mcgrad.ir.ops import VIEWS
from mcgrad.ir.program import Var

MODERATE = 2.0**16  # float32 reaches to 2**128, float64 to 2**1024
DEPTH = 8  # equations deep that sums are looked into


def is_moderate(var: Var) -> bool:
    """Whether a product with this has about the size of its other factor: small numbers, and noise itself."""
    while var.op in VIEWS:
        var = var.args[0]
    if not var.is_const:
        return var.op == "noise"
    size = np.abs(var.attrs.array)
    return bool(np.all((size == 0) | ((size >= 1 / MODERATE) & (size <= MODERATE))))


def has_reciprocal(var: Var) -> bool:
    """Whether no draw changes this, and its reciprocal is a number for all but subnormal values."""
    if var.by_draw:
        return False
    while var.op in VIEWS:
        var = var.args[0]
    tiny = float(np.finfo(np.float32).tiny)
    return not var.is_const or bool(np.all((np.abs(var.attrs.array) >= tiny) & (np.abs(var.attrs.array) <= 1 / tiny)))


def offsets(var: Var) -> tuple[Var, Var] | None:
    """Split a value into normal noise, times what no draw changes, and all that is added to it; None where it is not.

    The noise is about zero and independent of what is added, so neither part is much larger than the value is.
    """
    noise, added = _parts(var) or (None, None)
    return None if noise is None or added is None else (noise, added)


def _parts(var: Var, depth: int = DEPTH) -> tuple[Var | None, Var | None] | None:
    """The noise and what is added to it, where None stands for zero."""
    if not var.by_draw:
        return None, var
    if var.op == "noise":
        return (var, None) if var.attrs.law == "normal" else None
    if var.op == "einsum" and len(var.args) == 2 and sum(arg.op == "noise" for arg in var.args) == 1:
        return (var, None) if not all(arg.by_draw for arg in var.args) else None
    if var.op not in ("add", "subtract", "negative", "multiply", "divide") or not depth:
        return None
    parts = [_parts(arg, depth - 1) for arg in var.args]
    if any(part is None for part in parts):
        return None
    (n, a), *rest = [part for part in parts if part is not None]
    if var.op == "negative":
        return _applied("negative", n), _applied("negative", a)
    ((m, b),) = rest
    if var.op in ("add", "subtract"):
        return _sum(var.op, n, m), _sum(var.op, a, b)
    if m is None:
        return _applied(var.op, n, b), _applied(var.op, a, b)
    return (_applied("multiply", m, a), _applied("multiply", b, a)) if n is None and var.op == "multiply" else None


def _applied(op: str, x: Var | None, *others: Var | None) -> Var | None:
    return None if x is None else apply(op, x, *(other for other in others if other is not None))


def _sum(op: str, x: Var | None, y: Var | None) -> Var | None:
    if x is None or y is None:
        return x if y is None else y if op == "add" else apply("negative", y)
    return apply(op, x, y)
