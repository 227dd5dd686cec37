"""Coverage of the intervals of estimates over replicates of Sobol' points: the table of docs/sobol.md.

    python bench/point_coverage.py [--seeds 1000] [--scramble matrix] [--points 16 256 4096] [--problems NAME ...]

The problems are those of `until.py`, with closed forms. An interval of 95% covers the true number of a component, or
does not; the error of a coverage of 95% over 1,000 seeds is 0.7%. "Least" is the component that is covered least,
"mean" the mean over the value and all components of the gradient.
"""

import argparse

import numpy as np
from until import PROBLEMS

REPLICATES = (8, 16, 32)
POINTS = (16, 256, 4096)  # of a replicate, by default


def coverage(estimator, exact, n, seeds):
    """Return how often the interval of each component covers."""
    hits = np.zeros(len(exact))
    for seed in range(seeds):
        found = estimator(n, seed).confidence_interval(0.95)
        low, high = (np.concatenate([np.ravel(x[i]) for x in [found.value, *found.grad.values()]]) for i in (0, 1))
        hits += (low <= exact) & (exact <= high)
    return hits / seeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--scramble", default="matrix")
    parser.add_argument("--points", type=int, nargs="+", default=POINTS, help="of a replicate")
    parser.add_argument("--problems", nargs="+", default=[*PROBLEMS], choices=[*PROBLEMS], metavar="NAME")
    args = parser.parse_args()
    heads = [f"{count} replicates: least, mean" for count in REPLICATES]
    print(f"| {args.scramble} scramble | points | {' | '.join(heads)} |")
    print("| --- | ---: | --- | --- | --- |")
    for name in args.problems:
        make, lines = PROBLEMS[name], {points: [] for points in args.points}
        for replicates in REPLICATES:
            options = {"sampler": "sobol", "replicates": replicates, "scramble": args.scramble}
            estimator, exact = make(dtype="float64", backend="cpu", threads=1, **options)
            for points in args.points:
                found = coverage(estimator, np.array(exact), replicates * points, args.seeds)
                lines[points].append(f"{found.min():.1%}, {found.mean():.1%}")
        for points, cells in lines.items():
            print(f"| {name} | {points:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
