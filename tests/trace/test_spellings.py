"""NumPy has many spellings of a matrix times the draw: all become the same code."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu.chunk import emit
from mcgrad.codegen.cpu.row_lanes import emit_rows
from mcgrad.codegen.loops.lower import is_outer

ROWS = {
    "w @ z": lambda z, w: w @ z,
    "z @ w.T": lambda z, w: z @ w.T,
    "dot": lambda z, w: np.dot(w, z),
    "inner": lambda z, w: np.inner(z, w),
    "einsum": lambda z, w: np.einsum("j,ij->i", z, w),
    "tensordot": lambda z, w: np.tensordot(w, z, 1),
    "matvec": lambda z, w: np.matvec(w, z) if hasattr(np, "matvec") else w @ z,
    "vecdot": lambda z, w: np.vecdot(w, z),
    "a row": lambda z, w: (z[None] @ w.T)[0],
    "a column": lambda z, w: (w @ z[:, None])[:, 0],
    "a sum": lambda z, w: np.sum(w * z, axis=-1),
    "a sum of products by columns": lambda z, w: np.sum(z[:, None] * w.T, axis=0),
    "the method": lambda z, w: (w * z[None]).sum(1),
}
TRANSPOSED = {name: lambda z, v, of_rows=of_rows: of_rows(z, v.T) for name, of_rows in ROWS.items()} | {
    "z @ v": lambda z, v: z @ v,
    "vecmat": lambda z, v: np.vecmat(z, v) if hasattr(np, "vecmat") else z @ v,
    "einsum of columns": lambda z, v: np.einsum("ji,j->i", v, z),
}
Q = mg.Normal(np.linspace(-1, 1, 12), 0.5)
W = np.random.default_rng(0).standard_normal((10, 12))


def program_of(f, w):
    return mg.Estimator(f, Q, params={"w": w}, wrt="w", backend="numpy").program


@pytest.mark.parametrize(("spellings", "w"), [(ROWS, W), (TRANSPOSED, W.T)], ids=["rows", "columns"])
def test_the_same_code(spellings, w):
    found = {
        name: program_of(lambda z, *, w, times=times: np.sum(np.sin(times(z, w))) + np.sum(times(z, w) ** 2), w)
        for name, times in spellings.items()
    }
    for program in found.values():
        assert is_outer(program.outputs[1].var)  # of the cotangents of both products, which are one
    assert len({str(program) for program in found.values()}) == len({emit(p).source for p in found.values()}) == 1


@pytest.mark.parametrize("f", [lambda z, *, w: np.sum(w * np.outer(z, z)), lambda z, *, w: z @ w @ z])
def test_quadratic_forms(f):
    program = program_of(f, np.eye(12) + 0.1)
    assert is_outer(program.outputs[1].var)


def test_sums_that_are_no_products_of_matrices():
    x = np.arange(24.0).reshape(2, 12)
    for f in (lambda z: np.sum(z * z), lambda z: np.sum(x[0] * z), lambda z: np.sum(z[:, None] * x.T, axis=1)[0]):
        assert all(var.op != "einsum" for var in mg.Estimator(f, Q, backend="numpy").program.body())
    right = mg.Estimator(lambda z: np.sum(np.sum(x * z, axis=1, keepdims=True) ** 2), Q, backend="numpy")
    plain = mg.Estimator(lambda z: np.sum((x @ z)[:, None] ** 2), Q, backend="numpy")
    assert str(right.program) == str(plain.program)


def test_cotangents_by_row_times_the_draws():
    """A cotangent of each row varies in a sum over rows as draws do: averaged as a product of factors, too."""
    rows, c = np.linspace(-1, 1, 36).reshape(3, 12), np.linspace(0.5, 2.0, 30).reshape(3, 10)
    q = mg.Normal(rows, 0.5, batch_ndim=1)
    exact, variance = rows.T @ c, 0.25 / 200 * np.sum(c**2, axis=0)
    for f, w in ((lambda z, *, w: z @ w, W.T), (lambda z, *, w: w @ z, W)):
        estimator = mg.Estimator(f, q, params={"w": w}, wrt="w", cotangent=c)
        assert emit_rows(estimator.program, "batch").paired.sum() == w.size
        est = estimator(200)
        grad, error = (x["w"] if w is not W else x["w"].T for x in (est.grad, est.grad_stderr))
        assert np.abs((grad - exact) / np.sqrt(variance)).max() < 4.5
        np.testing.assert_allclose(error**2, np.broadcast_to(variance, error.shape), rtol=0.4)
