"""The method in one dimension: z ~ Normal(mu(x), sigma(x)), f(z) = sin(z), and a gradient that has a closed form.

    mu(x) = a + b x        sigma(x) = exp(c + d x)

Each x is a row of a batch, the four parameters are shared. The expected value of sin(z) is exp(-sigma^2 / 2) sin(mu),
so the gradient in a, b, c and d of its sum over the rows is known. Printed are estimates by the pathwise and the
score-function method with z, the error in standard errors; the figure has the standard deviation of each method's
gradient in mu and in sigma, of one draw, against sigma.

    python examples/one_dimension.py [--n DRAWS] [--figure FILE]
"""

import argparse

import numpy as np

import mcgrad as mg

X = np.linspace(-1.0, 1.0, 40)
PHI = {"a": 0.3, "b": 0.8, "c": -0.5, "d": 0.4}
METHODS = ("pathwise", "score")


def draw(eps, *, a, b, c, d, x):
    """z of one row: the reparameterization."""
    return a + b * x + np.exp(c + d * x) * eps


def log_prob(z, *, a, b, c, d, x):
    """The log density of z, which the score-function method needs."""
    log_sigma = c + d * x
    return -0.5 * ((z - a - b * x) / np.exp(log_sigma)) ** 2 - log_sigma - 0.5 * np.log(2 * np.pi)


def distribution(x=X, **phi):
    """The distributions of all rows."""
    return mg.Reparameterized(
        draw, params={**PHI, **phi, "x": x}, noise=mg.noise.normal(), log_prob=log_prob, batch_ndim=1
    )


def exact(x=X, a=PHI["a"], b=PHI["b"], c=PHI["c"], d=PHI["d"]):
    """The sum over the rows of E sin(z), and its gradient."""
    mu, sigma = a + b * x, np.exp(c + d * x)
    damping = np.exp(-0.5 * sigma**2)
    by_mu, by_sigma = damping * np.cos(mu), -sigma * damping * np.sin(mu)
    gradient = {"a": by_mu, "b": by_mu * x, "c": by_sigma * sigma, "d": by_sigma * sigma * x}
    return float((damping * np.sin(mu)).sum()), {name: float(terms.sum()) for name, terms in gradient.items()}


def estimates(n, seed=0):
    """Estimate the gradient in the four parameters by each method."""
    return {
        method: mg.estimate(np.sin, distribution(), n, wrt=list(PHI), method=method, reduce="sum", seed=seed)
        for method in METHODS
    }


def deviations(sigmas, n=20_000):
    """Standard deviations, of one draw, of each method's gradient in mu and sigma, at mu = 0.3, by sigma."""
    q = mg.Normal(np.full(len(sigmas), 0.3), sigmas, batch_ndim=1)
    found = {method: mg.estimate(np.sin, q, n, method=method).grad_stderr for method in METHODS}
    return {method: {name: np.sqrt(n) * x for name, x in stderr.items()} for method, stderr in found.items()}


def figure(file):
    """Draw the deviations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    sigmas = np.geomspace(0.03, 3.0, 60)
    fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    for color, (method, by_name) in enumerate(deviations(sigmas).items()):
        for (name, deviation), style in zip(by_name.items(), ("-", "--"), strict=True):
            ax.loglog(sigmas, deviation, style, color=f"C{color}", label=f"{method}, in {name}")
    ax.set(xlabel="sigma", ylabel="standard deviation of one draw's gradient", title="E sin(z), z ~ Normal(0.3, sigma)")
    ax.legend()
    fig.savefig(file, dpi=100)
    plt.close(fig)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10_000, help="draws a row")
    parser.add_argument("--figure", help="PNG file to write")
    options = parser.parse_args(argv)
    value, gradient = exact()
    for method, est in estimates(options.n).items():
        print(f"{method}, {len(X)} rows of {options.n:,} draws, in {est.seconds:.3f} s")
        print(f"  {'':5} {'estimate':>10} {'std. error':>11} {'exact':>10} {'z':>6}")
        rows = {"value": (est.value, est.stderr, value)}
        rows |= {name: (est.grad[name], est.grad_stderr[name], gradient[name]) for name in PHI}
        for name, (center, error, right) in rows.items():
            print(f"  {name:5} {center:10.5f} {error:11.5f} {right:10.5f} {(center - right) / error:6.2f}")
    if options.figure:
        figure(options.figure)


if __name__ == "__main__":
    main()
