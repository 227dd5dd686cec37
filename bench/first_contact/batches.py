"""Rows of a batch: rows x draws a second of calls that average many, on the device and on this machine's processors.

python bench/first_contact/batches.py FILE      # adds to what `speed.py` wrote

With gradients by row, or in shared weights; all with their standard errors. On the device also the time of the launches
alone, which is what a call takes without the values by row that go there and the moments that come back.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mcgrad as mg
from mcgrad.backends.cuda import backend as cuda, row_worker

HIDDEN, SEEN = 64, 64  # units of the decoder


class Shape(NamedTuple):
    """B problems of d coordinates with n draws each."""

    rows: int
    d: int
    n: int


SHAPES = {"short": Shape(20_000, 16, 32), "long": Shape(1_000, 2, 10_000), "vae": Shape(64, 20, 32)}


def coupled(z):
    return np.sum(np.log(np.cosh(z))) + 0.5 * np.sum(z * np.roll(z, 1))


def decoder(z, w1, w2, x):
    logits = np.tanh(z @ w1) @ w2
    return np.sum(x * logits - np.logaddexp(0.0, logits))


def estimator(name, backend, shrink=1):
    """The Estimator of a shape, of fewer rows where it is to be tried only."""
    shape, rng = SHAPES[name], np.random.default_rng(0)
    rows = max(shape.rows // shrink, 1)
    q = mg.Normal(rng.normal(size=(rows, shape.d)), rng.uniform(0.5, 1.5, (rows, shape.d)), batch_ndim=1)
    given = {"dtype": "float32", "backend": backend}
    if name == "vae":
        weights = {"w1": 0.1 * rng.normal(size=(shape.d, HIDDEN)), "w2": 0.1 * rng.normal(size=(HIDDEN, SEEN))}
        data = {"x": rng.integers(2, size=(rows, SEEN)).astype(float)}
        return mg.Estimator(decoder, q, params=weights, data=data, batched_data="x", **given)
    return mg.Estimator(coupled, q, **given)


def launches():
    """Note how long the calls of workers take."""
    times, run = [], row_worker.RowWorker.run

    def timed(self, *arguments):
        start = time.perf_counter()
        found = run(self, *arguments)
        times.append(time.perf_counter() - start)
        return found

    row_worker.RowWorker.run = timed
    return times


def calls(compiled, n, seconds, inside):
    """Times of calls for some seconds, two at least, and of the launches in them."""
    compiled(n, seed=0)
    whole, launched, end = [], [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(whole) < 2:
        inside.clear()
        start = time.perf_counter()
        compiled(n, seed=len(whole))
        whole.append(time.perf_counter() - start)
        launched.append(sum(inside))
    return whole, launched


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each shape and backend")
    parser.add_argument(
        "--shrink", type=int, default=1, help="by how much to divide the numbers of rows, for a rehearsal"
    )
    args, inside, rows = parser.parse_args(), launches(), []
    print(cuda.describe(), flush=True)
    for name, shape in SHAPES.items():
        for backend in ("cuda", "cpu"):
            whole, launched = calls(estimator(name, backend, args.shrink), shape.n, args.seconds, inside)
            draws = max(shape.rows // args.shrink, 1) * shape.n
            row = {"shape": name, "backend": backend, "draws": draws, "calls": len(whole)}
            row |= {"best": draws / min(whole), "median": draws / statistics.median(whole)}
            row["launches"] = draws / min(launched) if min(launched) else None
            rows.append(row)
            alone = f", launches alone {row['launches']:.2e}" if row["launches"] else ""
            print(f"{name:8}{backend:6}{row['best']:.2e} rows x draws/s{alone}", flush=True)
            kept = json.loads(args.file.read_text()) if args.file.exists() else {}
            args.file.write_text(json.dumps(kept | {"batches": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
