"""Families at the ends of their ranges, in both dtypes, against mpmath and SciPy."""

import numpy as np
import pytest
import scipy.special as sc

import mcgrad as mg

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])

# entropy, and its derivative in the first parameter's first element, by mpmath at 60 digits
ENTROPIES = [
    (mg.Gamma(1e6, 2.0), 7.6335462982934478, 5.000003333335e-7),
    (mg.Gamma(1e-6, 2.0), -999986.45484964261, 999999000002.64502),
    (mg.Gamma(19.0, 1.0), 2.8733817687270022, 0.027263691321468497),
    (mg.Chi2(2e5), 7.8685451129080656, 2.5000166667500002e-6),
    (mg.InverseGamma(1e6, 2.0), -18.611179456515043, -1.5000006666668333e-6),
    (mg.Beta(1e6, 1e6), -6.5285377666175073, -2.49999874999875e-7),
    (mg.Beta(1e-6, 1e6), -999999.57721252002, 999999000002.64502),
    (mg.Beta(0.01, 0.01), -93.73371513189107, 4948.4407273731311),
    (mg.Dirichlet([1e6, 1e6, 2e6]), -14.096796304074854, -1.2499974999984115e-7),
    (mg.Dirichlet([1e-3, 2.0, 1e4]), -1009.5106827785111, 999002.64064069932),
]


@pytest.mark.filterwarnings("ignore::mcgrad.errors.RareDrawsWarning")  # a slope far below the value's rounding
@DTYPES
@pytest.mark.parametrize(("q", "entropy", "slope"), ENTROPIES, ids=repr)
def test_entropies_of_large_and_small_concentrations(q, entropy, slope, dtype):
    est = mg.estimate(mg.elbo(lambda z: 0.0 * np.sum(z), q), n=2, dtype=dtype, backend="numpy")
    tolerance = {"float32": 1e-6, "float64": 1e-13}[dtype]
    assert est.value == pytest.approx(entropy, rel=tolerance)
    assert np.ravel(next(iter(est.grad.values())))[0] == pytest.approx(slope, rel=3 * tolerance)


# log probabilities by mpmath
COUNTS = [
    (mg.Poisson(10000.0, 1e6), 10000.0, -5.5241170525260947),
    (mg.Poisson(1000000.0, 1e6), 1000000.0, -7.8266938955201431),
    (mg.Poisson(1000000.0, 1e6), 998000.0, -9.8270275626206103),
    (mg.Poisson(3.0, 1e6), 0.0, -3.0),
    (mg.Poisson(1e-06, 1e6), 1.0, -13.815511557964274),
    (mg.Poisson(100000.0, 1e6), 3.0, -99967.252983074317),
    (mg.Poisson(19.5, 1e6), 20.0, -2.4273271493594627),
    (mg.Binomial(1000000, 0.25), 300000.0, -6408.5033675719184),
    (mg.Binomial(1000000, 0.25), 250123.0, -7.0302094794670828),
    (mg.Binomial(1000000, 9.5367431640625e-07), 1.0, -1.0011068707137509),
    (mg.Binomial(1000000, 9.5367431640625e-07), 0.0, -0.95367477115389001),
    (mg.Binomial(1000000, 0.9999990463256836), 1000000.0, -0.95367477115389001),
    (mg.Binomial(12, 0.25), 3.0, -1.3543941890733387),
]


@DTYPES
@pytest.mark.parametrize(("q", "k", "log_p"), COUNTS, ids=repr)
def test_log_probabilities_of_large_counts(q, k, log_p, dtype):
    params = {name: np.asarray(x, dtype) for name, x in q.params.items()}
    got = q.log_prob(np.asarray(k, dtype), **params)
    assert got.dtype == dtype
    assert got == pytest.approx(log_p, rel=3e-6 if dtype == "float32" else 1e-12)


@DTYPES
def test_a_triangular_of_tiny_width(dtype):
    est = mg.estimate(lambda z: z, mg.Triangular(0.0, 1e-25, 0.5e-25), n=20_000, dtype=dtype, backend="numpy")
    assert est.nonfinite == 0
    assert abs(est.value - 5e-26) < 5 * est.stderr
    for name, slope in (("low", 1 / 3), ("high", 1 / 3), ("peak", 1 / 3)):
        assert abs(est.grad[name] - slope) < 5 * est.grad_stderr[name]


@DTYPES
def test_betaln_of_large_arguments(dtype):
    for a, b in ((1e10, 2.0), (2.0, 1e10), (1e6, 1e6), (25.0, 1e-3), (30.0, 30.0), (3.0, 2.0), (1e10, 1e-3)):
        est = mg.estimate(lambda z, a, b: sc.betaln(a + 0 * z, b + z), mg.Normal(0.0, 1e-30), n=2, dtype=dtype,
                          params={"a": a, "b": b}, wrt=["a", "b"], backend="numpy")  # fmt: skip
        tolerance = 1e-6 if dtype == "float32" else 1e-13
        assert est.value == pytest.approx(sc.betaln(a, b), rel=tolerance)


FACTOR = np.array([[0.9, -0.4, 0.2], [0.3, 1.1, -0.7], [-0.5, 0.6, 0.8], [0.2, 0.1, 1.3], [1.4, -0.2, 0.5]])
FACTORS = {"full": FACTOR, "two columns alike": FACTOR[:, [0, 1, 0]], "more columns than rows": FACTOR.T}


@DTYPES
@pytest.mark.parametrize("diagonal", [1e-3, 1e-7, 1e-9])
@pytest.mark.parametrize("name", FACTORS)
def test_low_rank_normals_of_small_diagonals(name, diagonal, dtype):
    """Entropy by draws, and its gradient: Woodbury's identity has neither, in float32 from 1e-6 on."""
    factor = FACTORS[name]
    d = len(factor)
    values = np.linalg.svd(factor, compute_uv=False)
    values = np.square(np.concatenate([values, np.zeros(d)])[:d]) + diagonal
    entropy = 0.5 * np.sum(np.log(values)) + d * 0.5 * np.log(2 * np.pi * np.e)
    q = mg.LowRankMultivariateNormal(np.zeros(d), factor, np.full(d, diagonal))
    objective = mg.elbo(lambda z: 0.0 * np.sum(z), q)
    exact = mg.estimate(objective, n=2, dtype=dtype, backend="numpy")
    assert exact.value == pytest.approx(entropy, rel=1e-6)
    est = mg.estimate(objective, n=20_000, method="stl", dtype=dtype, backend="numpy")
    assert abs(est.value - entropy) < 5 * est.stderr
    for path in ("cov_factor", "cov_diag"):
        right = exact.grad[path]
        assert np.all(np.abs(est.grad[path] - right) < 5 * est.grad_stderr[path] + 1e-4 * np.abs(right))
