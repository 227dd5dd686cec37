"""An inventory filled up to a level once it falls below another: the cost of a policy (s, S), and its gradient.

Each period begins with a look at the stock: below `reorder` it is filled up to reorder + gap, which costs a fee. Then a
random demand takes from it; what is left costs for storage, what is missing more. `mg.scan` steps over the periods.

Moving `reorder` moves all stocks alike, and no order to another period: the pathwise derivative is right (Fu, Sample
path derivatives for (s, S) inventory systems, Operations Research 42, 1994). In `gap` the cost jumps
where an order comes a period sooner: there it is the method of differences, from the same draws. For exponential demand
the mean cost of a period has a formula, by the renewal function; z is the error in standard errors.

    python examples/inventory.py [--n DRAWS]
"""

import argparse

import numpy as np

import mcgrad as mg

PERIODS, FEE, STORAGE, PENALTY = 60, 20.0, 1.0, 9.0
POLICY = {"reorder": 8.0, "gap": 25.0}
DEMAND = 5.0  # its mean
METHODS = {"reorder": "pathwise", "gap": "difference"}


def cost(demands, *, reorder, gap):
    """The cost of the last period. Stocks are counted from `reorder`, so that all steps are those of any `reorder`."""

    def step(above, demand):
        orders = above < 0.0
        filled = np.where(orders, gap, above)
        left = filled - demand
        stock = left + reorder
        return left, FEE * orders + STORAGE * np.maximum(stock, 0.0) + PENALTY * np.maximum(-stock, 0.0)

    _, last = mg.scan(step, gap, demands, reduce="last")
    return last


def formula(reorder, gap):
    """The mean cost of a period: of stocks at the level, and between both, by the times that they are there."""
    top, demand = reorder + gap, DEMAND

    def mean(stock):  # the cost of storage and of what is missing, from some stock
        return STORAGE * (stock - demand) + (STORAGE + PENALTY) * demand * np.exp(-stock / demand)

    def integral(stock):
        return STORAGE * (0.5 * stock**2 - demand * stock) - (STORAGE + PENALTY) * demand**2 * np.exp(-stock / demand)

    between = (integral(top) - integral(reorder)) / demand
    return (FEE + mean(top) + between) / (1.0 + gap / demand)


def derivatives(step=1e-5):
    """The mean cost of a period, and its derivatives, by central differences of the formula."""
    found = {"cost": formula(**POLICY)}
    for name, at in POLICY.items():
        above, below = (formula(**{**POLICY, name: at + h}) for h in (step, -step))
        found[name] = (above - below) / (2 * step)
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="sequences of demands")
    n = parser.parse_args(argv).n
    q = mg.Exponential(np.full(PERIODS, 1.0 / DEMAND))
    est = mg.estimate(cost, q, n, params=POLICY, wrt=list(METHODS), method=METHODS)
    exact = derivatives()
    found = {"cost": (est.value, est.stderr)} | {name: (est.grad[name], est.grad_stderr[name]) for name in POLICY}
    print(f"period {PERIODS}, {n:,} sequences of demands, {est.seconds:.2f} s")
    print(f"  {'':15} {'estimate':>10} {'std. error':>11} {'formula':>9} {'z':>6}  method")
    z = {name: (center - exact[name]) / error for name, (center, error) in found.items()}
    for name, (center, error) in found.items():
        title = name if name == "cost" else f"d cost/{name}"
        method = METHODS.get(name, "")
        print(f"  {title:15} {center:10.4f} {error:11.4f} {exact[name]:9.4f} {z[name]:6.2f}  {method}")
    return z


if __name__ == "__main__":
    main()
