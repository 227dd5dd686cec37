"""Time to start: importing mcgrad, the first call with an empty cache, and the first call of a second process.

python bench/startup.py
"""

import argparse
import tempfile

from fresh import fresh
from problems import problems

IMPORT = """
import json, sys, time
start = time.perf_counter()
__import__(sys.argv[1])
print(json.dumps(time.perf_counter() - start))
"""

FIRST_CALL = """
import json, sys, time
from problems import problems
start = time.perf_counter()
import numba
from numba.core.registry import cpu_target
cpu_target.typing_context.refresh()  # what Numba loads, SciPy's BLAS included, before the first function of any kind
cpu_target.target_context.refresh()
numba_import = time.perf_counter() - start
from peers.mcgrad_peer import estimator
start = time.perf_counter()
estimator(problems()[sys.argv[1]], sys.argv[2], 2)(1000)
print(json.dumps({"numba": numba_import, "call": time.perf_counter() - start}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--repeat", type=int, default=10, help="processes for each import")
    args = parser.parse_args()
    times = [(fresh(IMPORT, "numpy"), fresh(IMPORT, "mcgrad")) for _ in range(args.repeat)]
    numpy, mcgrad = (min(column) for column in zip(*times, strict=True))
    print(f"import numpy {numpy * 1e3:.0f} ms, import mcgrad {mcgrad * 1e3:.0f} ms: {mcgrad / numpy:.2f} times")
    print("| problem | dtype | first call, empty cache (s) | second process (s) | besides: loading Numba (s) |")
    print("|---|---|---:|---:|---:|")
    for name in problems():
        for dtype in args.dtype:
            with tempfile.TemporaryDirectory() as folder:
                first = fresh(FIRST_CALL, name, dtype, MCGRAD_CACHE_DIR=folder)
                later = [fresh(FIRST_CALL, name, dtype, MCGRAD_CACHE_DIR=folder) for _ in range(2)]
            second = min(later, key=lambda t: t["call"])
            cells = [f"{t:.2f}" for t in (first["call"], second["call"], second["numba"])]
            print(f"| {name} | {dtype} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
