"""What the kernels of the test problems are as machine code, without a device: registers, instructions, bounds.

python bench/sass.py                          # all problems, both dtypes, sm_80 and sm_90; writes bench/results/
python bench/sass.py --problems scalar --dtype float32

Every kernel is emitted, compiled to PTX, assembled by ptxas, and run for a chunk of draws by the emulator, which counts
what its warps execute and whose sums must be those of the NumPy reference. The counts are of what the backend loads,
which nvJitLink makes of the same PTX; registers and spills are ptxas's.
"""

import argparse
import datetime
import json
from collections import Counter
from pathlib import Path

import machine_code
import numpy as np
from loop_problems import distribution, loop_problems
from problems import Problem, problems
from sass_emulator import launch
from sass_emulator.code import alone
from throughput import CHIPS, CLASSES, bound, kind, resident

import mcgrad as mg
from mcgrad.codegen.cuda import choose
from mcgrad.system.machine import version
from mcgrad.toolchain import ptx

RESULTS = Path(__file__).parent / "results"
SEED = 7


def noise_alone(z):
    return z


def noise_problem():
    """The ceiling: normals that are added up, with their squares, and nothing else."""
    return Problem("noise", noise_alone, {"loc": 0.0, "scale": 1.0}, ("loc",), problems()["scalar"].draws)


def cases():
    """The test problems, the ceiling, and loops over steps."""
    return {"noise": noise_problem(), **problems(), **loop_problems()}


def estimator(problem, dtype):
    """The problem's estimator, on NumPy: what the kernel's sums are held to."""
    more = {"params": problem.params, "data": problem.data, "wrt": problem.wrt, "dtype": dtype}
    return mg.Estimator(problem.f, distribution(problem), backend="numpy", **more)


class Case:
    """The kernel of a problem for one kind of chip, as machine code."""

    def __init__(self, problem, dtype, cc):
        self.name, self.dtype, self.cc = problem.name, dtype, cc
        self.estimator = estimator(problem, dtype)
        self.emitted = choose.emit(self.estimator.program)
        self.ptx = ptx.ptx(self.emitted.source, "kernel", cc, self.emitted.user_functions)
        self.cubin, self.usage = machine_code.assemble(self.ptx.text, cc)

    @property
    def image(self):
        """What the backend loads; ptxas's where nvJitLink is not there."""
        return self.ptx.image if self.ptx.image.startswith(b"\x7fELF") else self.cubin

    def run(self, image=None):
        """Run the first chunk in the emulator; return the machine, what it found, and how far off the sums are.

        The error is relative: of the sums to the root of the sum of squares, of the squares to themselves.
        """
        values, n = self.estimator.inputs.values({}), self.emitted.chunk
        samples = self.estimator._kernel.bind(values).samples(SEED, 0, n).astype(np.float64)
        shift = samples.mean(axis=1).astype(self.dtype)
        machine = launch.machine(image or self.image, self.cc)
        found = launch.run(
            machine, self.emitted, self.dtype, values, SEED, 0, n, shift, static_shared=self.usage.shared
        )
        d = samples - shift[:, None].astype(np.float64)
        squares = np.maximum((d**2).sum(axis=1), np.finfo(float).tiny)
        error = np.abs(found.sums - d.sum(axis=1)) / np.sqrt(squares), np.abs(found.squares / squares - 1)
        return machine, found, float(np.max(error))


def counted(machine, executed, draws):
    """Instructions a draw, by name."""
    total = Counter()
    for at, warps in executed.items():
        total[machine.code.instructions[at].name] += warps * 32 / draws
    return total


def measure(problem, dtype, cc):
    """One row of the table."""
    case, chip = Case(problem, dtype, cc), CHIPS[cc]
    machine, found, error = case.run()
    counts = counted(machine, found.executed, found.draws)
    linked = machine_code.image_usage(case.image, cc)
    shared = linked.shared + case.emitted.shared
    registers = max(linked.registers, 1)
    blocks, limit = resident(chip, case.emitted.threads, registers, shared)
    rate, pipe = bound(counts, chip)
    chunk_clocks = alone(machine.code, machine.trace)
    classes = Counter()
    for name, count in counts.items():
        classes[kind(name)] += count
    return {
        "problem": problem.name,
        "dtype": dtype,
        "chip": chip.name,
        "cc": f"sm_{cc[0]}{cc[1]}",
        "kernel": "registers" if case.emitted.by_value else "blocks",
        "steps": getattr(problem, "steps", 1),
        "workspace": case.emitted.workspace // case.emitted.threads,
        "threads": case.emitted.threads,
        "registers": case.usage.registers,
        "registers_linked": registers,
        "stack": max(case.usage.stack, linked.stack),
        "spills": case.usage.spill_stores + case.usage.spill_loads,
        "shared": shared,
        "blocks": blocks,
        "warps": blocks * -(-case.emitted.threads // 32),
        "limited_by": limit,
        "instructions": sum(counts.values()),
        "classes": {name: classes[name] for name in CLASSES},
        "names": dict(counts.most_common()),
        "bound": rate,
        "pipe": pipe,
        "lone_clocks": chunk_clocks,
        "latency_bound": chip.processors * chip.clock * blocks * found.draws / chunk_clocks,
        "error": error,
        "hazards": len(machine.hazards),
    }


def predicted(row):
    """Draws a second that we expect: as if each warp's own latency came on top of what the busiest pipe takes."""
    return 1 / (1 / row["bound"] + 1 / row["latency_bound"])


def resources(rows):
    """Markdown: what each kernel takes."""
    lines = [
        "| problem | dtype | chip | kernel | threads | registers (linked) | spills, stack | shared | blocks, warps |",
        "|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['problem']} | {r['dtype']} | {r['cc']} | {r['kernel']} | {r['threads']} | {r['registers']} "
        f"({r['registers_linked']}) | {r['spills']}, {r['stack']} | {r['shared']} | {r['blocks']}, {r['warps']} |"
        for r in rows
    ]
    return "\n".join(lines)


def instructions(rows):
    """Markdown: instructions a draw by class, and the bounds."""
    head = ["problem", "dtype", "chip", "all", *CLASSES, "bound, draws/s", "by", "of latency", "predicted", "error"]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|" + "---:|" * (len(CLASSES) + 2) + "---|---:|---:|---:|"]
    for r in rows:
        cells = [f"{r['instructions']:.1f}", *(f"{r['classes'][name]:.1f}" for name in CLASSES)]
        cells += [
            f"{r['bound']:.2e}",
            r["pipe"],
            f"{r['latency_bound']:.1e}",
            f"{predicted(r):.1e}",
            f"{r['error']:.0e}",
        ]
        lines.append(f"| {r['problem']} | {r['dtype']} | {r['cc']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def steps(rows):
    """Markdown: what a step of a draw takes in loops."""
    head = ["loop", "steps", "dtype", "chip", "registers", "workspace", "instructions a step", "bound, steps/s", "by"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---|---|---:|---:|---:|---:|---|"]
    lines += [
        f"| {r['problem']} | {r['steps']} | {r['dtype']} | {r['cc']} | {r['registers']} | {r['workspace']} "
        f"| {r['instructions'] / r['steps']:.1f} | {r['bound'] * r['steps']:.2e} | {r['pipe']} |"
        for r in rows
        if r["steps"] > 1
    ]
    return "\n".join(lines)


def text(rows, left_out, date):
    """The results as Markdown."""
    chips = "; ".join(f"{chip.name} (sm_{cc[0]}{cc[1]})" for cc, chip in CHIPS.items())
    tools = ", ".join([*map(machine_code.version, machine_code.PACKAGES), f"numba-cuda {version('numba-cuda')}"])
    parts = [
        f"# Machine code of the kernels, {date}",
        f"{tools}. Bounds for {chips}. Nothing here was measured on a device.",
        "How to read it, and how it was made: `../README.md`, GPU.",
        resources(rows),
        "Instructions executed for a draw, by all threads together, over a whole chunk, its sums included:",
        instructions(rows),
        "Loops over steps: numbers of the workspace in global memory for each thread, and what a step of a draw takes:",
        steps(rows),
        *(f"- {line}" for line in left_out),
    ]
    return "\n\n".join(parts) + "\n"


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=list(cases()), default=list(cases()))
    parser.add_argument("--dtype", nargs="+", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--name", help="of the result files; default sass-<date>")
    return parser.parse_args()


def main():
    args = options()
    rows, left_out = [], []
    for name in args.problems:
        for dtype in args.dtype:
            for cc in CHIPS:
                try:
                    row = measure(cases()[name], dtype, cc)
                except Exception as error:
                    left_out.append(f"{name} {dtype} sm_{cc[0]}{cc[1]}: {type(error).__name__} {error}"[:300])
                    print(left_out[-1], flush=True)
                    continue
                rows.append(row)
                print(instructions([row]).splitlines()[-1], f"{row['registers']} registers", flush=True)
    date = datetime.date.today().isoformat()
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / (args.name or f"sass-{date}")
    stem.with_suffix(".md").write_text(text(rows, left_out, date))
    stem.with_suffix(".json").write_text(
        json.dumps({"date": date, "rows": rows, "left_out": left_out}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
