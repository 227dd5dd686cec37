"""Peak memory: flat in the number of draws, bounded in the data. Each case in a process of its own.

python bench/memory.py
"""

import argparse

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000)
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


if __name__ == "__main__":
    main()
