"""Value and gradients of rows at arrays whose addresses are given: the bits of estimates, or none."""

import threading

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.means_alone import MeansAlone

pytest.importorskip("numba")

NAMES = ("loc", "scale", "w", "b", "x")
ROWS, LATENT, HIDDEN, PIXELS = 5, 3, 4, 6


def decoder(z, *, w, b, x):
    """Matrices of two shapes, one of them transposed in the gradient; a vector; data by row."""
    return np.sum(x * np.tanh(w @ z + b)) + np.sum(np.sin(w.T @ np.tanh(w @ z)))


def arrays(dtype, seed=0, rows=(ROWS,)):
    rng = np.random.default_rng(seed)
    shapes = [(*rows, LATENT), (*rows, LATENT), (PIXELS, LATENT), (PIXELS,), (*rows, PIXELS)]
    found = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    found[1] = np.exp(found[1])
    return found


def estimator(f=decoder, dtype="float32", rows=(ROWS,), reduce="sum", errors=False):
    given = dict(zip(NAMES, arrays(dtype, 1, rows), strict=True))
    q = mg.Normal(given["loc"], given["scale"], batch_ndim=len(rows))
    return mg.Estimator(
        f, q, params={"w": given["w"], "b": given["b"]}, data={"x": given["x"]}, batched_data="x",
        reduce=reduce, dtype=dtype, backend="cpu", threads=1, errors=errors,
    )  # fmt: skip


def short(made, n=2):
    """What frameworks call, after a call that made an estimate."""
    alone = MeansAlone(made._runner, made.numbers, n, NAMES, made.wrt)
    alone(0, arrays(made.dtype, 1, made._runner.derived.batch.shape))
    return alone


def at(alone, seed, given, dtype):
    return alone.at_addresses(seed, [x.ctypes.data for x in given], np.dtype(dtype))


def check(made, alone, seed, given, n=2):
    found = at(alone, seed, given, made.dtype)
    assert found is not None
    est = made(n, seed, **dict(zip(NAMES, given, strict=True)))
    value, *grads = est.flat(made.wrt)
    assert found[0].shape == value.shape
    assert found[0].tobytes() == value.tobytes()
    assert found[1].tobytes() == np.concatenate([x.ravel() for x in grads], dtype=made.dtype).tobytes()


@pytest.mark.parametrize(
    ("dtype", "rows", "reduce", "n"),
    [
        ("float32", (ROWS,), "sum", 2),
        ("float32", (2, 70), "mean", 2),  # more than a block of lanes, the last of which is not full
        ("float32", (ROWS,), "none", 4),
        ("float64", (2, 3), "none", 2),
    ],
)
def test_bits_of_estimates(dtype, rows, reduce, n):
    made = estimator(dtype=dtype, rows=rows, reduce=reduce)
    alone = short(made, n)
    for seed in (3, (1 << 64) - 1):
        check(made, alone, seed, arrays(dtype, seed % 7, rows), n)


@pytest.mark.parametrize("change", ["nan", "infinite", "not positive", "not finite in a block"])
def test_numbers_that_estimates_decide(change):
    made = estimator()
    alone, given = short(made), arrays("float32", 2)
    if change == "nan":
        given[2][1, 1] = np.nan
    elif change == "infinite":
        given[4][-1, -1] = np.inf
    elif change == "not positive":
        given[1][3, 0] = 0.0
    else:
        given[0][2] = 3e38  # finite, and the sum over the pixels is not
        given[2][:] = 3e38
    assert at(alone, 1, given, "float32") is None
    check(made, alone, 1, arrays("float32", 2))  # nothing is left of it


def test_errors_need_moments():
    assert at(short(estimator(errors=True)), 1, arrays("float32"), "float32") is None


def test_values_computed_before_the_draws():
    def f(z, *, w, b, x):
        return decoder(z, w=w, b=np.exp(b), x=x / np.sum(x**2))

    assert at(short(estimator(f)), 1, arrays("float32"), "float32") is None


def test_threads_have_memory_of_their_own():
    made = estimator(rows=(64,))
    alone, given = short(made), [arrays("float32", i, (64,)) for i in range(4)]
    expected = [at(alone, i, given[i], "float32") for i in range(4)]
    found = [[] for _ in given]

    def calls(i):
        found[i] += [at(alone, i, given[i], "float32") for _ in range(200)]

    threads = [threading.Thread(target=calls, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, (value, grad) in zip(found, expected, strict=True):
        assert len(mine) == 200
        assert all(v.tobytes() == value.tobytes() and g.tobytes() == grad.tobytes() for v, g in mine)
