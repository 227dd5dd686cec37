"""A particle in a double well at some temperature: an average over 10,000 steps, and its derivative in the temperature.

dx = -U'(x) dt + sqrt(2 temperature) dW has the stationary density exp(-U(x) / temperature), up to a factor. The scheme
of Leimkuhler and Matthews (Rational construction of stochastic numerical methods for molecular sampling, Applied
Mathematics Research eXpress 2013) is Euler's with the mean of two neighbouring normals, and has the right averages but
for terms of second order in the step. The average of x^2 over the second half of a path is held against the integral
over the density; its derivative in the temperature is a covariance under the density. z is the error in standard
errors.

    python examples/double_well.py [--n DRAWS]
"""

import argparse

import numpy as np

import mcgrad as mg

STEPS, DT = 10_000, 0.02
AT = {"temperature": 0.5}


def potential(x):
    return 0.25 * (x**2 - 1.0) ** 2


def mean_square(z, *, temperature):
    """The average of x^2 over the second half of a path, which begins in the left well."""
    counts = np.arange(STEPS) >= STEPS // 2
    size = np.sqrt(2.0 * temperature * DT)

    def step(carry, given):
        x, before = carry
        noise, is_counted = given
        x = x - x * (x**2 - 1.0) * DT + size * 0.5 * (before + noise)
        return (x, noise), np.where(is_counted, x**2, 0.0)

    _, total = mg.scan(step, (-1.0, 0.0), (z, counts), reduce="sum")
    return total / (STEPS - STEPS // 2)


def integrals(temperature):
    """The mean of x^2 under the density, and its derivative in the temperature: Cov(x^2, U) / temperature^2."""
    x = np.linspace(-6.0, 6.0, 20_001)
    weights = np.exp(-potential(x) / temperature)
    weights /= weights.sum()
    mean = weights @ x**2
    return {"mean": mean, "temperature": weights @ ((x**2 - mean) * potential(x)) / temperature**2}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10_000, help="paths")
    n = parser.parse_args(argv).n
    q = mg.Normal(np.zeros(STEPS), 1.0)
    est = mg.estimate(mean_square, q, n, params=AT, wrt="temperature", dtype="float32")
    exact = integrals(**AT)
    found = {"mean": (est.value, est.stderr), "temperature": (est.grad["temperature"], est.grad_stderr["temperature"])}
    print(f"{STEPS:,} steps, {n:,} paths, {est.seconds:.2f} s: {n * STEPS / est.seconds:.2g} steps a second")
    print(f"  {'':22} {'estimate':>9} {'std. error':>11} {'integral':>9} {'z':>6}")
    z = {name: (center - exact[name]) / error for name, (center, error) in found.items()}
    for name, (center, error) in found.items():
        title = "mean of x^2" if name == "mean" else "d mean / d temperature"
        print(f"  {title:22} {center:9.5f} {error:11.5f} {exact[name]:9.5f} {z[name]:6.2f}")
    return z


if __name__ == "__main__":
    main()
