"""Products become the einsum equations that a backend can recognise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mcgrad.ir import build
from mcgrad.ir.program import Var, toposort
from mcgrad.trace.trace import trace

X = build.input_("X", (5, 3))
M = build.input_("M", (3, 3))
z = build.noise(0, "normal", (3,))
r = build.noise(1, "normal", (5,))
Z = build.noise(2, "normal", (4, 3))
ONE = build.noise(3, "normal", (1,))


def ops(function: Callable[..., object], *args: Var) -> list[str]:
    """All that is computed: the subscripts of einsums, the names of other ops."""
    equations = toposort([trace(function, args, {})])
    return [str(v.attrs) if v.op == "einsum" else v.op for v in equations if v.args]


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (lambda X, z: X @ z, (X, z), ["ab,b->a"]),
        (lambda X, z: np.dot(X, z), (X, z), ["ab,b->a"]),
        (lambda X, z: np.einsum("nk,k->n", X, z), (X, z), ["ab,b->a"]),
        (lambda X, z: np.tensordot(X, z, 1), (X, z), ["ab,b->a"]),
        (lambda X, z: np.matvec(X, z) if hasattr(np, "matvec") else X @ z, (X, z), ["ab,b->a"]),
        (lambda X, r: X.T @ r, (X, r), ["ba,b->a"]),
        (lambda X, r: r @ X, (X, r), ["ba,b->a"]),
        (lambda X, Z: Z @ X.T, (X, Z), ["bc,ac->ab"]),
        (lambda X, Z: (X @ Z.T).T, (X, Z), ["ac,bc->ab", "transpose"]),
        (lambda z: z @ z, (z,), ["a,a->"]),
        (lambda z: np.inner(z, z), (z,), ["a,a->"]),
        (lambda z: np.outer(z, z), (z,), ["reshape", "multiply"]),
        (lambda Z, z: Z * z, (Z, z), ["broadcast", "multiply"]),
        (lambda Z, z: np.einsum("ij,j->ij", Z, z), (Z, z), ["broadcast", "multiply"]),
        (lambda z, M: z @ M @ z, (z, M), ["ba,b->a", "a,a->"]),
        (lambda z, M: np.einsum("i,ij,j->", z, M, z), (z, M), ["ba,b->a", "a,a->"]),
        (lambda X, M, z: np.einsum("ni,ij,j->n", X, M, z), (X, M, z), ["ac,cb->ab", "ab,b->a"]),  # X M is computed once
        (lambda Z: np.einsum("ij->", Z), (Z,), ["sum"]),
        (lambda Z, z: np.einsum("ij,k->k", Z, z), (Z, z), ["sum", "broadcast", "multiply"]),
        (lambda M: np.einsum("ii->", M), (M,), ["take", "sum"]),
        (lambda M: np.einsum("ij->ji", M), (M,), ["transpose"]),
        (lambda ONE, z: np.einsum("i,j->j", ONE, z), (ONE, z), ["reshape", "broadcast", "multiply"]),
    ],
)
def test_lowering(function: Callable[..., object], args: tuple[Var, ...], expected: list[str]):
    found = [op for op in ops(function, *args) if op != "broadcast" or "broadcast" in expected]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda X, z: X @ X,
        lambda X, z: z @ X.T @ X @ X,
        lambda X, z: np.dot(X, z[:2]),
        lambda X, z: np.einsum("ij,i->j", X, z),
        lambda X, z: np.einsum("ij", z),
        lambda X, z: np.einsum("i,j->ij", z),
        lambda X, z: np.einsum("i->j", z),
        lambda X, z: np.einsum("...i->i", X),
        lambda X, z: np.tensordot(X, z, 2),
        lambda X, z: z @ 3.0,
    ],
)
def test_operands_that_do_not_match_raise_as_in_numpy(function: Callable[..., object]):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"."):
        function(rng.random((5, 3)), rng.random(3))
    with pytest.raises(ValueError, match=r"match|output|terms|fit|few|out of bounds"):
        trace(function, (X, z), {})
