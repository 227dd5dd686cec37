"""The gamma quantile and its slopes: kernels and NumPy against a table of mpmath's, edges, monotonicity."""

from pathlib import Path

import numpy as np
import pytest
import scipy.special as sc

from mcgrad.ir import gamma_quantile
from mcgrad.kernels.bounds import BOUNDS

from .loops import FLOATS, GAMMA, evaluate

TABLE = np.genfromtxt(Path(__file__).parent / "data" / "gamma_quantile.csv", delimiter=",", names=True, skip_header=1)
MOST_SCORE = {32: 6.6, 64: 8.9}
IMPL = {
    "gamma_log_ratio": gamma_quantile.log_ratio,
    "gamma_slope_a": gamma_quantile.slope_a,
    "gamma_slope_e": gamma_quantile.slope_e,
}
# shared reference of the project: a, z, and dz/da at a fixed probability, by mpmath with 40 digits
IMPLICIT = [(0.1, 1e-6, 1.33917686183292e-4), (1.0, 1.0, 1.17356302722473), (2.5, 3.0, 1.16926200673766)]
BITS = pytest.mark.parametrize("bits", [32, 64])


def rows(bits):
    """Rows within the dtype's scores. Concentrations are rounded to it, which moves the right values by up to 1e-7."""
    return TABLE[np.abs(TABLE["e"]) <= MOST_SCORE[bits]]


@BITS
@pytest.mark.parametrize("slope", ["slope_a", "slope_e"])
def test_slopes_are_those_of_the_table(slope, bits):
    table = rows(bits)
    got = evaluate(f"gamma_{slope}", bits, table["a"], table["e"]).astype(np.float64)
    np.testing.assert_allclose(got, table[slope], rtol=1e-10 if bits == 64 else 1e-6)
    assert (table["a"].min(), table["a"].max()) == (1e-6, 1e6)


@BITS
def test_quantiles_are_those_of_the_table(bits):
    table = rows(bits)
    got = evaluate("gamma_log_ratio", bits, table["a"], table["e"]).astype(np.float64)
    right = table["log_z"] - np.log1p(table["a"])
    deviation = 1 / np.sqrt(table["a"])  # of log z where a is large: what the error has to be small against
    allowed = np.minimum(np.maximum(np.abs(right), 1), np.maximum(np.abs(right), deviation))
    assert np.max(np.abs(got - right) / allowed) < (2e-11 if bits == 64 else 1e-6)
    assert np.max(np.abs(got - right) / np.maximum(np.abs(right), 1)) < (1e-13 if bits == 64 else 1e-6)


def test_what_the_ops_mean_is_the_table():
    """By SciPy and quadrature, nothing of the kernels."""
    right = TABLE["log_z"] - np.log1p(TABLE["a"])
    got = gamma_quantile.log_ratio(TABLE["a"], TABLE["e"])
    assert np.max(np.abs(got - right) / np.maximum(np.abs(right), 1)) < 2e-14
    for name in ("slope_a", "slope_e"):
        np.testing.assert_allclose(getattr(gamma_quantile, name)(TABLE["a"], TABLE["e"]), TABLE[name], rtol=1e-11)


@pytest.mark.parametrize(("a", "z", "right"), IMPLICIT)
def test_the_implicit_derivative_is_the_shared_reference(a, z, right):
    e = sc.ndtri(sc.gammainc(a, z))
    for slope in (evaluate("gamma_slope_a", 64, [a], [e])[0], gamma_quantile.slope_a(a, e)):
        assert z * slope == pytest.approx(right, rel=1e-11)


@BITS
@pytest.mark.parametrize("name", sorted(GAMMA))
def test_kernels_mean_what_numpy_means_far_below_the_table(name, bits):
    """Concentrations down to 1e-12, where z is 0 to any float; and all scores up to the last that is drawn."""
    rng = np.random.default_rng(0)
    a = (10 ** rng.uniform(-12, -6, 2000)).astype(FLOATS[bits])
    e = rng.uniform(-MOST_SCORE[bits], MOST_SCORE[bits], 2000).astype(FLOATS[bits])
    right = IMPL[name](a, e)
    error = np.abs(evaluate(name, bits, a, e) - right) / np.maximum(np.abs(right), name == "gamma_log_ratio")
    assert error.max() < (1e-11 if bits == 64 else 1e-6)


@BITS
def test_pieces_meet(bits):
    """Where one polynomial follows another, at a = 16 and at s = 4, nothing jumps by more than rounding."""
    a = np.linspace(0.01, 15.9, 300)
    log_probability = a * np.log1p(-np.exp(-4.0))
    e = np.where(log_probability < -0.7, sc.ndtri_exp(log_probability), -sc.ndtri(-np.expm1(log_probability)))
    scores = np.linspace(-MOST_SCORE[bits], MOST_SCORE[bits], 300)
    for name in GAMMA:
        around = [(a, e - 1e-9, e + 1e-9), (np.full(300, 16.0), scores, scores)]
        for i, (at, left, right) in enumerate(around):
            one = evaluate(name, bits, at, left)
            two = evaluate(
                name, bits, np.nextafter(FLOATS[bits](16), FLOATS[bits](17)) * np.ones(300) if i else at, right
            )
            tolerance = 3 * BOUNDS[name][bits][0].ulps * np.finfo(FLOATS[bits]).eps
            np.testing.assert_allclose(one, two, rtol=max(tolerance, 1e-7), atol=1e-7 if bits == 64 else 2e-6)


@BITS
def test_more_concentration_and_higher_scores_give_more(bits):
    a = np.repeat(10 ** np.linspace(-6, 6, 97), 41)
    e = np.tile(np.linspace(-6.5, 6.5, 41), 97)
    for name in ("gamma_slope_a", "gamma_slope_e"):
        assert (evaluate(name, bits, a, e) > 0).all()


@BITS
def test_edges(bits):
    a = np.array([np.nan, -1.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    e = np.array([0.0, 0.0, 0.0, np.nan, np.inf, -np.inf, 50.0, -50.0])
    for name in GAMMA:
        got = evaluate(name, bits, a, e)
        assert np.isnan(got[:4]).all()
        assert np.isfinite(got[4:]).all()
    assert (evaluate("gamma_slope_e", bits, a[4:], e[4:]) == 0).all()
