"""Reverse mode over a loop: carries of all steps kept, and those of segments of steps, by the number of steps.

    python bench/segments.py [--dtype float32] [--threads 1] [--repeats 5]

Which of the two a kernel does is decided by the numbers that all steps would keep (`codegen/loops/layout.STEP_ROWS`).
Here each Program is compiled both ways; printed are the rows of the workspace, its size for a block of draws, and
nanoseconds a step and draw, the best of some calls. The border belongs where the second is the faster one.
"""

import argparse

import numpy as np

import mcgrad as mg
from mcgrad.codegen.cpu import chunk
from mcgrad.codegen.loops import layout

STEPS = (250, 500, 1000, 2000, 4000, 16_000)
NUMBERS = 3  # in the carry
DRAWS = 1 << 22  # times steps


def network(z, *, w, b):
    """A recurrent cell, whose weights are more parameters than forward mode is for."""

    def step(h, x):
        h = np.tanh(w @ h + b * x)
        return h, np.sum(h**2)

    return mg.scan(step, np.ones(NUMBERS), z, reduce="sum")[1]


def measured(steps: int, border: int, args: argparse.Namespace) -> tuple[int, int, float]:
    """Rows, bytes of a block, and nanoseconds a step and draw."""
    layout.STEP_ROWS = border
    params = {"w": np.linspace(-0.5, 0.6, NUMBERS**2).reshape(NUMBERS, NUMBERS), "b": np.linspace(-0.4, 0.2, NUMBERS)}
    made = mg.Estimator(
        network, mg.Normal(np.zeros(steps), 1.0), params=params, wrt=["w", "b"], method="pathwise", backend="cpu",
        dtype=args.dtype, threads=args.threads,
    )  # fmt: skip
    emitted = chunk.emit(made.program)
    n = max(DRAWS // steps, emitted.lanes) // emitted.lanes * emitted.lanes
    made(n, seed=0)
    best = min(made(n, seed=seed).seconds for seed in range(1, args.repeats + 1))
    return emitted.rows, emitted.rows * emitted.lanes * np.dtype(args.dtype).itemsize, best / n / steps * 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print("| steps | kept | rows | KiB a block | ns a step and draw |\n| ---: | --- | ---: | ---: | ---: |")
    for steps in STEPS:
        for kept, border in (("all", NUMBERS * steps), ("segments", NUMBERS * steps - 1)):
            rows, size, time = measured(steps, border, args)
            print(f"| {steps:,} | {kept} | {rows:,} | {size // 1024:,} | {time:.2f} |", flush=True)
