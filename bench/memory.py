"""Memory: flat in the number of draws, bounded in the data and in the number of estimators.

Each case in a process of its own.

python bench/memory.py
"""

import argparse
import tempfile

import numpy as np
from fresh import fresh
from problems import problems

SCALAR = """
import json, resource, sys
from peers.mcgrad_peer import estimator
from problems import problems

run = estimator(problems()["scalar"], "float32", int(sys.argv[2]))
run(1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
est = run(int(float(sys.argv[1])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"before_mb": before / 1024, "peak_mb": peak / 1024, "seconds": est.seconds}))
"""

LOGISTIC = """
import json, resource, sys
from dataclasses import replace
import numpy as np
from peers.mcgrad_peer import estimator
from problems import problems

rows, n, problem = int(sys.argv[1]), int(sys.argv[2]), problems()["logistic"]
if rows != 569:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 31), dtype=np.float32)
    y = rng.integers(0, 2, rows).astype(np.float32)
    problem = replace(problem, data={"X": X, "y": y})
run = estimator(problem, "float32", int(sys.argv[3]))
run(64)
est = run(n, seed=1)
again = run(n, seed=2)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_mb": peak / 1024, "rate": rows * n / min(est.seconds, again.seconds)}))
"""

ESTIMATORS = """
import gc, json, sys, time
import numpy as np
import mcgrad as mg

def resident():
    gc.collect()
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

def make(c):
    f = lambda z: np.sum(np.sin(c * z) * np.cos(z))
    return mg.Estimator(f, mg.Normal(np.zeros(3), np.ones(3)), backend="cpu", threads=1)

def used(c):
    estimator = make(c)
    estimator(1000)
    return estimator

count = int(sys.argv[1])
used(0.5), used(0.25)
before, start = resident(), time.perf_counter()
estimators = [used(1 + i / 64) for i in range(count)]
seconds, alive = time.perf_counter() - start, resident()
del estimators
each = {"alive_mb": (alive - before) / count, "dropped_mb": (resident() - before) / count}
print(json.dumps(each | {"seconds": seconds / count}))
"""

INTEGRAND = """
import gc, json, sys, time
import numba
import mcgrad as mg

@numba.njit
def value(z):
    return z[0] ** 2

@numba.njit
def value_and_grad(z, grad):
    grad[0] = 2 * z[0]
    return z[0] ** 2

def resident():
    gc.collect()
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

f, q, count = mg.Integrand(value=value, value_and_grad=value_and_grad), mg.Normal(0.3, 1.2), int(sys.argv[1])
mg.estimate(f, q, 1000, backend="cpu", threads=1)
before, start = resident(), time.perf_counter()
for seed in range(count):
    mg.estimate(f, q, 1000, seed=seed, backend="cpu", threads=1)
seconds = time.perf_counter() - start
print(json.dumps({"alive_mb": (resident() - before) / count, "seconds": seconds / count}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--estimators", type=int, default=100)
    args = parser.parse_args()
    print("scalar, float32")
    for n in (1e6, 1e9):
        fresh(SCALAR, 1000, args.threads)  # compiles where the cache is empty, so that both find it full
        m = fresh(SCALAR, n, args.threads)
        more = m["peak_mb"] - m["before_mb"]
        print(f"  n = {n:.0e}: peak {m['peak_mb']:.0f} MB, {more:.1f} MB above a call of 1000; {m['seconds']:.2f} s")
    print("logistic regression, float32")
    small = fresh(LOGISTIC, 569, problems()["logistic"].draws["float32"], args.threads)
    fresh(LOGISTIC, args.rows, 64, args.threads)
    large = fresh(LOGISTIC, args.rows, 2048, args.threads)
    data = args.rows * 32 * np.dtype("float32").itemsize / 2**20
    print(f"  569 rows: peak {small['peak_mb']:.0f} MB, {small['rate']:.3g} rows x draws/s")
    above = large["peak_mb"] - data
    print(f"  {args.rows} rows: peak {large['peak_mb']:.0f} MB, {above:.0f} MB above the data's {data:.0f}")
    print(f"  {large['rate']:.3g} rows x draws/s, {large['rate'] / small['rate']:.2f} of the small problem's rate")
    print(f"{args.estimators} estimators of different problems, for each (Linux)")
    with tempfile.TemporaryDirectory() as cache:
        for how in ("compiled", "from the cache"):
            m = fresh(ESTIMATORS, args.estimators, MCGRAD_CACHE_DIR=cache)
            print(f"  {how}: {m['alive_mb']:.2f} MB, {m['dropped_mb']:.2f} MB once dropped; {m['seconds']:.3f} s")
    m = fresh(INTEGRAND, args.estimators)
    print(f"  calls of mg.estimate with one Integrand: {m['alive_mb']:.2f} MB, {m['seconds']:.4f} s")


if __name__ == "__main__":
    main()
