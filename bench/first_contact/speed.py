"""mcgrad alone: draws a second of every problem, the clock while they ran, and the share of the bound at that clock.

python bench/first_contact/speed.py FILE        # writes JSON after every problem
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from clock import Clock, graphics
from gpu import ORDER, bounds
from gpu_worker import Worker, cases, rounds_for
from loop_problems import loop_problems

CALL = 0.05  # seconds of a timed call, at least


def measure(worker, name, dtype, seconds):
    """Rates of calls for some seconds, with the clock's samples of that time."""
    job = worker.jobs(cases()[name], dtype)[0]()
    job.run(1, 1)
    rounds, times, end = rounds_for(job, CALL), [], time.perf_counter() + seconds
    with Clock() as clock:
        while time.perf_counter() < end or len(times) < 2:
            times.append(job.seconds(len(times), rounds))
    draws = job.chunk * rounds
    rates = {"best": draws / min(times), "median": draws / statistics.median(times)}
    return {"problem": name, "dtype": dtype, "draws": draws, "calls": len(times), **rates, **clock.summary()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each problem and dtype")
    args = parser.parse_args()
    worker = Worker("mcgrad")
    card = {**(graphics() or {"name": "unknown", "most": None}), **worker.device()}
    limits, rows = bounds(card), []
    for dtype in ("float32", "float64"):
        for name in [*ORDER, *loop_problems()]:
            row = measure(worker, name, dtype, args.seconds)
            limit = limits.get((name, dtype))
            if limit:
                row["bound"] = limit * (row.get("clock") or card["most"]) / card["most"]
                row["share"] = row["best"] / row["bound"]
            rows.append(row)
            print(f"{name:14}{dtype:9}{row['best']:.2e}/s, clock {row.get('clock')} MHz", flush=True)
            args.file.write_text(json.dumps({"card": card, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
