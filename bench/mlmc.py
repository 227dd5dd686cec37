"""Errors and costs of multilevel runs beside what they ask for: the table of docs/mlmc.md.

    python bench/mlmc.py [--seeds 200]

Each problem has a closed form. For each seed a run ends at a relative tolerance, and its error is that against the
closed form, so with its bias. Costs are counts of multiplications. "One level" is what draws of the finest level alone
would cost for the variance that the tolerance leaves.
"""

import argparse
import math
import warnings

import numpy as np

import mcgrad as mg

RATE, VOL = 0.05, 0.2
MARKET = {"spot": 100.0, "vol": VOL}


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2)), math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def black_scholes():
    d = (RATE + 0.5 * VOL**2) / VOL
    (below, density), (other, _) = normal(d), normal(d - VOL)
    return np.array([100.0 * (below - math.exp(-RATE) * other), below, 100.0 * density])


def increments(level):
    return mg.Normal(np.zeros(2**level), 1.0)


def call(end):
    return np.exp(-RATE) * np.maximum(end - 100.0, 0.0)


def euler(z, *, level, spot, vol):
    h = 1.0 / 2**level
    return call(spot * np.prod(1.0 + RATE * h + vol * np.sqrt(h) * z))


def steps_of_milstein(w, h, spot, vol):
    return call(spot * np.prod(1.0 + RATE * h + vol * w + 0.5 * vol**2 * (w**2 - h)))


def milstein(z, *, level, spot, vol):
    h = 1.0 / 2**level
    return steps_of_milstein(np.sqrt(h) * z, h, spot, vol)


def bridged(z, *, level, spot, vol):
    h = 1.0 / 2**level
    path = mg.paths.brownian(z, np.arange(1, 2**level + 1) * h)
    return steps_of_milstein(path - np.concatenate([np.zeros(1), path[:-1]]), h, spot, vol)


def nested(z, *, level, k):
    return np.maximum(k * z["x"] + np.mean(z["y"]), 0.0)


def inner(level):
    return mg.Joint(x=mg.Normal(0.3, 1.0), y=mg.Normal(np.zeros(2**level), 1.0))


def halves(z):
    return {"x": z["x"], "y": z["y"][::2]}, {"x": z["x"], "y": z["y"][1::2]}


def problems():
    """Yield names, levels, closed forms of value and gradient, what the tolerance is of, and tolerances."""
    call_of, below_density = {"params": MARKET, "backend": "numpy"}, normal(0.3)
    mean = 0.3 * below_density[0] + below_density[1]
    exact = black_scholes()
    yield "call, Euler", euler, mg.Multilevel(euler, increments, **call_of), exact, "all", (0.1, 0.05, 0.02)
    yield "call, Euler", euler, mg.Multilevel(euler, increments, **call_of), exact, "value", (0.05, 0.02, 0.01)
    yield "call, Milstein", milstein, mg.Multilevel(milstein, increments, **call_of), exact, "value", (0.05, 0.02, 0.01)
    points = mg.Multilevel(bridged, increments, coarsen=lambda z: z[: len(z) // 2], sampler="sobol", **call_of)
    yield "call, Milstein, Sobol' points", bridged, points, exact, "value", (0.05, 0.02, 0.01)
    means = mg.Multilevel(nested, inner, params={"k": 1.0}, coarsen=halves, backend="numpy")
    yield "nested mean", nested, means, np.array([mean, mean]), "all", (0.1, 0.05, 0.02)


def alone(f, est, counted, allowed):
    """Cost of draws of the finest level for the variance that the tolerance allows each component."""
    last = len(est.levels) - 1

    def finest(z, **given):
        return f(z, level=last, **given)

    q = inner(last) if f is nested else increments(last)
    params = {"k": 1.0} if f is nested else MARKET
    one = mg.Estimator(finest, q, params=params, wrt=tuple(params), backend="numpy")
    variance = one(8192).moments.variance[counted]
    return one.program.work() * (variance / (0.75 * allowed**2)).max()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore", mg.MultilevelWarning)
    print("| problem | of | rtol | error / tolerance | coverage | levels | cost | cost x rtol^2 | one level |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, f, levels, exact, of, tolerances in problems():
        for rtol in tolerances:
            errors, covered, deep, costs, ones = [], [], [], [], []
            for seed in range(seeds):
                est = levels(rtol=rtol, of=of, seed=seed, start=256)
                counted = np.isfinite(est.rule.tolerances(est.components, exact))
                allowed = est.rule.tolerances(est.components, exact)[counted]
                errors.append(((est.mean - exact)[counted] / allowed).tolist())
                reach = 1.96 * est.noise + est.biases
                covered.append((np.abs(est.mean - exact) <= reach)[counted].tolist())
                deep.append(len(est.levels))
                costs.append(est.cost)
                ones.append(alone(f, est, counted, allowed) if seed < 5 else ones[0])
            size = math.sqrt(np.square(errors).mean(axis=0).max())
            least, cost = np.mean(covered, axis=0).min(), float(np.mean(costs))
            print(
                f"| {name} | {of} | {rtol} | {size:.2f} | {least:.1%} | {np.mean(deep):.1f} | {cost:.2g} "
                f"| {cost * rtol**2:.0f} | {np.mean(ones[:5]) / cost:.1f} times |",
                flush=True,
            )


if __name__ == "__main__":
    main()
