"""Discrete families: each value as often as it should be, gradients by the score, and never a silent zero."""

import numpy as np
import pytest
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg
from mcgrad import tree
from mcgrad.distributions.thresholds import is_below, minus_log, split
from mcgrad.jobs.distribution import distribution
from mcgrad.jobs.references import References
from tests.families import FAMILIES, gradient

DISCRETE = [name for name, row in FAMILIES.items() if not row.pathwise]
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])

# the family, and the probability of each count
COUNTS = {
    "bernoulli": (mg.Bernoulli(0.3), st.bernoulli(0.3)),
    "geometric": (mg.Geometric(0.3), st.geom(0.3, loc=-1)),
    "binomial": (mg.Binomial(12, 0.7), st.binom(12, 0.7)),
    "binomial of many": (mg.Binomial(5000, logits=-3.0), st.binom(5000, sc.expit(-3.0))),
    "small rate": (mg.Poisson(0.4), st.poisson(0.4)),
    "large rate": (mg.Poisson(1000.0), st.poisson(1000.0)),
    "rate far below the table's": (mg.Poisson(20.0, max_rate=1e5), st.poisson(20.0)),
}


@DTYPES
@pytest.mark.parametrize("name", COUNTS)
def test_each_count_is_as_frequent_as_it_should_be(name, dtype):
    """By chi-square over bins of at least 20 draws: a false alarm in 10**5."""
    q, right = COUNTS[name]
    n = 20_000
    rng = np.random.default_rng(5)
    eps = tree.map(lambda source: rng.uniform(2.0**-25, 1 - 2.0**-24, n).astype(dtype), q.noise)
    ((path, value),) = q.params.items()
    z = q.transform(eps, **{path: np.full(1, value, dtype)})  # all draws at once, as one event
    assert z.dtype == dtype
    edges = np.unique(right.ppf(np.linspace(0.001, 0.999, 40)))
    expected = n * np.diff(right.cdf(np.concatenate([[-1], edges, [np.inf]])))
    found = np.bincount(np.searchsorted(edges, z), minlength=len(expected))
    keep = expected >= 20
    statistic = np.sum(np.square(found - expected)[keep] / expected[keep])
    assert st.chi2(keep.sum()).sf(statistic) > 1e-5


@pytest.mark.parametrize("name", DISCRETE)
def test_the_pathwise_gradient_is_refused_and_the_score_right(name):
    row = FAMILIES[name]
    assert not row.q.reparameterized
    (path,) = row.q.flat_params
    with pytest.raises(mg.ParameterError, match=rf'^{path}: given .*accepted: .*method="score"'):
        mg.estimate(row.f, row.q, 1000, backend="numpy")
    est = mg.estimate(row.f, row.q, 200_000, method="score", seed=1, backend="numpy")
    right = gradient(row)[path]
    assert np.all(np.abs(est.grad[path] - right) < 5 * est.grad_stderr[path] + 1e-9)


STEP = 2.0**-24


@DTYPES
def test_rare_events_are_as_frequent_as_they_should_be(dtype):
    """At two uniforms next to a threshold, to either side: a threshold of 24 bits would be elsewhere."""
    for p in (1e-9, 3.7e-8, 0.3 + 1e-9, 1 - 1e-9):
        whole, rest = (float(x) for x in divmod(p / STEP, 1))
        parts = [np.array(x).astype(dtype) for x in split(np.float64(p))]
        for sign, right in ((-1, True), (1, False)):
            coarse = np.array(max(STEP * whole, STEP / 2), dtype)  # half a step is what stands for none
            fine = np.array(rest * (1 + sign * 1e-6), dtype)
            assert is_below({"coarse": coarse, "fine": fine}, parts) == right
        others = np.array([[STEP * (whole + 1), 1e-7], [max(STEP * (whole - 1), 0), 1 - 1e-7]], dtype)
        found = is_below({"coarse": others[:, 0], "fine": others[:, 1]}, parts)
        assert list(found) == [False, whole > 0]


@DTYPES
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_rare_categories(dtype, backend):
    n, rare = 2_000_000, 1e-4
    q = mg.Joint(
        a=mg.Categorical(np.r_[np.full(30, (1 - rare) / 30), np.full(30, rare / 30)]), b=mg.Bernoulli(rare),
        c=mg.Geometric(1 - rare),
    )  # fmt: skip

    def f(z):
        weights = {"a": (29, 1.0), "b": (0, 2.0), "c": (0, 4.0)}
        return sum(np.where(z[name] > most, weight, 0.0) for name, (most, weight) in weights.items())

    est = mg.estimate(f, q, n, method="score", wrt=(), dtype=dtype, backend=backend, seed=3)
    assert abs(est.value - 7 * rare) < 5 * est.stderr


@DTYPES
def test_geometric_draws_far_out(dtype):
    """Of the exponential that is rounded down, at both ends of the uniform."""
    coarse, fine = np.array([STEP / 2, 1 - STEP, STEP / 2], dtype), np.array([1e-6, 1 - 1e-4, 0.5], dtype)
    lower = (np.array([0, 2**24 - 1, 0]) + fine.astype(float)) * STEP
    upper = (np.array([2**24 - 1, 0, 2**24 - 1]) + (1 - fine.astype(float))) * STEP
    right = np.where(lower < 0.5, -np.log(lower), -np.log1p(-upper))
    tolerance = 1e-6 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(minus_log({"coarse": coarse, "fine": fine}), right, rtol=tolerance)


def test_other_gradients_than_the_discrete_ones_are_pathwise():
    q = mg.Joint(a=mg.Normal(0.3, 0.8), b=mg.Bernoulli(0.25))

    def f(z, *, tau):
        return tau * z["a"] * (1 + z["b"])

    est = mg.estimate(f, q, 20_000, params={"tau": 2.0}, wrt=["a", "tau"], backend="numpy")
    assert abs(est.grad["a"]["loc"] - 2.5) < 5 * est.grad_stderr["a"]["loc"]
    with pytest.raises(mg.ParameterError, match=r"^b.probs: "):
        mg.estimate(f, q, 1000, params={"tau": 2.0}, backend="numpy")


@pytest.mark.parametrize("name", DISCRETE)
def test_log_prob_sums_to_one(name):
    row = FAMILIES[name]
    if row.q.event_shape != (2,):
        return
    q = row.q.with_params(**{k: np.stack([v[0], v[0]]) for k, v in row.q.params.items()})
    counts = np.arange(0.0, 200.0)
    total = sum(np.exp(0.5 * q.log_prob(np.array([k, k]), **q.params)) for k in counts)
    assert total == pytest.approx(1.0, rel=1e-12)


def test_poisson_rates_may_move_as_far_as_the_table():
    estimator = mg.Estimator(lambda z: z, mg.Poisson(3.0, max_rate=200), wrt=(), backend="numpy")
    for rate in (0.01, 3.0, 200.0):
        est = estimator(50_000, rate=rate)
        assert abs(est.value - rate) < 5 * est.stderr
    with pytest.raises(
        mg.ParameterError, match=r"^rate: given rate = 201.0; accepted: at most max_rate = 200; a larger"
    ):
        estimator(1000, rate=201.0)


@pytest.mark.parametrize(
    "table",
    [
        {"family": "Binomial", "total_count": 12, "probs": [0.3, 0.4]},
        {"family": "Poisson", "rate": 3.0, "max_rate": 40},
        {"family": "TruncatedNormal", "loc": 0.0, "scale": 1.0, "low": 8.0},
        {"family": "RelaxedOneHotCategorical", "temperature": 0.5, "logits": [0.0, 1.0]},
        {"family": "Transformed", "base": {"family": "Normal"}, "fn": "Exp"},
    ],
    ids=lambda table: table["family"],
)
def test_job_files_have_them(table, tmp_path):
    q = distribution("distribution", table, References(tmp_path))
    assert type(q).__name__ == table["family"]
    est = mg.estimate(lambda z: np.sum(z), q, 1000, wrt=(), backend="numpy")
    assert np.isfinite(est.value)


@pytest.mark.parametrize("q", [mg.OneHotCategorical(logits=np.zeros(3)), mg.Categorical(logits=np.zeros(3))])
def test_where_the_entropy_is_largest_no_right_method_is_called_biased(q):
    """Most draws jump nowhere there, and all that moves their value is the entropy, whose slope is zero."""
    bound = mg.elbo(lambda z: 2.0 * np.sum(z * np.arange(z.size)) if z.size > 1 else 2.0 * z, q)
    found = mg.compare(bound, n=8000, backend="numpy")
    assert not found.biased
    assert mg.verify(bound, n=8000, method="score+mean", backends=["numpy"]).ok
    est = mg.estimate(bound, n=8000, method="auto", backend="numpy")
    assert est.method.startswith("score")
    exact = [-2 / 3, 0.0, 2 / 3]  # of E f, p (f - E f); of the entropy of equal probabilities zero
    assert np.all(np.abs(est.grad["logits"] - exact) < 5 * est.grad_stderr["logits"])


@pytest.mark.parametrize("seed", range(4))
def test_differences_that_few_draws_jump_in_blame_no_right_method(seed):
    """Of 4,000 draws about one follows the second probability across a jump, or none."""
    q = mg.Bernoulli(probs=[0.5, 0.1, 0.9])
    found = mg.compare(np.max, q, 4000, seed=seed, backend="numpy", methods=["measure_valued", "score+mean"])
    assert not found.biased
    exact = [0.9 * 0.1, 0.5 * 0.1, 0.5 * 0.9]
    est = found["measure_valued"].estimate
    assert np.all(np.abs(est.grad["probs"] - exact) < 5 * est.grad_stderr["probs"])
