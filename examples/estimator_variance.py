"""Which estimator of a gradient has the least variance? Figures 2 and 3 of Mohamed et al. 2020, redrawn.

The gradient of E f(z; k), z ~ Normal(mu = 1, sigma = 1), in mu (figure 2) and in sigma (figure 3), for three functions
of a number k: the variance of one draw of the score function, of the pathwise gradient, and of the measure-valued one
with coupled draws. None is the best for all: pathwise gradients suffer where f changes fast, score functions where f is
large. (In mu, at k = mu, the two measure-valued draws have the same square: their variance is zero.)

    python examples/estimator_variance.py [--n DRAWS] [--plot FILE]

S. Mohamed, M. Rosca, M. Figurnov and A. Mnih, Monte Carlo Gradient Estimation in Machine Learning, Journal of Machine
Learning Research 21, 2020.
"""

import argparse
from pathlib import Path

import numpy as np

import mcgrad as mg

FUNCTIONS = {
    "(x - k)$^2$": (lambda z, *, k: (z - k) ** 2, np.linspace(-3, 3, 13)),
    "exp(-k x$^2$)": (lambda z, *, k: np.exp(-k * z**2), np.geomspace(0.02, 10, 13)),
    "cos(k x)": (lambda z, *, k: np.cos(k * z), np.geomspace(0.05, 5, 13)),
}
METHODS = {"score": "score function", "pathwise": "pathwise", "measure_valued": "measure-valued, coupled"}
PARAMETERS = {"loc": r"$\mu$", "scale": r"$\sigma$"}


def variances(f, ks, n, backend="auto"):
    """Variance of one draw by method and parameter, one number for each k."""
    found = {method: {path: [] for path in PARAMETERS} for method in METHODS}
    for method in METHODS:
        estimator = mg.Estimator(
            f, mg.Normal(1.0, 1.0), params={"k": 1.0}, wrt=list(PARAMETERS), method=method, backend=backend
        )
        for k in ks:
            est = estimator(n, k=k)
            for path in PARAMETERS:
                found[method][path].append(n * est.grad_stderr[path] ** 2)
    return found


def plot(found, path):
    """A row for each parameter, a column for each function."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    for row, (parameter, symbol) in zip(figure.subplots(2, 3), PARAMETERS.items(), strict=True):
        for axes, (name, (_, ks)) in zip(row, FUNCTIONS.items(), strict=True):
            for method, label in METHODS.items():
                y = np.array(found[name][method][parameter])
                axes.plot(ks, np.where(y > 1e-12, y, np.nan), "o-", markersize=3, label=label)
            axes.set(yscale="log", xscale="linear" if ks[0] < 0 else "log", title=name if parameter == "loc" else "")
            axes.set_xlabel("k")
        row[0].set_ylabel(f"variance of the gradient in {symbol}")
    row[0].legend(fontsize="small")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="draws for each point")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--plot", metavar="FILE", help="where to draw the figure (needs matplotlib)")
    args = parser.parse_args(argv)
    found = {name: variances(f, ks, args.n, args.backend) for name, (f, ks) in FUNCTIONS.items()}
    for name, (_, ks) in FUNCTIONS.items():
        for parameter in PARAMETERS:
            print(f"\nvariance of one draw of d E {name.replace('$', '')} / d {parameter}")
            print(f"  {'k':>8} " + " ".join(f"{label:>24}" for label in METHODS.values()))
            for i, k in enumerate(ks):
                print(f"  {k:8.3g} " + " ".join(f"{found[name][method][parameter][i]:24.5g}" for method in METHODS))
    if args.plot:
        plot(found, args.plot)
    return found


if __name__ == "__main__":
    main()
