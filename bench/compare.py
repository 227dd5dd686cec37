"""All peers in one run: interleaved rounds, a ratio table, a JSON file and a plot in bench/results/.

python bench/compare.py                       # six problems, all peers, float32 and float64, 2 threads
python bench/compare.py --check               # no timing: every peer's answer against the float64 reference
python bench/compare.py --problems scalar logistic --peers mcgrad drjit --dtype float32 --seconds 1
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import peers
from check import finite_difference_error, largest_z, reference
from plot import draw
from problems import problems

HERE = Path(__file__).parent
RESULTS = HERE / "results"


class Peer:
    """A worker process, asked and answering in JSON."""

    def __init__(self, name, threads):
        self.name = name
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
        )
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_STDERR") else subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        first = self.answer()
        self.version, self.unavailable = first.get("version", ""), first.get("unavailable", "")

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"unavailable": f"{self.name}: its process ended"}

    def ask(self, what, **details):
        self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def device():
    """The processor's name and the number of cores this process may use."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next(iter(re.findall(r"^model name\s*: (.*)$", info.read_text(), re.M)), model)
        flags = " ".join(re.findall(r"^flags\s*: (.*)$", info.read_text(), re.M)[:1]).split()
        model += next((f", {name}" for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return f"{model}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def measure(problem, dtype, crew, rounds, seconds, expected):
    """Rates of every peer on one problem: A B C A B C ..., best and median call over all rounds."""
    times, rows = {}, []
    for peer in crew:
        ready = peer.ask("prepare", problem=problem.name, dtype=dtype)
        if "value" not in ready:
            if "failed" in ready:
                print(f"  {peer.name:12}failed: {ready['failed']}", flush=True)
            continue
        z = largest_z(problem, dtype, (ready["value"], ready["grads"]), expected)
        times[peer.name] = []
        first = ready["seconds"]
        rows.append({"problem": problem.name, "dtype": dtype, "peer": peer.name, "first_call_s": first, "z": z})
        print(f"  {peer.name:12}first call {first:6.2f} s, largest z-score {z:.1f}{' WRONG' * (z > 6)}", flush=True)
    for k in range(rounds):
        for peer in crew:
            if peer.name in times:
                done = peer.ask("round", problem=problem.name, dtype=dtype, seconds=seconds / rounds, seed=1000 * k)
                times[peer.name] += done["times"]
    for row in rows:
        if rounds:
            row["best"] = problem.draws[dtype] / min(times[row["peer"]])
            row["median"] = problem.draws[dtype] / statistics.median(times[row["peer"]])
    for peer in crew:
        peer.ask("drop", problem=problem.name, dtype=dtype)
    return rows


def table(rows, names):
    """Markdown: best draws/s of every peer, and mcgrad over the best of the others."""
    heading = ["problem", "dtype", *names, "mcgrad / best peer"]
    lines = [f"| {' | '.join(heading)} |", "|---|---|" + "---:|" * (len(names) + 1)]
    for key in dict.fromkeys((row["problem"], row["dtype"]) for row in rows):
        rates = {row["peer"]: row["best"] for row in rows if (row["problem"], row["dtype"]) == key}
        others = {name: rate for name, rate in rates.items() if name != "mcgrad"}
        ratio = ""
        if "mcgrad" in rates and others:
            rival = max(others, key=others.get)
            ratio = f"{rates['mcgrad'] / others[rival]:.2f} ({rival})"
        cells = [f"{rates[name]:.2e}" if name in rates else "-" for name in names]
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", nargs="+", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--problems", nargs="+", choices=list(problems()), default=list(problems()))
    parser.add_argument("--peers", nargs="+", choices=list(peers.MODULES), default=list(peers.MODULES))
    parser.add_argument("--seconds", type=float, default=4, help="of timing for each peer, problem and dtype")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="only check the answers; exits with 1 where one is wrong")
    parser.add_argument("--name", help="of the result files; default cpu-<date>")
    return parser.parse_args()


def main():
    args = options()
    print(f"{device()}; {args.threads} threads", flush=True)
    crew = [Peer(name, args.threads) for name in args.peers]
    for peer in crew:
        print(f"  {peer.name:12}{peer.version or 'unavailable: ' + peer.unavailable}")
    crew = [peer for peer in crew if not peer.unavailable]
    rows, wrong = [], 0
    for problem in (problems()[name] for name in args.problems):
        expected, error = reference(problem), finite_difference_error(problem)
        wrong += error > 1e-6
        print(f"{problem.name}: d = {problem.noise}, {problem.gradients} gradients {problem.note}", flush=True)
        for dtype in args.dtype:
            print(f" {dtype}, {problem.draws[dtype]} draws a call", flush=True)
            rows += measure(problem, dtype, crew, 0 if args.check else args.rounds, args.seconds, expected)
    for peer in crew:
        peer.close()
    wrong += sum(row["z"] > 6 for row in rows)
    if args.check:
        print(f"{len(rows)} answers, {wrong} wrong")
        sys.exit(bool(wrong))
    save(args, crew, rows)


def save(args, crew, rows):
    today = datetime.date.today().isoformat()
    result = {
        "device": device(),
        "threads": args.threads,
        "date": today,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "versions": {peer.name: peer.version for peer in crew},
        "rows": rows,
    }
    text = table(rows, [peer.name for peer in crew])
    print("\n" + text)
    RESULTS.mkdir(exist_ok=True)
    name = args.name or f"cpu-{today}"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    versions = "; ".join(dict.fromkeys(result["versions"].values()))
    heading = f"{result['device']}; {args.threads} threads; {versions}; {today}"
    note = "Draws a second, best call. mcgrad also computes the standard error of every component; the others do not."
    (RESULTS / f"{name}.md").write_text(f"{heading}\n\n{note}\n\n{text}\n")
    draw(result, RESULTS / f"{args.name or 'cpu'}.png")


if __name__ == "__main__":
    main()
