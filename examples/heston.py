"""A call in the model of Heston: its price and six Greeks, of second order, too, against Fourier's integral.

The variance of the price moves, too, and is correlated with it. `mg.scan` steps both: the variance by the scheme of
Milstein with the drift at the mean of both ends of a step, the price by this mean. Two ways:

- "payoff" is that of a call at the end of the path. It has a kink, so that second derivatives along the paths would be
  zero: mcgrad takes central differences of the gradient with common noise, and says so.
- "mixed" is the mean of the payoff given the path of the variance, the price being lognormal then: the formula of Black
  and Scholes (Romano and Touzi, Contingent claims and market completeness in a stochastic volatility model,
  Mathematical Finance 7, 1997). It is smooth, so that it is differentiated twice along the paths, and varies less. The
  scheme keeps the variance positive by a cancellation, which mcgrad does not see: `hessian_method="pathwise"` says so.

All are held against an integral for the continuous model (Heston 1993, in the form of Albrecher, Mayer, Schoutens and
Tistaert, The little Heston trap, Wilmott 2007): z is the error in standard errors, the bias of 50 steps part of it.

    python examples/heston.py [--n PATHS]
"""

import argparse

import numpy as np
from scipy.special import ndtr

import mcgrad as mg

STEPS, YEARS, STRIKE = 50, 1.0, 100.0
REVERSION, MEAN, VOL_OF_VOL, CORRELATION = 2.0, 0.04, 0.3, -0.7
MARKET = {"spot": 100.0, "variance": 0.04, "rate": 0.03}
PAIRS = [("spot", "spot"), ("spot", "variance"), ("variance", "variance")]
GREEKS = {
    "price": (), "delta": ("spot",), "vega": ("variance",), "rho": ("rate",),
    "gamma": PAIRS[0], "vanna": PAIRS[1], "volga": PAIRS[2],
}  # fmt: skip


def next_variance(v, e):
    """The variance after a step, of which e is the normal, and what both motions have in common in it."""
    dt = YEARS / STEPS
    root = np.sqrt(v) + 0.5 * VOL_OF_VOL * np.sqrt(dt) * e
    shared = root**2 - v - 0.25 * VOL_OF_VOL**2 * dt
    after = (v + REVERSION * (MEAN - 0.5 * v) * dt + shared) / (1.0 + 0.5 * REVERSION * dt)
    return after, CORRELATION / VOL_OF_VOL * shared


def payoff(z, *, spot, variance, rate):
    """Discounted payoff; z has two normals a step."""
    dt = YEARS / STEPS

    def step(state, e):
        x, v = state
        after, shared = next_variance(v, e[0])
        mean = 0.5 * (v + after)
        x = x + (rate - 0.5 * mean) * dt + shared
        return (x + np.sqrt((1.0 - CORRELATION**2) * mean * dt) * e[1], after), None

    (x, _), _ = mg.scan(step, (np.log(spot), variance), z)
    return np.exp(-rate * YEARS) * np.maximum(np.exp(x) - STRIKE, 0.0)


def mixed(z, *, spot, variance, rate):
    """The mean of the discounted payoff given the variances; z has one normal a step."""

    def step(state, e):
        v, total, moved = state
        after, shared = next_variance(v, e)
        return (after, total + 0.5 * (v + after) * YEARS / STEPS, moved + shared), None

    (_, total, moved), _ = mg.scan(step, (variance, 0.0, 0.0), z)
    rest = (1.0 - CORRELATION**2) * total  # the variance of the logarithm of the price, given all that
    forward = np.log(spot) + rate * YEARS + moved - 0.5 * (total - rest)
    d1 = (forward - np.log(STRIKE)) / np.sqrt(rest) + 0.5 * np.sqrt(rest)
    return np.exp(-rate * YEARS) * (np.exp(forward) * ndtr(d1) - STRIKE * ndtr(d1 - np.sqrt(rest)))


def integral(spot, variance, rate):
    """The price by Fourier's integral (Lewis, A simple option formula for general jump-diffusion, 2001)."""
    u = (np.arange(4000) + 0.5) * 0.05
    v = u - 0.5j  # where the characteristic function of log(price / forward) is read
    b = REVERSION - CORRELATION * VOL_OF_VOL * 1j * v
    d = np.sqrt(b**2 + VOL_OF_VOL**2 * (1j * v + v**2))
    g, decay = (b - d) / (b + d), np.exp(-d * YEARS)
    level = REVERSION * MEAN * ((b - d) * YEARS - 2.0 * np.log((1.0 - g * decay) / (1.0 - g)))
    exponent = (level + variance * (b - d) * (1.0 - decay) / (1.0 - g * decay)) / VOL_OF_VOL**2
    exponent += 1j * u * (np.log(spot / STRIKE) + rate * YEARS)
    total = np.sum(np.exp(exponent).real / (u**2 + 0.25)) * 0.05 / np.pi
    return spot - np.sqrt(spot * STRIKE) * np.exp(-0.5 * rate * YEARS) * total


def exact():
    """Price and Greeks, by central differences of the integral."""

    def at(**moved):
        return integral(**{name: x * (1.0 + moved.get(name, 0.0)) for name, x in MARKET.items()})

    def derivative(*names, h=1e-3):
        if not names:
            return at()
        size = np.prod([MARKET[name] * h for name in names])
        if len(names) == 1:
            (a,) = names
            return (at(**{a: h}) - at(**{a: -h})) / (2.0 * size)
        a, b = names
        if a == b:
            return (at(**{a: h}) - 2.0 * at() + at(**{a: -h})) / size
        corners = [(i * j) * at(**{a: i * h, b: j * h}) for i in (1, -1) for j in (1, -1)]
        return sum(corners) / (4.0 * size)

    return {greek: derivative(*names) for greek, names in GREEKS.items()}


def read(est):
    """Each Greek and its standard error."""
    found = {}
    for greek, names in GREEKS.items():
        values = [(est.value, est.stderr), (est.grad, est.grad_stderr), (est.hessian, est.hessian_stderr)][len(names)]
        for name in names:
            values = [x[name] for x in values]
        found[greek] = tuple(map(float, values))
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=200_000, help="paths")
    n = parser.parse_args(argv).n
    right, z = exact(), {}
    for f, noise, method in ((payoff, (STEPS, 2), None), (mixed, (STEPS,), "pathwise")):
        q = mg.Normal(np.zeros(noise), 1.0)
        for dtype in ("float32", "float64"):
            given = {"params": MARKET, "wrt": list(MARKET), "hessian": PAIRS, "hessian_method": method}
            est = mg.estimate(f, q, n, dtype=dtype, **given)
            found = read(est)
            z[f.__name__, dtype] = {k: (center - right[k]) / error for k, (center, error) in found.items()}
            print(f"{f.__name__}, {dtype}, {n:,} paths, {est.seconds:.2f} s; second derivatives: {est.hessian_method}")
            print(f"  {'':6} {'estimate':>11} {'std. error':>11} {'integral':>11} {'z':>6}")
            for greek, (center, error) in found.items():
                z_score = z[f.__name__, dtype][greek]
                print(f"  {greek:6} {center:11.5f} {error:11.5f} {right[greek]:11.5f} {z_score:6.2f}")
    return z


if __name__ == "__main__":
    main()
