"""How the error falls with the number of draws, of independent draws and of Sobol' points: slopes and a figure.

    python bench/convergence.py [--seeds 8] [--least 10] [--most 18] [--table FILE] [--plot FILE]

For each n = 2^10 .. 2^18 an estimate has the root mean square of its standard errors over some seeds, of the value and
of all components of the gradient together: 16 replicates and 8 seeds are 120 degrees of freedom, 6% of an error.
A slope is that of the line through log(error) against log(n) by least squares, with its own standard error from what is
left. All in float64, as in float32 the smallest of these errors are below the rounding of a draw's output.
"""

import argparse
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mcgrad as mg

SAMPLERS = {
    "independent": {},
    "Sobol', matrix scramble": {"sampler": "sobol"},
    "Sobol', Owen's scramble": {"sampler": "sobol", "scramble": "owen"},
}
STEPS = 64
TIMES = np.arange(1, STEPS + 1) / STEPS
MARKET = {"spot": 100.0, "vol": 0.2, "rate": 0.05}


class Slope(NamedTuple):
    """Of log(error) against log(n), with its standard error."""

    slope: float
    error: float

    def __str__(self):
        return f"{self.slope:.2f} ± {self.error:.2f}"


def exponentials(**options):
    """The product of exp(u_i) over four uniforms: smooth and bounded, in low and high."""
    return mg.Estimator(lambda z: np.exp(np.sum(z)), mg.Uniform(np.zeros(4), np.ones(4)), **options)


def bump(**options):
    """exp(-0.1 |x|^2) of eight normals, in loc: smooth, bounded, but not in the derivatives by the uniforms."""
    q = mg.Normal(np.ones(8), np.ones(8))
    return mg.Estimator(lambda z: np.exp(-0.1 * np.sum(z * z)), q, wrt="loc", **options)


def average_price(z, construction, spot, vol, rate):
    """Of one asset over a year, at 64 times."""
    w = mg.paths.brownian(z, TIMES, construction)
    return np.mean(spot * np.exp((rate - 0.5 * vol**2) * TIMES + vol * w))


def asian(construction):
    """An Asian call: a kink in 64 dimensions, so a jump in its pathwise gradient, in spot, volatility and rate."""

    def payoff(z, *, spot, vol, rate):
        return np.exp(-rate) * np.maximum(average_price(z, construction, spot, vol, rate) - 100.0, 0.0)

    def make(**options):
        q = mg.Normal(np.zeros(STEPS), np.ones(STEPS))
        return mg.Estimator(payoff, q, params=MARKET, wrt=list(MARKET), **options)

    return make


def digital_asian(construction):
    """A jump in 64 dimensions, and the score function of the normals, in their loc."""

    def payoff(z):
        return np.where(average_price(z, construction, **MARKET) > 100.0, 1.0, 0.0)

    def make(**options):
        q = mg.Normal(np.zeros(STEPS), np.ones(STEPS))
        return mg.Estimator(payoff, q, wrt="loc", method="score", **options)

    return make


def digital(**options):
    """A jump in one dimension, by the score function."""
    return mg.Estimator(lambda z: np.where(z > 0.3, 1.0, 0.0), mg.Normal(0.0, 1.0), method="score", **options)


PROBLEMS = {
    "exp(u1 + .. + u4)": exponentials,
    "exp(-0.1 x·x), d = 8": bump,
    "Asian call, pca": asian("pca"),
    "Asian call, bridge": asian("bridge"),
    "Asian call, sequential": asian("sequential"),
    "digital, d = 1": digital,
    "digital Asian, bridge": digital_asian("bridge"),
    "digital Asian, sequential": digital_asian("sequential"),
}


def errors(estimator, sizes, seeds):
    """Return the root mean square standard errors of value and gradient, shape (2, sizes)."""
    found = np.zeros((2, len(sizes)))
    for i, n in enumerate(sizes):
        for seed in range(seeds):
            est = estimator(n, seed)
            of_gradient = np.concatenate([np.ravel(x) for x in mg.tree.flatten(est.grad_stderr).values()])
            found[:, i] += np.sum(np.square(est.stderr)), np.sum(np.square(of_gradient))
    return np.sqrt(found / seeds)


def slope(sizes, found):
    """Fit the line through log(error) against log(n)."""
    (fit, _), covariance = np.polyfit(np.log(sizes), np.log(found), 1, cov=True)
    return Slope(float(fit), float(np.sqrt(covariance[0, 0])))


def measure(names, sizes, seeds):
    """Return errors by problem and sampler."""
    found = {}
    for name in names:
        for sampler, options in SAMPLERS.items():
            found[name, sampler] = errors(PROBLEMS[name](dtype="float64", **options), sizes, seeds)
            of_value, of_gradient = (slope(sizes, each) for each in found[name, sampler])
            print(f"{name}, {sampler}: value {of_value}, gradient {of_gradient}", flush=True)
    return found


def table(found, sizes, seeds):
    """The slopes as text, with the factors by which points have a smaller error at the largest n."""
    names = list(dict.fromkeys(name for name, _ in found))
    lines = [
        f"# Error against the number of draws, {date.today()}",
        "",
        f"`bench/convergence.py`: slopes of log(error) against log(n) with their standard errors, n = {sizes[0]:,} to "
        f"{sizes[-1]:,},",
        f"16 replicates, {seeds} seeds, float64, CPU backend. The factors are those by which the error is smaller with",
        "Sobol' points (matrix scramble) than with independent draws at the largest n; that of draws is its square.",
        "",
        "| problem | of | independent | matrix scramble | Owen's scramble | factor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        for i, of in enumerate(("value", "gradient")):
            each = [found[name, sampler][i] for sampler in SAMPLERS]
            slopes = " | ".join(str(slope(sizes, errors)) for errors in each)
            lines.append(f"| {name} | {of} | {slopes} | {each[0][-1] / each[1][-1]:,.3g} |")
    return "\n".join([*lines, ""])


def plot(found, sizes, path):
    """A panel a problem: errors of the gradient, relative to that of the fewest independent draws."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for name, _ in found))
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    for axes, name in zip(figure.subplots(2, -(-len(names) // 2), sharex=True, sharey=True).flat, names, strict=False):
        for sampler, colour in zip(SAMPLERS, ("#9a9a9a", "#2c6fbb", "#c0392b"), strict=True):
            y = found[name, sampler][1] / found[name, "independent"][1, 0]
            axes.plot(sizes, y, "o-", color=colour, markersize=3, label=f"{sampler}: {slope(sizes, y).slope:.2f}")
        axes.set(xscale="log", yscale="log")
        axes.set_title(name, fontsize="small")
        axes.legend(fontsize=6, loc="lower left")
        axes.grid(color="#dddddd", linewidth=0.5)
    figure.supxlabel("n", fontsize="small")
    figure.supylabel("standard error of the gradient, relative", fontsize="small")
    figure.savefig(path, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--least", type=int, default=10, help="log2 of the fewest draws")
    parser.add_argument("--most", type=int, default=18, help="log2 of the most draws")
    parser.add_argument("--table", metavar="FILE", type=Path, help="where to write the table")
    parser.add_argument("--plot", metavar="FILE", help="where to draw the figure (needs matplotlib)")
    args = parser.parse_args(argv)
    sizes = 2 ** np.arange(args.least, args.most + 1)
    found = measure(PROBLEMS, sizes, args.seeds)
    text = table(found, sizes, args.seeds)
    print(f"\n{text}")
    if args.table:
        args.table.write_text(text, encoding="utf-8")
    if args.plot:
        plot(found, sizes, args.plot)


if __name__ == "__main__":
    main()
