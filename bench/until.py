"""Coverage of the intervals of runs that stop: the table of docs/until.md.

    python bench/until.py [--seeds 1000] [--start N] [--sampler sobol]

Each problem has a closed form. For each seed a run stops by a relative tolerance of its gradient, and each component's
interval covers the true number or does not. "Plain" are runs that stop by, and return, the intervals of a run whose
number of draws was given, at the same level: `confidence=0.9` stops by what `confidence_interval(0.95)` is otherwise.
"""

import argparse
import math
import warnings
from collections import Counter

import numpy as np

import mcgrad as mg

TOLERANCES = {"philox": (0.2, 0.1, 0.05, 0.02), "sobol": (0.05, 0.01, 0.002)}
MOST = 1 << 19
PLAIN = 0.1  # 1 - confidence whose intervals at one look are at the level 0.95


def normal_tail(x):
    return 0.5 * math.erfc(x / math.sqrt(2))


def density(x):
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def exponential(**how):
    """E exp(z), skewed: lognormal with sigma = 1."""
    value = math.exp(0.3 + 0.5)
    return mg.Estimator(np.exp, mg.Normal(0.3, 1.0), **how), [value, value, value]


def rosenbrock(**how):
    """Ten coordinates, polynomials of degree four: gradients in loc from the moments of normals."""
    loc, scale = np.linspace(-0.5, 0.5, 10), 0.5

    def f(z):
        return np.sum(100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2)

    m, n, v = loc[:-1], loc[1:], scale**2
    value = np.sum(100 * (n**2 + v - 2 * n * (m**2 + v) + m**4 + 6 * m**2 * v + 3 * v**2) + (1 - m) ** 2 + v)
    exact = np.zeros(10)
    exact[:-1] += 100 * (-4 * n * m + 4 * m**3 + 12 * m * v) - 2 * (1 - m)
    exact[1:] += 100 * (2 * n - 2 * (m**2 + v))
    return mg.Estimator(f, mg.Normal(loc, np.full(10, scale)), wrt="loc", **how), [value, *exact]


def logistic(**how):
    """log(1 + exp(a z)) in five coordinates: a z is one normal, so a quadrature of one dimension is exact."""
    a, loc = np.array([1.0, -0.5, 2.0, 0.3, -1.5]), np.array([0.2, 0.1, -0.3, 0.5, 0.4])
    x, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    logits = a @ loc + np.linalg.norm(a) * x
    value, slope = weights @ np.logaddexp(0, logits), weights @ (1 / (1 + np.exp(-logits)))
    return mg.Estimator(lambda z: np.logaddexp(0.0, np.sum(a * z)), mg.Normal(loc, np.ones(5)), wrt="loc", **how), [
        value,
        *(slope * a),
    ]


def call_option(**how):
    """A payoff that is zero in 9 of 10 draws: max(exp(z) - 1.3, 0), Black and Scholes."""
    loc, scale, strike = -0.02, 0.2, 1.3
    d = (loc - math.log(strike)) / scale
    mean, up, over = math.exp(loc + scale**2 / 2), 1 - normal_tail(d + scale), 1 - normal_tail(d)
    q = mg.Normal(loc, scale)
    value = mean * up - strike * over
    return mg.Estimator(lambda z: np.maximum(np.exp(z) - strike, 0.0), q, **how), [
        value,
        mean * up,
        scale * mean * up + mean * density(d + scale),
    ]


def tail(**how):
    """P(z > 2.5) = 0.6% and its gradients, by the score function."""
    value, slope = normal_tail(2.5), density(2.5)
    estimator = mg.Estimator(lambda z: np.where(z > 2.5, 1.0, 0.0), mg.Normal(0.0, 1.0), method="score", **how)
    return estimator, [value, slope, 2.5 * slope]


def heavy(**how):
    """E exp(1.5 z): lognormal with sigma = 1.5, skewness 33: more draws than most until means are normal."""
    value = math.exp(1.5**2 / 2)
    return mg.Estimator(lambda z: np.exp(1.5 * z), mg.Normal(0.0, 1.0), **how), [value, 1.5 * value, 1.5**2 * value]


PROBLEMS = {
    "exp(z)": exponential,
    "Rosenbrock, d = 10": rosenbrock,
    "logistic, d = 5": logistic,
    "call option": call_option,
    "P(z > 2.5)": tail,
    "exp(1.5 z)": heavy,
}


def covered(estimator, exact, rtol, confidence, seeds, start):
    """Return how often the interval of each component covers, and how many draws the runs had."""
    hits, draws = np.zeros(len(exact)), Counter()
    for seed in range(seeds):
        est = estimator.until(rtol, confidence=confidence, start=start, max_draws=MOST, seed=seed)
        found = est.confidence_interval(confidence)
        low, high = (np.concatenate([np.ravel(x[i]) for x in [found.value, *found.grad.values()]]) for i in (0, 1))
        hits += (low <= exact) & (exact <= high)
        draws[est.n] += 1
    return hits / seeds, draws


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--start", type=int)
    parser.add_argument("--sampler", default="philox", choices=TOLERANCES)
    args = parser.parse_args()
    seeds = args.seeds
    warnings.simplefilter("ignore", mg.ToleranceWarning)
    print("| problem | rtol | draws, median | least of the components | mean | plain: least | mean | draws |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, make in PROBLEMS.items():
        estimator, exact = make(sampler=args.sampler)
        for rtol in TOLERANCES[args.sampler]:
            cells = []
            for confidence in (0.95, 1 - PLAIN):
                hits, draws = covered(estimator, np.array(exact), rtol, confidence, seeds, args.start)
                median = sorted(draws.elements())[seeds // 2]
                cells.append((f"{median:,}", f"{hits.min():.1%}", f"{hits.mean():.1%}"))
            (n, least, mean), (plain_n, plain_least, plain_mean) = cells
            print(
                f"| {name} | {rtol} | {n} | {least} | {mean} | {plain_least} | {plain_mean} | {plain_n} |", flush=True
            )


if __name__ == "__main__":
    main()
