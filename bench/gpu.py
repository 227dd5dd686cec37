"""All libraries on one GPU: interleaved rounds, device times, a table against peers and bounds, in bench/results/.

python bench/gpu.py                     # some eight minutes; results are written after every problem
python bench/gpu.py --problems scalar rosenbrock10 --dtype float32
python bench/gpu.py --dry-run           # on the CPU, small: does the peers' code run, are its answers right?
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from check import DRAWS, largest_z
from clock import Clock, graphics
from compare import device as processor
from gpu_worker import cases
from peers.gpu import PEERS
from references import expected
from throughput import CHIPS

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ORDER = ["noise", "scalar", "rosenbrock10", "chain100", "logistic", "asian", "fullcov50"]
PLAIN, WITH = ("torch", "jax", "cupy"), ("torch-se", "jax-se", "cupy-se")  # without and with standard errors


class Peer:
    """A worker process, asked and answering in JSON."""

    def __init__(self, name, dry):
        self.name = name
        environment = os.environ | {"BENCH_DEVICE": "cpu" if dry else "cuda"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "gpu_worker.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_STDERR") else subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        first = self.answer()
        self.version, self.unavailable = first.get("version", ""), first.get("unavailable") or first.get("failed", "")

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": f"{self.name}: its process ended"}

    def ask(self, what, **details):
        try:
            self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
            self.process.stdin.flush()
        except OSError:
            return {"failed": f"{self.name}: its process has ended"}
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()


def bounds(card):
    """Most draws a second of each problem and dtype on a card: of the newest SASS table with it, at the top clock."""
    tables = sorted(RESULTS.glob("sass-*.json"))
    chip = CHIPS.get(tuple(card["cc"])) if card and "cc" in card else None
    if not tables or chip is None or not card["most"]:
        return {}
    faster = card["processors"] * card["most"] * 1e6 / (chip.processors * chip.clock)
    rows = [row for table in tables for row in json.loads(table.read_text())["rows"]]
    return {(r["problem"], r["dtype"]): r["bound"] * faster for r in rows if r["cc"] == f"sm_{chip.cc[0]}{chip.cc[1]}"}


def checked(problem, ready, known):
    """Largest z-score of an answer's means, and the largest relative error of its variances, or None."""
    n, totals = ready["checked"], ready["totals"]
    value, grads = totals[""][0] / n, {k: np.asarray(x[0]) / n for k, x in totals.items() if k}
    z = largest_z(replace(problem, draws={"": n}), "", (value, grads), known)
    errors = []
    for name, (_, variance) in known.items():
        sums, squares = totals[name]
        if squares is not None:
            found, right = np.asarray(squares) / n - (np.asarray(sums) / n) ** 2, np.asarray(variance)
            errors.append(np.max(np.abs(found - right)[right > 0] / right[right > 0], initial=0.0))
    return z, float(max(errors)) if errors else None


def prepare(problem, dtype, crew, known, budget, check):
    """Compile in all processes at once, then calibrate one after the other.

    Returns the peers that can be timed, and rows, also of those that cannot.
    """
    what = {"problem": problem.name, "dtype": dtype, "budget": budget, "check": check}
    with ThreadPoolExecutor(len(crew)) as pool:
        compiled = list(pool.map(lambda peer: peer.ask("compile", **what), crew))
    able, rows = [], []
    for peer, made in zip(crew, compiled, strict=True):
        ready = made if "variants" not in made else peer.ask("tune", check=check)
        row = {"problem": problem.name, "dtype": dtype, "peer": peer.name}
        if "totals" not in ready:
            row["reason"] = ready.get("failed") or ready.get("unavailable")
            print(f"  {peer.name:9} {row['reason']}", flush=True)
        else:
            z, spread = checked(problem, ready, known)
            row |= {"z": z, "variance_error": spread, "compile_s": made["seconds"], "variants": made["variants"]}
            row |= {name: ready[name] for name in ("variant", "chunk", "draws")}
            row |= {"refused": made["refused"] + ready["refused"], "wrong": z > 6 or (spread or 0) > 0.3}
            print(
                f"  {peer.name:9} z {z:.1f}{' WRONG' * row['wrong']}, {made['seconds']:.0f} s to compile, "
                f"variant {row['variant']} of {row['variants']}, chunks of {row['chunk']:,}",
                flush=True,
            )
            able.append((peer, row))
        rows.append(row)
    return able, rows


def time_them(able, rounds, calls):
    """A B C A B C ...: best and median of all calls, and the clock while they ran."""
    times, clocks = {peer.name: [] for peer, _ in able}, {peer.name: [] for peer, _ in able}
    with Clock() as clock:
        for k in range(rounds):
            for peer, _ in able:
                before = len(clock.samples)
                times[peer.name] += peer.ask("round", calls=calls, seed=100 * (k + 1)).get("times", [])
                clocks[peer.name].append(clock.summary(before).get("clock"))
    for peer, row in able:
        if times[peer.name]:
            row["best"] = row["draws"] / min(times[peer.name])
            row["median"] = row["draws"] / statistics.median(times[peer.name])
        seen = [x for x in clocks[peer.name] if x is not None]
        row["clock"] = statistics.median(seen) if seen else None


def ratio(rates, names):
    """mcgrad over the best of some peers, as text."""
    there = {name: rates[name] for name in names if name in rates}
    if "mcgrad" not in rates or not there:
        return "-"
    rival = max(there, key=there.get)
    return f"{rates['mcgrad'] / there[rival]:.1f} ({rival})"


def table(rows, limits):
    """Markdown: best draws/s of every peer, ratios, and the share of the bound; a wrong answer counts for nothing."""
    names = [name for name in PEERS if any(row["peer"] == name and "best" in row for row in rows)]
    heads = [*names, "mcgrad / best without errors", "mcgrad / best with", "bound", "share"]
    lines = [f"| problem | dtype | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    for key in dict.fromkeys((row["problem"], row["dtype"]) for row in rows):
        mine = [row for row in rows if (row["problem"], row["dtype"]) == key and "best" in row and not row["wrong"]]
        rates, limit = {row["peer"]: row["best"] for row in mine}, limits.get(key)
        cells = [f"{rates[name]:.2e}" if name in rates else "-" for name in names]
        cells += [ratio(rates, PLAIN), ratio(rates, WITH), f"{limit:.2e}" if limit else "-"]
        cells.append(f"{rates['mcgrad'] / limit:.0%}" if limit and "mcgrad" in rates else "-")
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def text(result, limits):
    """The results as Markdown."""
    versions = ", ".join(result["versions"].values())
    parts = [
        f"# GPU: {result['device']}, {result['date']}",
        f"{versions}. Draws a second, best of the calls; device time by events (JAX: wall time of calls of at least "
        "50 ms, to their end); every peer by the fastest of its variants and chunks. `-se` computes sums of squares, "
        "too, as mcgrad does. How: `../README.md`.",
        table(result["rows"], limits),
    ]
    failed = [f"- {r['problem']} {r['dtype']} {r['peer']}: {r['reason']}" for r in result["rows"] if "reason" in r]
    wrong = [f"- {r['problem']} {r['dtype']} {r['peer']}: z = {r['z']:.1f}" for r in result["rows"] if r.get("wrong")]
    missing = [f"- {name}: {reason}" for name, reason in result["unavailable"].items()]
    left = failed + wrong + missing
    return "\n\n".join([*parts, *(["Left out:", "\n".join(left)] if left else [])]) + "\n"


def write(result, limits, stem):
    stem.with_suffix(".md").write_text(text(result, limits))
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=ORDER, default=ORDER)
    parser.add_argument("--dtype", nargs="+", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--calls", type=int, default=2, help="of each peer in a round")
    parser.add_argument("--variants", type=float, default=8, help="seconds after which a peer tries no other variant")
    parser.add_argument("--check", type=int, default=DRAWS, help="draws of the answers that are checked, at least")
    parser.add_argument("--minutes", type=float, default=7.5, help="after which no other problem is begun")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, to see whether everything runs")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results go")
    parser.add_argument("--name", help="of the result files; default gpu-<date>-<device>")
    return parser.parse_args()


def main():
    args, start = options(), time.perf_counter()
    card = None if args.dry_run else graphics()
    if card is None and not args.dry_run:
        sys.exit("nvidia-smi shows no GPU here (--dry-run runs on the CPU)")
    name = card["name"] if card else processor()
    with ThreadPoolExecutor(len(args.peers)) as pool:
        crew = list(pool.map(lambda name: Peer(name, args.dry_run), args.peers))
    result = {
        "date": datetime.date.today().isoformat(),
        "device": name,
        "card": card,
        "versions": {peer.name: peer.version for peer in crew if not peer.unavailable},
        "unavailable": {peer.name: peer.unavailable for peer in crew if peer.unavailable},
        "rows": [],
    }
    print(name, result["versions"], result["unavailable"], sep="\n", flush=True)
    crew = [peer for peer in crew if not peer.unavailable]
    if card:
        ours = next((peer for peer in crew if peer.name == "mcgrad"), None)
        card |= ours.ask("device") if ours else {}
    limits = bounds(card)
    short = re.sub(r"\W+", "-", name.replace("NVIDIA", "").strip()).lower()
    stem = args.folder / (args.name or f"gpu-{result['date']}-{'dry-run' if args.dry_run else short}")
    for dtype in args.dtype:
        for problem in (cases()[name] for name in args.problems):
            if (time.perf_counter() - start) / 60 > args.minutes:
                print(f"no time for {problem.name} {dtype}", flush=True)
                continue
            print(f"{problem.name} {dtype}", flush=True)
            mine = [peer for peer in crew if problem.name != "noise" or peer.name == "mcgrad"]
            able, rows = prepare(problem, dtype, mine, expected(problem), args.variants, args.check)
            time_them(able, args.rounds, args.calls)
            result["rows"] += rows
            for peer in mine:
                peer.ask("drop")
            write(result, limits, stem)
    for peer in crew:
        peer.close()
    print(table(result["rows"], limits), f"{time.perf_counter() - start:.0f} s; {stem}.md", sep="\n")
    sys.exit(any(row.get("wrong") for row in result["rows"]))


if __name__ == "__main__":
    main()
