"""A Kalman filter whose covariance draws change: what it takes to compile in one function and in sections, and to run.

    python bench/filters.py [--only scan loop] [--steps 50] [--repeats 5]

Four states, two observations, 50 steps; gradients in the six parameters of three draws. Written with `mg.scan`, and as
a Python loop. Each row is a process of its own with an empty cache: seconds of a processor for tracing, for compiling
with a first call, and microseconds of a processor a draw, the best of some calls on one thread.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

import mcgrad as mg
from mcgrad.codegen.cpu import sections

DRAWS = 6400


def step_of(z):
    """A step of the filter: of a target that slows down, its place observed."""
    slowing, moved, seen = np.exp(z)
    ahead = np.eye(4) + 0.1 * np.eye(4, k=2)
    observed = np.eye(2, 4)

    def step(carry, y):
        mean, cov, total = carry
        a = ahead - 0.1 * slowing * np.eye(4)
        mean, cov = a @ mean, a @ cov @ a.T + moved * np.eye(4)
        s = observed @ cov @ observed.T + seen * np.eye(2)
        gain, error = np.linalg.solve(s, observed @ cov).T, y - observed @ mean
        total = total - 0.5 * (error @ np.linalg.solve(s, error) + np.linalg.slogdet(s)[1])
        return (mean + gain @ error, cov - gain @ s @ gain.T, total), None

    return step


def scan(z, *, ys):
    """The log likelihood, up to a constant, by `mg.scan`."""
    return mg.scan(step_of(z), (np.zeros(4), np.eye(4), 0.0), ys)[0][2]


def loop(z, *, ys):
    """The same by a Python loop."""
    step, carry = step_of(z), (np.zeros(4), np.eye(4), 0.0)
    for t in range(len(ys)):
        carry, _ = step(carry, ys[t])
    return carry[2]


def row(f, steps, repeats):
    """Trace, compile and run one; return its columns."""
    ys = np.random.default_rng(0).normal(size=(steps, 2))
    times = [time.process_time()]
    made = mg.Estimator(f, mg.Normal(np.zeros(3), 0.1), data={"ys": ys}, backend="cpu", threads=1)
    times.append(time.process_time())
    made(DRAWS, seed=0)
    times.append(time.process_time())
    best = np.inf
    for seed in range(repeats):
        begin = time.process_time()
        made(DRAWS, seed=seed)
        best = min(best, time.process_time() - begin)
    traced, compiled = np.diff(times)
    return f"{traced:.1f} | {compiled:.1f} | {best / DRAWS * 1e6:.2f}"


def main() -> None:
    """Print the table, or one row of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WRITTEN, default=list(WRITTEN))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--row", nargs=2, metavar=("NAME", "HOW"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        name, how = args.row
        sections.LONG = sections.LONG if how == "sections" else 10**9
        print(f"| {name} | {how} | {row(WRITTEN[name], args.steps, args.repeats)} |")
        return
    print(
        "| written with | compiled as | trace s | compile s | us a draw |\n| --- | --- | ---: | ---: | ---: |",
        flush=True,
    )
    given = ["--steps", str(args.steps), "--repeats", str(args.repeats)]
    for name in args.only:
        for how in ("one function", "sections"):
            with tempfile.TemporaryDirectory() as folder:
                surroundings = {**os.environ, "MCGRAD_CACHE_DIR": folder}
                command = [sys.executable, __file__, *given, "--row", name, how]
                subprocess.run(command, env=surroundings, check=True)


WRITTEN = {"scan": scan, "loop": loop}

if __name__ == "__main__":
    main()
