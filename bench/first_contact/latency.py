"""How long a warm call takes, from n = 64 to a million draws, on the device and on this machine's processors.

python bench/first_contact/latency.py FILE      # adds to what `speed.py` wrote
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from gpu_worker import cases
from peers.gpu.mcgrad_job import estimator

SIZES = [64, 256, 1024, 4096, 16384, 65536, 262_144, 1_000_000]
PROBLEMS = ("scalar", "rosenbrock10", "logistic")


def calls(compiled, n, changes, seconds):
    """Times of calls with new parameters, for some seconds; three at least."""
    times, end = [], time.perf_counter() + seconds
    compiled(n, seed=0, **changes)
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        compiled(n, seed=len(times), **changes)
        times.append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each size")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="draws")
    args = parser.parse_args()
    sizes, rows = [n for n in SIZES if n <= args.most], []
    for name in PROBLEMS:
        problem = cases()[name]
        for backend in ("cuda", "cpu"):
            compiled = estimator(problem, "float32", backend=backend)
            for n in sizes:
                times = calls(compiled, n, problem.cast("float32")[0], args.seconds)
                row = {"problem": name, "backend": backend, "n": n, "calls": len(times)}
                rows.append(row | {"best": min(times), "median": statistics.median(times)})
            medians = ", ".join(f"{row['median'] * 1e6:.0f}" for row in rows[-len(sizes) :])
            print(f"{name:14}{backend:6}{medians} us", flush=True)
            kept = json.loads(args.file.read_text()) if args.file.exists() else {}
            args.file.write_text(json.dumps(kept | {"latency": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
