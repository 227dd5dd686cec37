"""Views of views: the row of each element of a chain of views, against NumPy's own views of row numbers."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.codegen.loops.access import resolve
from mcgrad.ir.build import broadcast, flip, input_, reshape, slice_, take, transpose
from mcgrad.ir.interpret import interpret
from mcgrad.ir.spaces import named
from tests.emit.plain import plain_backend  # noqa: F401 - fixture

SHAPES = [(), (1,), (6,), (1, 6), (2, 3), (3, 1, 4), (2, 3, 2)]


def moved(x, rng):
    """Return a random view of a Var."""
    rank, choice = len(x.shape), rng.integers(7)
    if choice == 0:
        return transpose(x, rng.permutation(rank))
    if choice == 1 and x.size <= 24:
        return broadcast(reshape(x, (*x.shape, 1)), (2, *x.shape, int(rng.integers(1, 3))))
    if choice == 2 and rank:
        first = [int(rng.integers(n)) for n in x.shape]
        return slice_(x, [(a, int(rng.integers(a + 1, n + 1)), int(rng.integers(1, 3)))
                          for a, n in zip(first, x.shape, strict=True)])  # fmt: skip
    if choice == 3 and rank:
        return flip(x, [int(rng.integers(rank))])
    if choice == 4:
        return take(x, rng.integers(x.size, size=[(), (1,), (3,), (2, 1), (2, 2)][rng.integers(5)]))
    if choice == 5:
        return take(x, np.arange(x.size)[:: -int(rng.integers(1, 3))])
    factors = [n for n in (1, 2, 3, 4) if x.size % n == 0]
    return reshape(x, [(x.size,), (factors[-1], x.size // factors[-1]), (1, x.size)][rng.integers(3)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_of_views_of_views(shape):
    rng = np.random.default_rng(len(shape) + 10 * sum(shape))
    base = input_("x", shape)
    numbers = np.arange(base.size, dtype=float).reshape(shape)[..., None]
    for _ in range(200):
        var = base
        for _ in range(rng.integers(1, 6)):
            var = moved(var, rng)
        (want,) = interpret([var], {base: numbers}, "float64")
        found = resolve(var)
        assert found.base is base
        assert found.shape == var.shape
        assert found.table is not None or len(found.strides) == len(var.shape)
        np.testing.assert_array_equal(found.rows(), want[..., 0])
        np.testing.assert_array_equal(found.squeezed().rows(), want[..., 0].squeeze())


def test_a_scalar_taken_by_its_index_among_elements_taken_twice(plain_backend):  # noqa: F811
    """d/dloc of z[3] (z[1] + z[1]) at loc = 0, 1, 2, ..., next to no scale."""
    f = lambda z: np.take(z, 3) * np.sum(np.take(z, np.array([1, 1])))  # noqa: E731
    estimator = mg.Estimator(f, mg.Normal(np.arange(6.0), np.full(6, 1e-8)), backend="numpy")
    bound = plain_backend.compile(estimator.program).bind(named({"loc": np.arange(6.0), "scale": np.full(6, 1e-8)}))
    mean = one_chunk(bound, 3, 0, 8, omit=False).moments.mean
    np.testing.assert_allclose(mean[1:7], [0, 6, 0, 2, 0, 0], atol=1e-6)
