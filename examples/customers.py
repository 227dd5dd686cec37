"""A queue with one server, and how its waits depend on the rates: gradients through 1,000 customers.

Customers come at random times and are served one after the other. By Lindley's recursion the wait of the next is the
wait of this one, plus the time of its service, minus the time until the next comes, and at least zero. `mg.scan` steps
over the customers. With exponential times the waits tend to a distribution with the mean
arrivals / (services (services - arrivals)) (queue M/M/1): the wait of the last customer, and its derivatives, are held
against it, z being the error in standard errors.

    python examples/customers.py [--n DRAWS]
"""

import argparse

import numpy as np

import mcgrad as mg

CUSTOMERS = 1_000
RATES = {"arrivals": 0.5, "services": 1.0}  # a unit of time


def last_wait(z, *, arrivals, services):
    """The wait of the last customer; z has exponential numbers of mean 1, a gap and a service for each."""

    def step(wait, x):
        gap, service = x
        return np.maximum(wait + service / services - gap / arrivals, 0.0), None

    wait, _ = mg.scan(step, 0.0, (z["gap"], z["service"]))
    return wait


def formula(arrivals, services):
    """The mean wait, and its derivatives in both rates."""
    slack = services - arrivals
    return {
        "wait": arrivals / (services * slack),
        "arrivals": 1.0 / slack**2,
        "services": -arrivals * (2.0 * services - arrivals) / (services * slack) ** 2,
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="queues")
    n = parser.parse_args(argv).n
    ones = np.ones(CUSTOMERS)
    q = mg.Joint(gap=mg.Exponential(ones), service=mg.Exponential(ones))
    est = mg.estimate(last_wait, q, n, params=RATES, wrt=list(RATES), dtype="float32")
    exact = formula(**RATES)
    found = {"wait": (est.value, est.stderr)} | {name: (est.grad[name], est.grad_stderr[name]) for name in RATES}
    print(f"the last of {CUSTOMERS:,} customers, {n:,} queues, {est.seconds:.2f} s")
    print(f"  {'':15} {'estimate':>10} {'std. error':>11} {'formula':>9} {'z':>6}")
    z = {name: (center - exact[name]) / error for name, (center, error) in found.items()}
    for name, (center, error) in found.items():
        title = name if name == "wait" else f"d wait/{name}"
        print(f"  {title:15} {center:10.4f} {error:11.4f} {exact[name]:9.4f} {z[name]:6.2f}")
    return z


if __name__ == "__main__":
    main()
