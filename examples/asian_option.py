"""Greeks of Asian call options with error bars, and a check against a closed form.

The underlying follows a geometric Brownian motion, seen at 252 dates; the payoff is on the average of what was seen.
For the arithmetic average there is no formula. The geometric average is lognormal, so its option has one (Kemna and
Vorst, A pricing method for options based on average asset values, Journal of Banking and Finance 14, 1990): the
estimate is held against it, z being the error in standard errors. The path is a Python loop over the dates, which
mcgrad finds in what it traces, and compiles as one loop (docs/loops.md).

    python examples/asian_option.py [--n DRAWS]
"""

import argparse
from math import erf, exp, log, pi, sqrt

import numpy as np

import mcgrad as mg

STEPS, YEARS, STRIKE = 252, 1.0, 100.0
MARKET = {"spot": 100.0, "vol": 0.2, "rate": 0.05}
GREEKS = {"price": "value", "delta": "spot", "vega": "vol", "rho": "rate"}


def log_prices(z, spot, vol, rate):
    """Logarithms of the prices at the dates; z is standard normal, one number a date."""
    dt = YEARS / STEPS
    x, found = np.log(spot), []
    for t in range(STEPS):
        x = x + (rate - 0.5 * vol**2) * dt + vol * np.sqrt(dt) * z[t]
        found.append(x)
    return found


def arithmetic(z, *, spot, vol, rate):
    """Discounted payoff of a call on the arithmetic average."""
    average = sum(np.exp(x) for x in log_prices(z, spot, vol, rate)) / STEPS
    return np.exp(-rate * YEARS) * np.maximum(average - STRIKE, 0.0)


def geometric(z, *, spot, vol, rate):
    """Discounted payoff of a call on the geometric average."""
    average = np.exp(sum(log_prices(z, spot, vol, rate)) / STEPS)
    return np.exp(-rate * YEARS) * np.maximum(average - STRIKE, 0.0)


def geometric_formula(spot, vol, rate):
    """Price, delta, vega and rho; the log average is Normal(log(spot) + (rate - vol^2 / 2) a, vol sqrt(b))."""
    a = YEARS * (STEPS + 1) / (2 * STEPS)  # mean of the dates
    b = YEARS * (STEPS + 1) * (2 * STEPS + 1) / (6 * STEPS**2)  # variance of the mean of a Brownian motion at them
    sd = vol * sqrt(b)
    forward = spot * exp((rate - 0.5 * vol**2) * a + 0.5 * vol**2 * b)
    d1 = log(forward / STRIKE) / sd + 0.5 * sd
    d2, discount = d1 - sd, exp(-rate * YEARS)
    price = discount * (forward * cdf(d1) - STRIKE * cdf(d2))
    delta = discount * forward * cdf(d1) / spot
    vega = discount * forward * (cdf(d1) * vol * (b - a) + pdf(d1) * sqrt(b))
    rho = discount * forward * cdf(d1) * a - YEARS * price
    return {"price": price, "delta": delta, "vega": vega, "rho": rho}


def cdf(x):
    return 0.5 * (1 + erf(x / sqrt(2)))


def pdf(x):
    return exp(-0.5 * x**2) / sqrt(2 * pi)


def greeks(payoff, n, seed=0, dtype="float32"):
    """Estimate each Greek and its standard error."""
    z = mg.Normal(np.zeros(STEPS), np.ones(STEPS))
    est = mg.estimate(payoff, z, n, params=MARKET, wrt=list(MARKET), seed=seed, dtype=dtype)
    centers, errors = {"value": est.value, **est.grad}, {"value": est.stderr, **est.grad_stderr}
    return {greek: (centers[name], errors[name]) for greek, name in GREEKS.items()}, est


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="paths")
    n = parser.parse_args(argv).n

    found, est = greeks(arithmetic, n)
    print(f"arithmetic average, {STEPS} dates, {n:,} paths, {est.seconds:.2f} s")
    print(f"  {'':6} {'estimate':>10} {'std. error':>11}")
    for name, (center, error) in found.items():
        print(f"  {name:6} {center:10.5f} {error:11.5f}")

    found, est = greeks(geometric, n)
    exact = geometric_formula(**MARKET)
    print(f"\ngeometric average, {n:,} paths, {est.seconds:.2f} s")
    print(f"  {'':6} {'estimate':>10} {'std. error':>11} {'formula':>10} {'z':>6}")
    for name, (center, error) in found.items():
        print(f"  {name:6} {center:10.5f} {error:11.5f} {exact[name]:10.5f} {(center - exact[name]) / error:6.2f}")
    return {name: (center - exact[name]) / error for name, (center, error) in found.items()}


if __name__ == "__main__":
    main()
