"""Draws that are not finite are counted exactly and spoil only what they touch; or are left out, or raise."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource

N, SEED = 10_001, 3
SOURCE = NoiseSource(0, "normal")
Z = numbers(SOURCE, SEED, [0], 0, N, np.float64)[0] + 0.5  # the draws of Normal(0.5, 1)
BACKENDS = ["cpu", "numpy"]


def logarithm(z, *, shift):
    return np.log(z) + shift**2


def root(z, *, shift):
    """max(z, 0) in a way that has no gradient, infinity times zero, at z <= 0."""
    return np.sqrt(z**2 * (z > 0)) + shift**2


@pytest.fixture(scope="module", params=BACKENDS)
def estimators(request):
    def make(f, nonfinite):
        q = mg.Normal(0.5, 1.0)
        return mg.Estimator(f, q, params={"shift": 2.0}, backend=request.param, nonfinite=nonfinite)

    return make


def test_propagate_makes_the_affected_components_nan_and_counts(estimators):
    est = estimators(logarithm, "propagate")(N, SEED)
    assert est.nonfinite == np.sum(Z <= 0)
    assert np.isnan([est.value, est.stderr]).all()
    assert np.isnan([*est.grad.values(), *est.grad_stderr.values()]).all()  # of draws without a value


def test_propagate_makes_a_value_nan_that_is_infinite_in_every_draw(estimators):
    est = estimators(lambda z, *, shift: abs(z) ** np.inf + abs(z) ** -np.inf + shift, "propagate")(N, SEED)
    assert est.nonfinite == N
    assert np.isnan([est.value, est.stderr, *est.grad.values()]).all()


def test_a_gradient_that_is_not_finite_leaves_the_value_alone(estimators):
    est = estimators(root, "propagate")(N, SEED)
    assert est.nonfinite == np.sum(Z <= 0)
    assert est.value == pytest.approx(np.mean(np.maximum(Z, 0)) + 4.0, rel=1e-12)
    assert np.isnan([est.grad["loc"], est.grad["scale"]]).all()


def test_omit_averages_over_the_finite_draws(estimators):
    est = estimators(logarithm, "omit")(N, SEED)
    kept = Z[Z > 0]
    assert (est.nonfinite, est.n, est.omitted) == (N - len(kept), N, True)
    assert est.value == pytest.approx(np.mean(np.log(kept)) + 4.0, rel=1e-12)
    assert est.stderr == pytest.approx(np.std(np.log(kept), ddof=1) / np.sqrt(len(kept)), rel=1e-10)
    assert est.grad["loc"] == pytest.approx(np.mean(1 / kept), rel=1e-10)
    assert est.grad["shift"] == 4.0


def test_omit_leaves_a_draw_out_of_every_component(estimators):
    """A draw whose gradient alone is not finite counts for neither gradient nor value."""
    est = estimators(root, "omit")(N, SEED)
    kept = Z[Z > 0]
    assert est.value == pytest.approx(np.mean(kept) + 4.0, rel=1e-12)
    assert est.grad["loc"] == pytest.approx(1.0, rel=1e-12)


def test_raise_says_how_many(estimators):
    with pytest.raises(mg.NonFiniteError, match=f"{np.sum(Z <= 0):,} of {N:,} draws"):
        estimators(logarithm, "raise")(N, SEED)
    assert estimators(lambda z, *, shift: z * shift, "raise")(N, SEED).nonfinite == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_infinities_that_cancel_in_a_sum_are_counted_too(backend):
    def f(z):
        return np.where(z > 2, np.inf, np.where(z < -2, -np.inf, z))

    est = mg.estimate(f, mg.Normal(0.5, 1.0), N, wrt=(), seed=SEED, backend=backend)
    assert est.nonfinite == np.sum(np.abs(Z) > 2)
    assert np.isnan(est.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_finite_draw_at_all(backend):
    for nonfinite in ("omit", "propagate"):
        est = mg.estimate(
            lambda z: np.log(-(z**2)), mg.Normal(0.5, 1.0), 100, wrt=(), backend=backend, nonfinite=nonfinite
        )
        assert est.nonfinite == 100
        assert np.isnan([est.value, est.stderr]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_element_of_an_outer_product(backend):
    """The outer product is averaged by a matrix product, which would mix a NaN into its whole row and column."""
    d = 12
    tril = np.diag(np.linspace(0.5, 1.0, d))

    def f(z):
        return np.sum(z**2) + np.sqrt(z[3] ** 2 * (z[3] > 0))  # a value everywhere, a gradient above zero

    loc = np.where(np.arange(d) == 3, 1.0, 0.0)
    kept = loc[3] + tril[3, 3] * numbers(SOURCE, SEED, [3], 0, N, np.float64)[0] > 0
    for nonfinite in ("propagate", "omit"):
        est = mg.estimate(f, mg.MultivariateNormal(loc, tril), N, seed=SEED, backend=backend, nonfinite=nonfinite)
        assert est.nonfinite == np.sum(~kept)
        rows = np.isnan(est.grad["scale_tril"]).any(axis=1)
        assert rows.tolist() == [nonfinite == "propagate" and i == 3 for i in range(d)]
        assert np.isfinite(est.grad["loc"]).tolist() == [nonfinite == "omit" or i != 3 for i in range(d)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_merging_adds_the_counts(backend):
    run = mg.Estimator(np.log, mg.Normal(0.5, 1.0), wrt=(), backend=backend, nonfinite="omit")
    merged = run(6000, SEED).merge(run(N - 6000, SEED, first=6000))
    whole = run(N, SEED)
    assert merged.nonfinite == whole.nonfinite
    assert merged.value == pytest.approx(whole.value, rel=1e-12)


CONSTANTS = {  # integrand and its constant: what makes every draw NaN or infinite
    "a factor": (lambda z, *, c: z / c, 0.0),
    "a factor that is NaN": (lambda z, *, c: np.log(c) * z, -1.0),
    "a summand": (lambda z, *, c: np.log(c) + np.sin(z), -1.0),
    "a product that overflows": (lambda z, *, c: (c * z) * c, 1e200),
    "NaN in data": (lambda z, *, c: np.sum(c * z), np.array([1.0, np.nan])),
}


@pytest.mark.parametrize(("name", "backend"), [*((name, "numpy") for name in CONSTANTS), ("a summand", "cpu")])
def test_a_constant_that_is_not_finite_is_part_of_every_draw(name, backend):
    f, c = CONSTANTS[name]
    q, run = mg.Normal(0.5, 1.0), {"data": {"c": c}, "backend": backend}
    with pytest.raises(mg.NonFiniteError, match=r"1,000 of 1,000 draws .* may be a parameter, data or a constant"):
        mg.estimate(f, q, 1000, nonfinite="raise", **run)
    for nonfinite in ("propagate", "omit"):
        est = mg.estimate(f, q, 1000, nonfinite=nonfinite, **run)
        assert est.nonfinite == est.n == 1000
        errors = [est.stderr, *est.grad_stderr.values()]
        assert np.isnan([est.value, *est.grad.values(), *errors]).all()
    assert "none is left" in str(est)


def test_a_constant_gradient_that_is_infinite_leaves_the_value_alone():
    est = mg.estimate(lambda z, *, p: z + np.sqrt(p), mg.Normal(0.5, 1.0), 1000, params={"p": 0.0}, backend="numpy")
    assert (est.grad["p"], est.grad["loc"], est.nonfinite) == (np.inf, 1.0, 1000)
    assert abs(est.value - 0.5) < 5 * est.stderr


@pytest.mark.parametrize(
    "divergence",
    [mg.kl(mg.Uniform(0.0, 2.0), mg.Uniform(0.0, 1.0)), mg.kl(mg.Uniform(0.0, 2.0), mg.Uniform(0.5, 3.0))],
)
def test_an_infinite_divergence_is_infinite(divergence):
    run = mg.Estimator(divergence, backend="numpy")
    est = run(1000)
    assert (est.value, est.nonfinite) == (np.inf, 1000)
    assert np.isnan([*est.grad.values(), *est.grad_stderr.values()]).all()
    for again in (est.merge(run(500, first=1000)), mg.Estimate.from_json(est.to_json())):
        assert again.value == np.inf
        assert np.isnan([*again.grad.values()]).all()
    assert "inf" in str(est)
    with pytest.raises(mg.NonFiniteError, match="1,000 of 1,000"):
        mg.estimate(divergence, n=1000, nonfinite="raise")
    assert np.isnan(mg.estimate(divergence, n=1000, nonfinite="omit").value)  # no draw is left


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["pathwise", "score", "score+leave_one_out"])
def test_a_draw_without_a_value_has_no_gradient(method, dtype):
    run = mg.Estimator(np.log, mg.Normal(6.0, 1.0), method=method, backend="numpy", dtype=dtype)
    clean, spoiled = run(1000, SEED), run(1000, SEED, loc=0.5)
    assert clean.nonfinite == 0 < spoiled.nonfinite
    assert np.isfinite([clean.value, *clean.grad.values()]).all()
    assert np.isnan([spoiled.value, *spoiled.grad.values(), *spoiled.grad_stderr.values()]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_that_no_draw_changes_is_none_of_a_value_that_is_not_finite(backend):
    """d/dscale of an ELBO's entropy is 1 / scale for every draw; log p is -inf for some."""
    bound = mg.elbo(lambda z: np.where(z < 1.0, 0.0, -np.inf), mg.Laplace(0.0, 1.0))
    est = mg.estimate(bound, n=2000, backend=backend, wrt="scale")
    assert 0 < est.nonfinite < 2000
    assert np.isnan([est.value, est.grad["scale"], est.grad_stderr["scale"]]).all()


def test_a_spoiled_part_spoils_what_it_is_merged_with():
    run = mg.Estimator(np.log, mg.Normal(3.0, 1.0), backend="numpy")
    parts = [run(100, SEED, first=first) for first in range(0, 2000, 100)]
    spoiled = [part.nonfinite > 0 for part in parts]
    assert 0 < sum(spoiled) < len(parts)
    clean, bad = parts[spoiled.index(False)], parts[spoiled.index(True)]
    for merged in (clean.merge(bad), bad.merge(clean)):
        assert merged.nonfinite == bad.nonfinite
        assert np.isnan([merged.value, merged.grad["loc"], merged.grad_stderr["scale"]]).all()


def test_groups_of_draws_are_counted_as_groups():
    run = {"method": "score+leave_one_out", "k": 10, "backend": "numpy"}
    est = mg.estimate(np.log, mg.Normal(0.5, 1.0), 1000, **run)
    assert 0 < est.nonfinite <= 100
    with pytest.raises(mg.NonFiniteError, match=f"^{est.nonfinite} of 100 groups of 10 draws"):
        mg.estimate(np.log, mg.Normal(0.5, 1.0), 1000, nonfinite="raise", **run)
    spoiled = mg.estimate(lambda z, *, c: z / c, mg.Normal(0.5, 1.0), 1000, data={"c": 0.0}, **run)
    assert spoiled.nonfinite == 100
    assert "all of them" in str(spoiled)
