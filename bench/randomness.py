"""Tests of randomness over the orders in which estimates read the words of the draw contract, and over normals.

    python bench/randomness.py                          # everything that is there; writes results/randomness-DATE
    python bench/randomness.py --only streams joint --tests smallcrush dependence
    python bench/randomness.py --practrand DIR --testu01 DIR           # sources, built into a temporary folder
    python bench/randomness.py --words "many components" | RNG_test stdin32

What was measured earlier the same day stays in the file: a long run can be done in parts, one after the other or side
by side.
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

import batteries
import dependence
import normals
import numba
import numpy as np
import smallcrush
from interleavings import BLOCK, INTERLEAVINGS, blocks
from outcome import FAILURE, Missing, least
from scipy import stats

from mcgrad.system.atomic import write
from mcgrad.system.machine import processor

SOURCES = {  # functions that give words without end
    **{name: partial(blocks, interleaving) for name, interleaving in INTERLEAVINGS.items()},
    **{f"normals in {dtype}": lambda rounds, dtype=dtype: normals.words(dtype) for dtype in normals.FILL},
}
RESULTS = Path(__file__).parent / "results"
BYTES = 16 * BLOCK  # of a block
NORMALS = 10_000_000_000
BATTERIES = ("SmallCrush", "Crush", "BigCrush")


def run_smallcrush(words, options, reverse=False):
    """SmallCrush again and again, each on the words after those of the one before, until enough were read."""
    reader, found, turn = smallcrush.Reader(words, reverse), {}, 0
    while 4 * reader.read < options.gigabytes * 2**30:
        turn += 1
        found |= {f"{name} ({turn})": p for name, p in smallcrush.battery(reader).items()}
    return least(found), 4 * reader.read


def run_reversed(words, options):
    return run_smallcrush(words, options, reverse=True)


def run_dependence(words, options):
    counts, number = dependence.Counts(), int(options.gigabytes * 2**30 / BYTES)
    for block in islice(words, number):
        counts.add(block)
    return least(counts.p_values()), number * BYTES


def run_dieharder(words, options):
    program = batteries.dieharder(None, options.scratch)
    each = ([program, "-g", "200", "-d", str(test)] for test in batteries.DIEHARDER)
    return batteries.read_dieharder("".join(batteries.run(command, words) for command in each)), None


def run_practrand(words, options):
    program, size = batteries.practrand(options.practrand, options.scratch), f"{options.gigabytes:g}GB"
    output = batteries.run([str(program), "stdin32", "-tlmin", size, "-tlmax", size], words)
    return batteries.read_practrand(output), options.gigabytes * 2**30


def run_testu01(words, options):
    program = batteries.testu01(options.testu01, options.scratch)
    return batteries.read_testu01(batteries.run([str(program), options.battery], words)), None


TESTS = {  # by the name of the option
    "smallcrush": ("SmallCrush", run_smallcrush),
    "reversed": ("SmallCrush, bits reversed", run_reversed),
    "dependence": ("dependence", run_dependence),
    "dieharder": ("dieharder", run_dieharder),
    "practrand": ("PractRand", run_practrand),
    "testu01": ("TestU01", run_testu01),
}


def main():
    options = arguments()
    if options.words:
        return write_words(SOURCES[options.words](options.rounds))
    path = RESULTS / f"randomness-{datetime.date.today()}.json"
    with tempfile.TemporaryDirectory() as options.scratch:
        for name in options.only or SOURCES:
            for test in options.tests:
                found = one(name, test, options)
                if options.rounds == 10:
                    keep(path, *found)
    if options.rounds != 10:
        return 0
    for dtype in ("float32", "float64") if options.normals else ():
        keep(path, "normals", dtype, tails(dtype, options.normals))
    print(path.with_suffix(".md").read_text())
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SOURCES, metavar="NAME", help=", ".join(SOURCES))
    parser.add_argument("--tests", nargs="*", choices=TESTS, default=list(TESTS))
    parser.add_argument("--gigabytes", type=float, default=4, help="read by each test, 2^30 bytes each")
    parser.add_argument("--battery", choices=BATTERIES, default=BATTERIES[0], help="of TestU01")
    parser.add_argument("--practrand", type=Path, metavar="DIR", help="sources of PractRand, or where RNG_test is")
    parser.add_argument("--testu01", type=Path, metavar="DIR", help="sources of TestU01, or where it is installed")
    parser.add_argument("--normals", type=int, default=NORMALS, help="draws whose tails are counted; 0 for none")
    parser.add_argument("--rounds", type=int, default=10, help="of Philox; other than 10: nothing is written")
    parser.add_argument("--words", choices=SOURCES, metavar="NAME", help="write words to standard output")
    return parser.parse_args()


def write_words(words):
    """Write words as they are in memory, without end, until the reader has enough."""
    try:
        for block in words:
            sys.stdout.buffer.write(block)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's flush at exit does not fail
    return 0


def one(name, test, options):
    """Run one test on one interleaving: where the result belongs in the file, and the result or why there is none."""
    title, run = TESTS[test]
    start = time.perf_counter()
    try:
        outcome, size = run(SOURCES[name](options.rounds), options)
    except Missing as why:
        return "missing", title, str(why)
    seconds = round(time.perf_counter() - start)
    found = f"{outcome.tests} p-values, {outcome.failures} below {FAILURE}, {outcome.worst}, {seconds} s"
    print(f"{name}, {title}: {found}", file=sys.stderr, flush=True)
    return "runs", title, {name: {**asdict(outcome), "bytes": size, "seconds": seconds}}


def tails(dtype, n):
    """Counts beyond thresholds on both sides."""
    n = n // normals.LANES * normals.LANES
    above, below = normals.exceed(dtype, n)
    return {"n": n, "above": above.tolist(), "below": below.tolist()}


def keep(path, part, title, found):
    """Put a result into the file, beside those that another process may have put there meanwhile, and the table."""
    report = json.loads(path.read_text()) if path.exists() else {"runs": {}, "missing": {}, "normals": {}}
    versions = f"numpy {np.__version__}, numba {numba.__version__}, Python {sys.version.split()[0]}"
    report["machine"] = f"{processor()}; {versions}"
    report[part][title] = {**report[part].get(title, {}), **found} if part == "runs" else found
    if part == "runs":
        report["missing"].pop(title, None)
    write(path, json.dumps(report).replace('}, "', '},\n "').encode())
    write(path.with_suffix(".md"), ("\n".join(page(path.stem.removeprefix("randomness-"), report)) + "\n").encode())


def page(date, report):
    """Lines of the table."""
    runs, titles = report["runs"], [title for title, _ in TESTS.values() if title in report["runs"]]
    yield f"{report['machine']}; {date}"
    yield ""
    yield "The least of all two-sided p-values, the test that gave it (and which repetition), and how many there were."
    yield ""
    yield f"| order of the words | {' | '.join(titles)} |"
    yield f"|---{'|---' * len(titles)}|"
    for name in SOURCES:
        cells = [cell(runs[title][name]) if name in runs[title] else "" for title in titles]
        if any(cells):
            yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    for title in titles:
        yield from summary(title, list(runs[title].values()))
    yield from (f"- {title} was not run: {why}." for title, why in report["missing"].items())
    if report["normals"]:
        yield ""
        yield from beyond(report["normals"])


def cell(run):
    return f"{'' if run['passed'] else '**FAILED** '}{run['worst']}; {run['tests']}"


def summary(title, runs):
    """Say how much was read, and whether all p-values together are uniform."""
    p = [p for run in runs for p in run["p_values"]]
    size = sum(run["bytes"] or 0 for run in runs) / 2**30
    line = f"- {title}: {sum(not run['passed'] for run in runs)} failures in {len(runs)} runs"
    line += f", {size:.0f} GiB read" if size else ""
    if p:
        line += f"; all {len(p)} p-values against the uniform distribution (Kolmogorov and Smirnov): "
        line += f"{stats.kstest(p, 'uniform').pvalue:.2g}"
    yield line + "."


def beyond(found):
    """Say how many normals lie beyond thresholds on both sides, beside what erfc gives, and the bits of a draw."""
    draws = " and ".join(f"{of['n']:.3g} in {dtype}" for dtype, of in found.items())
    yield f"Normals beyond x on both sides, of {draws}: seen, expected by erfc, z-score of the difference."
    yield ""
    yield f"| x | {' | '.join(f'{dtype} | expected | z' for dtype in found)} |"
    yield f"|---:{'|---:' * 3 * len(found)}|"
    for k, x in enumerate(normals.THRESHOLDS):
        cells = []
        for of in found.values():
            seen, due = of["above"][k] + of["below"][k], 2 * of["n"] * normals.tail(x)
            cells += [str(seen), f"{due:.1f}", f"{(seen - due) / np.sqrt(due):+.1f}"]
        yield f"| {x} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
