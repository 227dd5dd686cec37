"""Price, delta and vega of options at sixty strikes, all from one set of paths, with error bars.

The integrand returns an array with a payoff for each strike, so that the value has sixty numbers and each gradient is a
Jacobian. The payoffs are on the geometric average of a geometric Brownian motion over 52 dates, which has a formula at
every strike (Kemna and Vorst, A pricing method for options based on average asset values, Journal of Banking and
Finance 14, 1990): the estimates are held against it, z being the error in standard errors. As all strikes share their
draws, their errors are much the same. A book of these options, with so many of each, has its delta and vega from a
cotangent.

    python examples/strikes.py [--n DRAWS]
"""

import argparse

import numpy as np
from scipy.special import ndtr

import mcgrad as mg

DATES, YEARS = 52, 1.0
STRIKES = np.linspace(70.0, 130.0, 60)
MARKET = {"spot": 100.0, "vol": 0.2, "rate": 0.05}


def payoffs(z, *, spot, vol, rate):
    """Discounted payoffs of calls on the geometric average, one for each strike; z is standard normal, one a date."""
    dt = YEARS / DATES
    path = np.log(spot) + np.cumsum((rate - 0.5 * vol**2) * dt + vol * np.sqrt(dt) * z)
    return np.exp(-rate * YEARS) * np.maximum(np.exp(np.mean(path)) - STRIKES, 0.0)


def formula(spot, vol, rate):
    """Prices, deltas and vegas; the log average is Normal(log(spot) + (rate - vol^2 / 2) a, vol sqrt(b))."""
    a = YEARS * (DATES + 1) / (2 * DATES)  # mean of the dates
    b = YEARS * (DATES + 1) * (2 * DATES + 1) / (6 * DATES**2)  # variance of the mean of a Brownian motion at them
    sd, discount = vol * np.sqrt(b), np.exp(-rate * YEARS)
    forward = spot * np.exp((rate - 0.5 * vol**2) * a + 0.5 * sd**2)
    d1 = np.log(forward / STRIKES) / sd + 0.5 * sd
    price = discount * (forward * ndtr(d1) - STRIKES * ndtr(d1 - sd))
    delta = discount * forward * ndtr(d1) / spot
    density = np.exp(-0.5 * d1**2) / np.sqrt(2 * np.pi)
    vega = discount * forward * (ndtr(d1) * vol * (b - a) + density * np.sqrt(b))
    return {"price": price, "delta": delta, "vega": vega}


def estimator(**options):
    paths = mg.Normal(np.zeros(DATES), np.ones(DATES))
    return mg.Estimator(payoffs, paths, params=MARKET, wrt=["spot", "vol"], **options)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="paths")
    parser.add_argument("--backend", default="auto")
    args = parser.parse_args(argv)

    est = estimator(backend=args.backend)(args.n)
    found = {
        "price": (est.value, est.stderr),
        "delta": (est.grad["spot"], est.grad_stderr["spot"]),
        "vega": (est.grad["vol"], est.grad_stderr["vol"]),
    }
    exact = formula(**MARKET)
    z = {greek: (center - exact[greek]) / error for greek, (center, error) in found.items()}
    print(f"{len(STRIKES)} strikes, {DATES} dates, {args.n:,} paths, {est.seconds:.2f} s")
    print(f"{'strike':>8}" + "".join(f" {greek:>10} {'std. error':>11} {'z':>6}" for greek in found))
    for i in range(0, len(STRIKES), 6):
        cells = (f" {found[x][0][i]:10.5f} {found[x][1][i]:11.5f} {z[x][i]:6.2f}" for x in found)
        print(f"{STRIKES[i]:8.2f}" + "".join(cells))

    book = np.where(STRIKES < 100.0, 1.0, -2.0)  # so many of each option
    hedge = estimator(backend=args.backend, cotangent=book)(args.n)
    print("\nthe whole book")
    for greek, path in (("delta", "spot"), ("vega", "vol")):
        center, error, right = hedge.grad[path], hedge.grad_stderr[path], book @ exact[greek]
        z[f"{greek} of the book"] = (center - right) / error
        print(f"  {greek:6} {center:10.4f} {error:11.4f} {right:10.4f} {(center - right) / error:6.2f}")
    return z


if __name__ == "__main__":
    main()
