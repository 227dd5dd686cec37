"""The last step: one page of what the others left, the table of rates last.

python bench/first_contact/report.py FOLDER WORK       # WORK has what the script noted of its steps, and other outputs
"""

import json
import sys
from pathlib import Path

from gpu import table

LINES = 12  # of each step's output, its last
STEPS = ("versions", "draws", "tests", "sanitizer", "ncu", "speed", "peers", "batches", "latency")


def read(file):
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def steps(file):
    """Markdown: how each step ended, and the seconds it took of those it had."""
    rows = [line.split(maxsplit=3) for line in file.read_text().splitlines()]
    head = ["| step | ended | seconds | of |", "|---|---|---:|---:|"]
    return "\n".join([*head, *(f"| {name} | {ended} | {took} | {limit} |" for name, took, limit, ended in rows)])


def tail(*files):
    """The last lines of a step's output, in whichever of the files it is."""
    lines = next((file.read_text(errors="replace").splitlines() for file in files if file.exists()), ["not run"])
    return "\n".join(line[:200] for line in lines[-LINES:])


def alone(speed):
    """Markdown: mcgrad's rates, the clock they were measured at, and the share of the bound at that clock."""
    lines = ["| problem | dtype | draws/s | median | clock, MHz | watts | bound at that clock | share |",
             "|---|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for row in speed.get("rows", []):
        cells = [f"{row['best']:.2e}", f"{row['median']:.2e}", *(shown(row.get(name)) for name in ("clock", "watts"))]
        cells += [f"{row['bound']:.2e}", f"{row['share']:.0%}"] if "bound" in row else ["-", "-"]
        lines.append(f"| {row['problem']} | {row['dtype']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def latency(speed):
    """Markdown: the median time of a warm call, in microseconds."""
    rows = speed.get("latency", [])
    sizes = sorted({row["n"] for row in rows})
    lines = [f"| problem | backend | {' | '.join(f'n = {n:,}' for n in sizes)} |", "|---|---|" + "---:|" * len(sizes)]
    for key in dict.fromkeys((row["problem"], row["backend"]) for row in rows):
        times = {row["n"]: row["median"] for row in rows if (row["problem"], row["backend"]) == key}
        cells = [f"{times[n] * 1e6:.0f}" if n in times else "-" for n in sizes]
        lines.append(f"| {key[0]} | {key[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def batches(speed):
    """Markdown: rows x draws a second of batches, of calls and of their launches alone."""
    lines = ["| shape | backend | best | median | launches alone |", "|---|---|---:|---:|---:|"]
    for row in speed.get("batches", []):
        alone = f"{row['launches']:.2e}" if row["launches"] else "-"
        lines.append(f"| {row['shape']} | {row['backend']} | {row['best']:.2e} | {row['median']:.2e} | {alone} |")
    return "\n".join(lines)


def shown(number):
    return "-" if number is None else f"{number:.0f}"


def main():
    folder, work = Path(sys.argv[1]), Path(sys.argv[2])
    speed, peers = read(folder / "speed.json"), read(folder / "peers.json")
    card = speed.get("card", {})
    name, processors, driver = (card.get(key, "unknown") for key in ("name", "processors", "driver"))
    parts = [f"# First contact: {name}, {processors} multiprocessors, driver {driver}"]
    parts += [steps(work / "steps")]
    for step in STEPS:
        parts += [f"## {step}", f"```text\n{tail(folder / f'{step}.txt', work / f'{step}.txt')}\n```"]
    parts += ["## Warm calls, microseconds, median", latency(speed)]
    parts += ["## Batches, rows x draws a second", batches(speed)]
    parts += ["## mcgrad alone, the clock sampled while it ran", alone(speed)]
    limits = {(row["problem"], row["dtype"]): row["bound"] for row in speed.get("rows", []) if "bound" in row}
    parts += ["## Beside others, draws a second", table(peers["rows"], limits) if peers.get("rows") else "not measured"]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n")
    print("\n\n".join(parts[-2:]))


if __name__ == "__main__":
    main()
