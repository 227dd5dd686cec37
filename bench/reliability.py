"""Attacks at length: damage, kills, wrong types, failing writes, calls at once; what survived and what was lost.

    python bench/reliability.py [--tries 1000] [--seconds 120] [--seed 1] [--only FAMILY ...] [--write FILE.md]

Each family (tests/reliability/) runs in a process of its own, for so many cases or so many seconds; the cases follow
from the seed. What was lost is printed with what repeats it. Exit status 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from mcgrad import __version__
from mcgrad.system.machine import available_processors, processor, version

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from tests.reliability.attack import LOST, REFUSED, RIGHT  # noqa: E402
from tests.reliability.worker import FAMILIES  # noqa: E402

OUTCOMES = (RIGHT, REFUSED, LOST)


def attacked(family: str, seed: int, tries: int, seconds: float) -> list[dict[str, str]]:
    """Run the cases of a family; return what came of each."""
    options = ["--seed", str(seed), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "tests.reliability.worker", f"{family}:{tries}", *options]
    path = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0:
        verdicts.append({"kind": "the worker itself", "detail": "", "outcome": LOST, "why": f"{done.returncode}"})
    return verdicts


def rows(verdicts: list[dict[str, str]]) -> list[tuple[str, list[int]]]:
    """Count outcomes by kind, in the order of the kinds."""
    kinds = dict.fromkeys(verdict["kind"] for verdict in verdicts)
    return [
        (kind, [sum(v["kind"] == kind and v["outcome"] == outcome for v in verdicts) for outcome in OUTCOMES])
        for kind in kinds
    ]


def table(found: dict[str, list[dict[str, str]]], title: dict[str, str], seed: int) -> str:
    """Return all counts as Markdown: totals by family, then each kind."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scipy"))
    lines = [
        "# Attacks and what survived them",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, mcgrad {__version__}, Python {platform.python_version()}, "
        f"{packages}, {platform.system()}, {processor()}, {available_processors()} processors, "
        f"{'as root' if os.geteuid() == 0 else 'not as root'}, seed {seed}. Made by `bench/reliability.py`.",
        "",
        "*Right*: the numbers, bit for bit, that an undisturbed run gives. *Refused*: an error of mcgrad's that names "
        "what is wrong, or, where a file of the cache, a result or a checkpoint was damaged, a miss: computed again, "
        "with the right bits. *Lost*: anything else, such as a wrong number, a traceback, a crash, a hang, a changed "
        "file of the user's, a temporary file left behind.",
        "",
        "| family | tries | right | refused | lost |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    totals = {
        family: [sum(column) for column in zip(*(c for _, c in rows(found[family])), strict=True)] for family in found
    }
    for family, counts in totals.items():
        lines.append(f"| {title[family]} | {sum(counts):,} | " + " | ".join(f"{count:,}" for count in counts) + " |")
    whole = [sum(column) for column in zip(*totals.values(), strict=True)]
    lines += [f"| all | {sum(whole):,} | " + " | ".join(f"{count:,}" for count in whole) + " |", ""]
    for family, verdicts in found.items():
        lines += [
            f"## {title[family]}",
            "",
            "| kind | tries | right | refused | lost |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [f"| {kind} | {sum(c):,} | " + " | ".join(f"{x:,}" for x in c) + " |" for kind, c in rows(verdicts)]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=1000, help="of each family, at most")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each family, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--write", type=Path, help="write the table to this file, too")
    args = parser.parse_args()
    found = {}
    for family in args.only:
        found[family] = attacked(family, args.seed, args.tries, args.seconds)
        for verdict in found[family]:
            if verdict["outcome"] == LOST:
                print(f"LOST {family}: {verdict['kind']} ({verdict['detail']}): {verdict['why']}", flush=True)
    text = table(found, FAMILIES, args.seed)
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return int(any(verdict["outcome"] == LOST for verdicts in found.values() for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
