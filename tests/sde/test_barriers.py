"""Between the times of a path: barrier and lookback prices against closed forms, with and without corrections."""

import math

import numpy as np
import pytest

import mcgrad as mg
from tests.sde.test_exact import assert_close, call, ndtr

TIMES = np.linspace(0.0, 1.0, 9)
Q = mg.Normal(np.zeros(8), 1.0)
MARKET = {"spot": 100.0, "vol": 0.25}
RATE = 0.04


def down_and_out(spot, vol, barrier=90.0, strike=100.0):
    """Reiner and Rubinstein 1991, a barrier below the strike."""
    power = 2 * RATE / vol**2 - 1
    return call(spot, strike, vol, RATE)[0] - (barrier / spot) ** power * call(barrier**2 / spot, strike, vol, RATE)[0]


def knocked_out(correction, of=None):
    def f(z, *, spot, vol):
        last, alive = mg.sde.gbm(spot, TIMES, z, drift=RATE, volatility=vol,
                                 reduce=("last", mg.sde.Survival(lower=90.0, correction=correction)))  # fmt: skip
        return math.exp(-RATE) * np.maximum(last - 100.0, 0.0) * alive

    return f


def test_a_barrier_price_with_eight_steps():
    est = mg.estimate(knocked_out("bridge"), Q, 60_000, params=MARKET, wrt=["spot", "vol"], antithetic=True)
    slopes = {
        name: (down_and_out(**MARKET | {name: value * 1.0001}) - down_and_out(**MARKET | {name: value * 0.9999}))
        / (0.0002 * value)
        for name, value in MARKET.items()
    }
    assert_close(est, down_and_out(**MARKET), slopes)


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
def test_a_barrier_that_is_looked_at_at_the_times_alone():
    """Without a correction the price of eight dates is far too high; with the shift most of that is gone."""
    exact, n = down_and_out(**MARKET), 60_000
    plain, shifted = (mg.estimate(knocked_out(name), Q, n, params=MARKET, wrt="vol") for name in (None, "shift"))
    assert plain.value - exact > 10 * plain.stderr
    assert abs(shifted.value - exact) < 0.25 * (plain.value - exact)


def test_gradients_of_what_jumps_are_warned_about():
    with pytest.warns(mg.JumpWarning, match="test_barriers.py"):
        mg.estimate(knocked_out(None), Q, 100, params=MARKET, wrt="vol", backend="numpy", method="pathwise")


def within(x, y, v, lower, upper, terms=200):
    """The probability that a bridge stays between two barriers: a Fourier series, over the normal density."""
    width = upper - lower
    k = np.arange(1, terms + 1) * np.pi / width
    kernel = 2 / width * np.sum(np.sin(k * (x - lower)) * np.sin(k * (y - lower)) * np.exp(-0.5 * k**2 * v))
    return kernel / (math.exp(-0.5 * (y - x) ** 2 / v) / math.sqrt(2 * math.pi * v))


@pytest.mark.parametrize("v", [0.02, 0.2, 0.6])
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.2), (0.45, 0.45), (-0.3, 0.4), (-0.4, 0.3)])
def test_two_barriers(v, x, y):
    both = mg.sde.Survival(lower=-0.5, upper=0.5)
    found = mg.sde.euler(None, lambda t, s: 1.0, x, [0.0, v], [(y - x) / math.sqrt(v)], reduce=both)
    np.testing.assert_allclose(found, within(x, y, v, -0.5, 0.5), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("ends", [(0.1, 0.6), (0.1, -0.6), (0.7, 0.1)])
@pytest.mark.parametrize("v", [1e-9, 0.1, 0.0])
def test_nothing_survives_beyond_a_barrier(ends, v):
    x, y = ends
    for barriers in ({"lower": -0.5, "upper": 0.5}, {"upper": 0.5} if max(ends) > 0.5 else {"lower": -0.5}):
        for correction in ("bridge", "shift", None):
            rule = mg.sde.Survival(**barriers, correction=correction)
            found = mg.sde.euler(lambda t, s: y - x, lambda t, s: math.sqrt(v), x, [0.0, 1.0], [0.0], reduce=rule)
            assert 0.0 <= found < 1e-15
    clear = mg.sde.euler(None, lambda t, s: math.sqrt(v), 0.0, [0.0, 1.0], [0.0], reduce=mg.sde.Survival(upper=9.0))
    assert clear == 1.0


def test_derivatives_are_finite_where_the_variance_is_not_positive():
    """A volatility that is zero at some steps, and paths on both sides of the barrier."""

    def f(z, *, barrier, vol):
        rule = mg.sde.Survival(upper=barrier)
        return mg.sde.euler(None, lambda t, x: vol * np.maximum(t - 0.5, 0.0), 0.0, TIMES, z, reduce=rule)

    for barrier in (-0.1, 0.0, 0.2):
        params = {"barrier": barrier, "vol": 1.0}
        for dtype in ("float32", "float64"):
            est = mg.estimate(f, Q, 64, params=params, wrt=["barrier", "vol"], dtype=dtype, backend="numpy")
            assert np.isfinite([est.value, est.grad["barrier"], est.grad["vol"]]).all()
            assert (est.value > 0) == (barrier > 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_extrema(sign):
    """The expected maximum and minimum of a geometric Brownian motion without drift, in closed form."""
    rule = mg.sde.Maximum if sign == 1 else mg.sde.Minimum

    def f(z, *, spot, vol):
        return mg.sde.gbm(spot, TIMES, z["w"], drift=0.0, volatility=vol, reduce=rule(z["u"]))

    def exact(spot, vol):  # of the running extremum of spot exp(vol W - vol^2 t / 2) at time 1
        a = 0.5 * vol
        if sign == 1:
            density = math.exp(-0.5 * a**2) / math.sqrt(2 * math.pi)
            return spot * ((2.0 + 0.5 * vol**2) * ndtr(a) + vol * density)
        density = math.exp(-0.5 * a**2) / math.sqrt(2 * math.pi)
        return spot * ((2.0 + 0.5 * vol**2) * ndtr(-a) - vol * density)

    q = mg.Joint(w=Q, u=mg.Uniform(np.zeros(8), 1.0))
    est = mg.estimate(f, q, 60_000, params=MARKET, wrt=["spot", "vol"])
    slope = (exact(100.0, 0.2501) - exact(100.0, 0.2499)) / 0.0002
    assert_close(est, exact(**MARKET), {"spot": exact(**MARKET) / 100.0, "vol": slope})


def test_parts_of_a_state_and_barriers_for_each_number():
    z = np.random.default_rng(2).standard_normal((8, 2))
    vols = np.array([0.3, 0.2])
    each = mg.sde.gbm(np.full(2, 100.0), TIMES, z, drift=0.0, volatility=vols, correlation=0.5,
                      reduce=mg.sde.Survival(upper=np.array([140.0, 130.0])))  # fmt: skip
    for i, barrier in enumerate((140.0, 130.0)):
        rule = mg.sde.Survival(upper=barrier, of=i)
        one = mg.sde.gbm(np.full(2, 100.0), TIMES, z, drift=0.0, volatility=vols, correlation=0.5, reduce=rule)
        np.testing.assert_allclose(one, each[i], rtol=1e-13)
        assert 0.0 < one < 1.0

    both = mg.sde.Survival(lower=np.array([80.0, 78.0]), upper=np.array([140.0, 130.0]))
    inside = mg.sde.gbm(np.full(2, 100.0), TIMES, z, drift=0.0, volatility=vols, correlation=0.5, reduce=both)
    assert ((inside > 0.0) & (inside < each)).all()

    def euler(of, x0, rows):
        rule = mg.sde.Survival(upper=0.7, of=of)
        return mg.sde.euler(None, lambda t, x: rows, x0, TIMES, z, correlation=0.5, reduce=rule)

    named = euler("b", {"a": 0.0, "b": 0.0}, {"a": 1.0, "b": np.array([0.3, 0.2])})
    np.testing.assert_allclose(named, euler(None, 0.0, np.array([0.3, 0.2])), rtol=1e-13)


def test_jumps_happen_before_a_step():
    rule = {"alive": mg.sde.Survival(upper=1.0), "path": "path"}
    found = mg.sde.euler(None, lambda t, x: 0.1, 0.0, [0.0, 1.0, 2.0], [0.0, 0.0], jumps=[0.8, 0.0], reduce=rule)
    np.testing.assert_allclose(found["path"], [0.0, 0.8, 0.8])
    np.testing.assert_allclose(found["alive"], (1 - math.exp(-2 * 0.2**2 / 0.01)) ** 2)


def test_a_barrier_that_moves():
    """A Brownian motion below the line a + b t: exactly by the line at the ends of any steps (Bachelier, Levy)."""
    a, b = 1.0, 0.4

    def f(z, *, slope):
        rule = mg.sde.Survival(upper=lambda t: a + slope * t)
        return mg.sde.euler(None, lambda t, x: 1.0, 0.0, [0.0, 0.3, 1.0], z, reduce=rule)

    def exact(slope):
        return ndtr(a + slope) - math.exp(-2 * a * slope) * ndtr(slope - a)

    est = mg.estimate(f, mg.Normal(np.zeros(2), 1.0), 40_000, params={"slope": b}, wrt="slope", antithetic=True)
    assert_close(est, exact(b), {"slope": (exact(b + 1e-4) - exact(b - 1e-4)) / 2e-4})

    def growing(z, *, spot):  # a barrier that grows as the drift is one of the martingale that stays
        rule = mg.sde.Survival(upper=lambda t: 120.0 * np.exp(0.1 * t))
        return mg.sde.gbm(spot, TIMES, z, drift=0.1, volatility=0.25, reduce=rule)

    def still(z, *, spot):
        return mg.sde.gbm(spot, TIMES, z, drift=0.0, volatility=0.25, reduce=mg.sde.Survival(upper=120.0))

    z = np.random.default_rng(8).standard_normal(8)
    np.testing.assert_allclose(growing(z, spot=100.0), still(z, spot=100.0), rtol=1e-12)
