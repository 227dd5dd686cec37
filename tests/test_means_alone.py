"""Value and gradient alone, in repeated calls: the bits of estimates, and estimates where sums have to be looked at."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.means_alone import MISSES, MeansAlone, averages_only

pytest.importorskip("numba")


class Counted:
    """The value and the gradient alone of an Estimator, with a count of the calls that make an estimate."""

    def __init__(self, estimator, n, names, paths=None):
        self.estimator, self.n, self.names, self.made = estimator, n, names, 0
        self.paths = estimator.wrt if paths is None else paths
        self.alone = MeansAlone(estimator._runner, self._estimate, n, names, self.paths)

    def _estimate(self, *args):
        self.made += 1
        return self.estimator.numbers(*args)

    def __call__(self, seed, *arrays):
        return self.alone(seed, arrays)

    def expected(self, seed, *arrays):
        est = self.estimator(self.n, seed, **dict(zip(self.names, arrays, strict=True)))
        value, *grads = est.flat(self.paths)
        return value, [x.ravel() for x in grads]


def check(counted, first, second, made=1):
    for seed, arrays in enumerate([first, second, first, second]):
        value, grads = counted(seed, *arrays)
        exact, exact_grads = counted.expected(seed, *arrays)
        assert value.shape == exact.shape
        assert value.tobytes() == exact.tobytes()
        assert [x.tobytes() for x in grads] == [x.tobytes() for x in exact_grads]
    assert counted.made == made


def sines(z):
    return np.sum(np.sin(z) + z**2)


@pytest.mark.parametrize(
    ("f", "dtype", "n"),
    [
        (sines, "float32", 2),
        (sines, "float32", 100),
        (lambda z: 1e3 + np.sum(np.sin(z)), "float32", 32),  # sums are taken about a shift
        (lambda z: np.sum(z) + np.exp(z[0]), "float64", 32),  # no draw changes a part of the gradient
        (lambda z: {"a": np.sin(z), "b": z[0] * z[1]}, "float64", 8),  # most derivatives are zero
    ],
)
def test_one_problem(f, dtype, n):
    loc, scale = np.linspace(-1.0, 1.0, 10, dtype=dtype), np.full(10, 0.5, dtype)
    estimator = mg.Estimator(f, mg.Normal(loc, scale), backend="cpu", threads=1)
    check(Counted(estimator, n, ("loc", "scale")), (loc, scale), (loc + 1, 2 * scale))


def test_elements_in_vectors():
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=300).astype(np.float32), np.ones(300, np.float32)
    estimator = mg.Estimator(sines, mg.Normal(loc, scale), backend="cpu", threads=1)
    check(Counted(estimator, 4, ("loc", "scale")), (loc, scale), (loc + 1, 2 * scale))


@pytest.mark.parametrize("reduce", ["mean", "none"])
def test_batches(reduce):
    """With a mean over two batch axes, and parameters in another order; and by row."""
    dtype, n, shape = ("float64", 4, (2, 3)) if reduce == "mean" else ("float32", 2, (5,))
    paths = ("w", "scale", "loc") if reduce == "mean" else None
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=(*shape, 3)).astype(dtype), rng.uniform(0.5, 1.0, (*shape, 3)).astype(dtype)
    w, x = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(*shape, 4)).astype(dtype)

    def f(z, *, w, x):
        return np.sum(x * np.tanh(w @ z))

    q = mg.Normal(loc, scale, batch_ndim=len(shape))
    options = {"params": {"w": w}, "data": {"x": x}, "batched_data": "x", "reduce": reduce}
    estimator = mg.Estimator(f, q, backend="cpu", threads=1, **options)
    counted = Counted(estimator, n, ("loc", "scale", "w", "x"), paths)
    check(counted, (loc, scale, w, x), (loc + 1, 2 * scale, -w, x**2))


def test_groups_of_draws():
    options = {"method": "score", "baseline": "leave_one_out", "k": 4}
    estimator = mg.Estimator(sines, mg.Normal(np.zeros(3), np.ones(3)), backend="cpu", threads=1, **options)
    check(Counted(estimator, 64, ("loc", "scale")), (np.zeros(3), np.ones(3)), (np.ones(3), np.full(3, 0.5)))


@pytest.mark.parametrize(
    "options",
    [
        {"method": "score", "baseline": "mean"},  # has a pilot
        {"control": "linear"},
        {"sampler": "sobol"},
        {"proposal": mg.Normal(np.zeros(3), np.full(3, 2.0))},
    ],
)
def test_some_estimators_do_more_than_average(options):
    estimator = mg.Estimator(sines, mg.Normal(np.zeros(3), np.ones(3)), backend="numpy", **options)
    assert not averages_only(estimator.derived)


def test_other_backends_make_estimates():
    estimator = mg.Estimator(sines, mg.Normal(np.zeros(3), np.ones(3)), backend="numpy")
    check(Counted(estimator, 64, ("loc", "scale")), (np.zeros(3), np.ones(3)), (np.ones(3), np.full(3, 1.5)), 4)


def test_many_chunks_make_estimates():
    estimator = mg.Estimator(sines, mg.Normal(np.zeros(3), np.ones(3)), backend="cpu")
    check(Counted(estimator, 200_000, ("loc", "scale")), (np.zeros(3), np.ones(3)), (np.ones(3), np.full(3, 1.5)), 4)


@pytest.fixture
def counted():
    estimator = mg.Estimator(lambda z: np.sum(np.log(z)), mg.Normal(np.zeros(3), np.ones(3)), backend="cpu", threads=1)
    return Counted(estimator, 64, ("loc", "scale"))


def test_wrong_values_are_refused_by_name(counted):
    loc, scale = np.full(3, 20.0), np.ones(3)
    counted(0, loc, scale)
    for wrong in (np.array([1.0, np.nan, 1.0]), np.array([1.0, np.inf, -np.inf])):
        with pytest.raises(mg.ParameterError, match="loc"):
            counted(0, wrong, scale)
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(mg.ParameterError, match="scale"):
            counted(0, loc, np.array([1.0, wrong, 1.0]))
    with pytest.raises(mg.ParameterError, match="scale"):
        counted(0, loc, np.ones(4))
    assert counted(0, loc, scale)[0] == counted.expected(0, loc, scale)[0]
    assert counted.made == 8  # the refused ones, and the first


def test_values_whose_sum_overflows_are_accepted():
    most = np.full(3, np.finfo(np.float32).max, np.float32)
    q = mg.Normal(np.zeros(3, np.float32), np.ones(3, np.float32))
    counted = Counted(mg.Estimator(lambda z: np.sum(np.tanh(z)), q, backend="cpu", threads=1), 8, ("loc", "scale"))
    check(counted, (np.zeros(3, np.float32), np.ones(3, np.float32)), (most, np.ones(3, np.float32)), 3)


def test_draws_that_are_not_finite_are_those_of_an_estimate(counted):
    check(counted, (np.full(3, 20.0), np.ones(3)), (np.full(3, 1.0), np.ones(3)), 3)


def test_after_many_calls_that_are_looked_at_again_all_make_estimates(counted):
    fine, odd = (np.full(3, 20.0), np.ones(3)), (np.zeros(3), np.ones(3))
    counted(0, *fine)
    for seed in range(MISSES):
        counted(seed, *odd)
    before = counted.made
    counted(1, *fine)
    assert counted.made == before + 1


def test_threads_share_it():
    from concurrent.futures import ThreadPoolExecutor

    loc, scale = np.zeros(3), np.ones(3)
    counted = Counted(mg.Estimator(sines, mg.Normal(loc, scale), backend="cpu", threads=1), 32, ("loc", "scale"))
    exact = [counted.expected(seed, loc + seed, scale)[0] for seed in range(64)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda seed: counted(seed, loc + seed, scale)[0], range(64))
    assert [*found] == exact
