"""Fit the posterior of model.py by stochastic gradient ascent on the ELBO; plot the ELBO; predict held-out patients.

    python examples/breast_cancer/fit.py      # results/fit.png and the held-out accuracy

With --all --steps 4000 --save variational.csv it fits to all patients, and writes what job.toml reads.
"""

import argparse
import csv
import time
from pathlib import Path

import model
import numpy as np

import mcgrad as mg

FOLDER = Path(__file__).parent


def split(patients, held_out=114):
    """Indices to fit and to predict: a fixed random fifth of the patients is held out."""
    order = np.random.default_rng(1995).permutation(patients)
    return order[held_out:], order[:held_out]


class Adam:
    """Kingma and Ba 2015, algorithm 1, uphill."""

    def __init__(self, x, decay=0.9, decay2=0.999):
        self.x, self.decay, self.decay2 = x, decay, decay2
        self.m, self.v, self.t = np.zeros_like(x), np.zeros_like(x), 0

    def step(self, grad, rate):
        self.t += 1
        self.m += (1 - self.decay) * (grad - self.m)
        self.v += (1 - self.decay2) * (grad**2 - self.v)
        m, v = self.m / (1 - self.decay**self.t), self.v / (1 - self.decay2**self.t)
        self.x = self.x + rate * m / (np.sqrt(v) + 1e-8)


def fit(X, y, steps, draws=256, rate=0.05):
    """Maximise the ELBO over loc and log(scale): the estimator, loc, scale, and the ELBO and its error at each step."""
    d = X.shape[1]
    estimator = mg.Estimator(
        model.elbo,
        model.family(np.zeros(d), np.full(d, 0.1)),
        params={"tau": 1.0},
        data={"X": X, "y": y},
        wrt=["loc", "scale"],
        dtype="float32",
    )
    adam = Adam(np.concatenate([np.zeros(d), np.full(d, np.log(0.1))]))
    history = np.empty((steps, 2))
    for i in range(steps):
        loc, scale = adam.x[:d], np.exp(adam.x[d:])
        est = estimator(n=draws, seed=i, loc=loc, scale=scale)
        history[i] = est.value, est.stderr
        adam.step(np.concatenate([est.grad["loc"], est.grad["scale"] * scale]), rate * (1 - i / steps))
    return estimator, adam.x[:d], np.exp(adam.x[d:]), history


def accuracy(X, y, loc, scale, draws=2000):
    """Fraction of patients whose posterior predictive probability is on the right side of a half."""
    w = loc + scale * np.random.default_rng(0).standard_normal((draws, len(loc)))
    probability = np.mean(1 / (1 + np.exp(-X @ w.T)), axis=1)
    return np.mean((probability > 0.5) == (y == 1))


def plot(history, path):
    """Draw the ELBO, averaged over every hundredth of the steps, with a band of two standard errors."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    together = max(len(history) // 100, 1)
    blocks = history[: len(history) // together * together].reshape(-1, together, 2)
    step = together * (np.arange(len(blocks)) + 0.5)
    value, error = blocks[..., 0].mean(axis=1), np.sqrt((blocks[..., 1] ** 2).sum(axis=1)) / together
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.fill_between(step, value - 2 * error, value + 2 * error, alpha=0.3, linewidth=0, label="2 standard errors")
    axes.plot(step, value, linewidth=0.8, label="ELBO")
    axes.set(xlabel="step", ylabel="ELBO", ylim=(value.max() - 6, value.max() + 1))
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--all", action="store_true", help="fit to all patients and hold out none")
    parser.add_argument("--save", metavar="FILE.csv", type=Path, help="write loc and scale of every weight")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, default=FOLDER / "results" / "fit.png")
    args = parser.parse_args(argv)

    features, y = model.read()
    train, test = (np.arange(len(y)), []) if args.all else split(len(y))
    X = model.design(features, like=features[train])
    start = time.perf_counter()
    estimator, loc, scale, history = fit(X[train], y[train], args.steps)
    seconds = time.perf_counter() - start
    print(f"{args.steps} steps in {seconds:.1f} s, compilation included")
    final = estimator(n=100_000, seed=2**32, loc=loc, scale=scale)
    print(f"ELBO {final.value:.3f} +- {final.stderr:.3f}")
    for name in ("loc", "scale"):
        print(f"largest |d ELBO / d {name}| {np.abs(final.grad[name]).max():.3g}")
    if not args.all:
        held = accuracy(X[test], y[test], loc, scale)
        print(f"accuracy {accuracy(X[train], y[train], loc, scale):.1%} on {len(train)} patients, {held:.1%} held out")
    if args.save:
        with args.save.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["weight", "loc", "scale"])
            rows.writerows(zip(["intercept", *model.names()], np.round(loc, 6), np.round(scale, 6), strict=True))
        print(f"wrote {args.save}")
    plot(history, args.plot)
    print(f"wrote {args.plot}")


if __name__ == "__main__":
    main()
