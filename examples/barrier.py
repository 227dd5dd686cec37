"""A barrier that is watched always, from prices at a few dates: with and without the correction for what lies between.

A down-and-out call pays like a call, unless the price has been at or below a barrier. Seen at the dates of the steps
alone, a path that dips below and comes back counts as alive, and the price is too high. Between two dates the
logarithm of the price is a Brownian bridge, so that the probability of a dip is known: `mg.sde.Survival` multiplies
these. This has the price and the derivatives of the continuous barrier at any number of dates, pathwise, as the product
is smooth. Moving the barrier (Broadie, Glasserman and Kou, A continuity correction for discrete barrier options,
Mathematical Finance 7, 1997) corrects the price but for terms of higher order. All are held against the formula of
Merton (1973), z being the error in standard errors.

    python examples/barrier.py [--n DRAWS]
"""

import argparse
from math import erfc, exp, log, sqrt

import numpy as np

import mcgrad as mg

YEARS, RATE, STRIKE, BARRIER = 1.0, 0.05, 100.0, 90.0
MARKET = {"spot": 100.0, "vol": 0.2}
DATES = (12, 50, 250)
CORRECTIONS = {"bridge": {}, "shift": {"correction": "shift"}, "none": {"correction": None}}


def payoff(dates, correction):
    """Discounted payoff, a function of a standard normal for each date."""
    times, watched = np.linspace(0.0, YEARS, dates + 1), mg.sde.Survival(lower=BARRIER, **correction)

    def f(z, *, spot, vol):
        last, alive = mg.sde.gbm(spot, times, z, drift=RATE, volatility=vol, reduce=("last", watched))
        return exp(-RATE * YEARS) * np.maximum(last - STRIKE, 0.0) * alive

    return f


def call(spot, vol):
    """The formula of Black and Scholes."""
    d1 = (log(spot / STRIKE) + (RATE + 0.5 * vol**2) * YEARS) / (vol * sqrt(YEARS))
    first, second = (0.5 * erfc(-x / sqrt(2.0)) for x in (d1, d1 - vol * sqrt(YEARS)))
    return spot * first - STRIKE * exp(-RATE * YEARS) * second


def formula(spot, vol):
    """A call less that of the price reflected in the barrier."""
    power = 2.0 * RATE / vol**2 - 1.0
    return call(spot, vol) - (BARRIER / spot) ** power * call(BARRIER**2 / spot, vol)


def exact(h=1e-4):
    """Price, delta and vega, by central differences of the formula."""
    spot, vol = MARKET.values()
    return {
        "price": formula(spot, vol),
        "spot": (formula(spot + h, vol) - formula(spot - h, vol)) / (2 * h),
        "vol": (formula(spot, vol + h) - formula(spot, vol - h)) / (2 * h),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=400_000, help="paths")
    n = parser.parse_args(argv).n
    right, z = exact(), {}
    print(f"{n:,} paths; by the formula {right['price']:.4f}, delta {right['spot']:.4f}, vega {right['vol']:.3f}")
    print("  dates correction     price std. error       z    delta      z     vega      z")
    for dates in DATES:
        q = mg.Normal(np.zeros(dates), 1.0)
        for name, correction in CORRECTIONS.items():
            greeks = list(MARKET) if name == "bridge" else ()  # the others jump where a date's price is at the barrier
            est = mg.estimate(payoff(dates, correction), q, n, params=MARKET, wrt=greeks, dtype="float32")
            found = {"price": (est.value, est.stderr)} | {k: (est.grad[k], est.grad_stderr[k]) for k in greeks}
            z[dates, name] = {k: (center - right[k]) / error for k, (center, error) in found.items()}
            line = f"  {dates:5} {name:>10} {est.value:9.4f} {est.stderr:10.4f} {z[dates, name]['price']:7.2f}"
            for k in greeks:
                line += f" {found[k][0]:8.4f} {z[dates, name][k]:6.2f}"
            print(line)
    return z


if __name__ == "__main__":
    main()
