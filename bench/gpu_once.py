"""Kernels once on the GPU, few draws, for compute-sanitizer and Nsight Compute to watch.

python bench/gpu_once.py                                        # all problems, and the variants that look at draws
python bench/gpu_once.py --problems logistic --dtype float32    # one, and those
"""

import argparse

import numpy as np
from gpu_worker import cases
from peers.gpu.mcgrad_job import estimator

import mcgrad as mg

CHUNKS = 1  # whole ones; then a part of one: every draw takes long under a sanitizer
REST = 5  # draws


def run(name, dtype, chunks):
    """One call: the kernel over so many chunks and a few draws, and the one that adds them up."""
    compiled = estimator(cases()[name], dtype)
    n = chunks * compiled._kernel.block + REST
    found = compiled(n, seed=1, first=3)
    print(name, dtype, n, found.value, found.stderr, flush=True)


def checked():
    """The variants that look at every draw, of a small kernel and of one in blocks."""
    rows = np.random.default_rng(1).standard_normal((40, 6))
    small = mg.Estimator(lambda z: 1 / (z - z), mg.Normal(0.0, 1.0), backend="cuda", nonfinite="omit")
    blocks = mg.Estimator(
        lambda z, *, X: np.sum(np.logaddexp(0, X @ z)) / (z[0] - z[0]),
        mg.Normal(np.zeros(6), 1.0),
        data={"X": rows},
        backend="cuda",
        nonfinite="omit",
    )
    for compiled in (small, blocks):
        print("checked", compiled(1000, seed=1).nonfinite, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=list(cases()), default=list(cases()))
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    args = parser.parse_args()
    for dtype in args.dtype:
        for name in args.problems:
            run(name, dtype, args.chunks)
    checked()


if __name__ == "__main__":
    main()
