"""Products with many rows of data are computed tile by tile; whatever reads them, no row is lost or taken twice."""

import numpy as np
import pytest
import scipy.special as sc

import mcgrad as mg
import mcgrad.codegen.loops.layout
import mcgrad.codegen.loops.lower
import mcgrad.codegen.loops.tile
from mcgrad.backends.base import one_chunk
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture

RNG = np.random.default_rng(3)
ROWS = 23
X, Y, V = RNG.standard_normal((ROWS, 4)), RNG.standard_normal((ROWS, 4)), RNG.random(ROWS)
S, M = RNG.standard_normal((4, 4)), RNG.standard_normal((2, 4))
ORDER = RNG.permutation(ROWS)[:17]


def logistic(z):
    logits = X @ z
    return np.sum(V * logits - np.logaddexp(0, logits)) - 0.5 * np.sum(z**2)


def mixed_logits(z):
    a, b = X @ z, Y @ z
    return np.sum(np.tanh(a) * np.exp(-(b**2)) * V)


INTEGRANDS = {
    "logistic": logistic,
    "two products in one sum": mixed_logits,
    "a product of a product": lambda z: np.sum(np.tanh(X.T @ np.tanh(X @ z))),
    "a sum that the rows need": lambda z: sc.logsumexp(X @ z) + np.sum(sc.softmax(X @ z) * V),
    "largest": lambda z: np.max(X @ z) - np.min(Y @ z),
    "product of all": lambda z: np.prod(1 + 0.1 * np.tanh(X @ z)),
    "running sums over the rows": lambda z: np.sum(np.tanh(np.cumsum(X @ z)) * V),
    "neighbours": lambda z: np.sum(np.diff(np.tanh(X @ z)) ** 2),
    "rows in another order": lambda z: np.sum(np.tanh(X @ z)[ORDER] * V[:17]),
    "backwards": lambda z: np.sum((X @ z)[::-1] * np.sin(X @ z)),
    "joined": lambda z: np.sum(np.tanh(np.concatenate([X @ z, [1.0], Y @ z])) ** 2),
    "several columns": lambda z: np.sum(
        np.tanh(X @ np.stack([z, z**2, np.sin(z)], axis=1)) @ np.array([1.0, 2.0, 3.0])
    ),
    "batches": lambda z: np.sum(np.tanh(np.stack([X, Y]) @ z)),
    "from the left": lambda z: np.sum(np.tanh(z @ X.T) * V),
    "variance": lambda z: np.var(X @ z) + np.std(Y @ z),
    "as many rows as columns": lambda z: (M @ (S @ z))[0] * np.sum(z) + np.sum(np.tanh(S @ np.tanh(S @ z)) * z),
    "value also read whole": lambda z: (X @ z) @ (Y @ z),
}


TILED = "logistic", "two products in one sum", "a product of a product", "product of all", "running sums over the rows"


@pytest.mark.parametrize("spoiled", [False, True])
@pytest.mark.parametrize("tile", [1, 4, 23, 100])
@pytest.mark.parametrize("name", INTEGRANDS)
def test_any_reader_of_a_product(plain_backend, monkeypatch, name, tile, spoiled):  # noqa: F811
    monkeypatch.setattr(mcgrad.codegen.loops.tile, "SHORTEST", 2)
    monkeypatch.setattr(mcgrad.codegen.loops.lower, "SMALL_CONTRACTION", 1)
    monkeypatch.setattr(mcgrad.codegen.loops.layout, "TILE_ROWS", tile)
    q = mg.Normal(np.array([0.1, -0.2, 0.3, 0.0]), 0.6)
    reference = mg.Estimator(lambda z: INTEGRANDS[name](z) + (np.log(z[0]) if spoiled else 0.0), q, backend="numpy")
    inputs = reference.inputs.values({})
    kernel = plain_backend.compile(reference.program)
    assert "for t0 in" in kernel.source() or name not in TILED
    ours = one_chunk(kernel.bind(inputs), 2, 3, 20, omit=spoiled)
    want = one_chunk(reference._kernel.bind(inputs), 2, 3, 20, omit=spoiled)
    assert (ours.nonfinite > 0, ours.nonfinite) == (spoiled, want.nonfinite)
    np.testing.assert_allclose(ours.moments.mean, want.moments.mean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(ours.moments.m2, want.moments.m2, rtol=1e-9, atol=1e-12)
