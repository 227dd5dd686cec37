"""Every problem in both dtypes on the device, three chunks and five draws, against NumPy on the same draws.

A problem a process, as many at once as there are processors: most of the time is compilation.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy as np
from gpu_worker import cases
from peers.gpu.mcgrad_job import estimator

import mcgrad as mg

SEED, FIRST, AT_ONCE = 7, 3, 8
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}


def leaves(estimate):
    """Value, gradients and standard errors, one after the other."""
    both = [x for grad in (estimate.grad, estimate.grad_stderr) for x in mg.tree.flatten(grad).values()]
    return np.concatenate([np.ravel(x) for x in (estimate.value, estimate.stderr, *both)])


def compare(name, dtype):
    """Largest difference, in terms of each number's size or a thousandth of the largest one's; draws; seconds."""
    start = time.perf_counter()
    ours = estimator(cases()[name], dtype)
    if ours.backend != "cuda":
        raise RuntimeError(f"it ran on {ours.backend}")
    n = 3 * ours._kernel.block + 5
    found = leaves(ours(n, seed=SEED, first=FIRST))
    known = leaves(estimator(cases()[name], dtype, backend="numpy")(n, seed=SEED, first=FIRST))
    scale = np.maximum(np.abs(known), np.max(np.abs(known)) * 1e-3)
    return float(np.max(np.abs(found - known) / scale)), n, time.perf_counter() - start


def main():
    wrong, jobs = 0, [(name, dtype) for dtype in TOLERANCE for name in cases()]
    with ProcessPoolExecutor(min(AT_ONCE, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(compare, *job): job for job in jobs}
        for done in as_completed(asked):
            name, dtype = asked[done]
            try:
                error, n, seconds = done.result()
            except Exception as failure:
                text, good = f"{type(failure).__name__}: {failure}", False
            else:
                good = error < TOLERANCE[dtype]
                text = f"largest difference {error:.1e} over {n:,} draws, {seconds:.1f} s"
            wrong += not good
            print(f"{name:14}{dtype:9}{'right' if good else 'WRONG'}  {text}", flush=True)
    print(f"{len(jobs) - wrong} of {len(jobs)} right")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
