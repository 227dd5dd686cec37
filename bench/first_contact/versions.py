"""The first step on a card: what is installed, which devices there are, and one kernel from source to number."""

import sys
import time

import numpy as np

import mcgrad as mg
from mcgrad.backends.cuda import driver
from mcgrad.backends.cuda.kernel import emitted
from mcgrad.cli.info import info
from mcgrad.toolchain import ptx

LOC, SCALE, N = 0.3, 1.2, 100_000


def main():
    print(*(f"{name:22} {text}" for name, text in info().items()), sep="\n", flush=True)
    problem = driver.obstacle()
    if problem:
        sys.exit(f"no device: {problem}")
    device = driver.devices()[0]
    estimator = mg.Estimator(lambda z: np.sin(z), mg.Normal(LOC, SCALE), backend="numpy", dtype="float32")
    code = emitted(estimator.program)
    start = time.perf_counter()
    made = ptx.ptx(code.source, "kernel", device.cc, code.user_functions)
    kind = (
        "machine code" if made.image.startswith(ptx.MACHINE_CODE) else "PTX: nvJitLink is missing, the driver compiles"
    )
    version = next(line for line in made.text.splitlines() if line.startswith(".version"))
    print(f"NVVM and nvJitLink     {len(made.image):,} bytes of {kind}, from PTX {version}, {since(start)}", flush=True)
    start = time.perf_counter()
    found = mg.estimate(lambda z: np.sin(z), mg.Normal(LOC, SCALE), N, backend="cuda", dtype="float32")
    print(f"first launch           {since(start)}", flush=True)
    exact = np.cos(LOC) * np.exp(-(SCALE**2) / 2)
    z = (found.grad["loc"] - exact) / found.grad_stderr["loc"]
    print(f"scalar                 d/dloc {found.grad['loc']:.5f} +- {found.grad_stderr['loc']:.5f}, exact {exact:.5f}")
    if not abs(z) < 5:
        sys.exit(f"scalar is wrong: z = {z:.1f}")


def since(start):
    return f"{time.perf_counter() - start:.2f} s"


if __name__ == "__main__":
    main()
