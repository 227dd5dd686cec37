"""Machine code of every kernel function, to see that a change of the sources leaves it as it is.

python bench/kernel_code.py FILE             # write a digest and the number of instructions of each function
python bench/kernel_code.py --against FILE   # compare with what an earlier version has written

Each function is compiled alone, in both widths: for this CPU, in a loop over lanes, as assembly, and for GPUs as PTX
(sm_90). Names of symbols and comments are left out, so that what a function is called does not matter. The file also
holds the seconds of processor time that Numba and LLVM took, whose sums are printed.
"""

import argparse
import hashlib
import importlib
import json
import re
import sys
import time
from pathlib import Path

from numba import njit, types, uint32

from mcgrad.kernels.device import at, put, subroutine
from mcgrad.kernels.intrinsics import prefer_vector_width
from mcgrad.kernels.jit import LOOP, lane
from mcgrad.kernels.target import cuda
from mcgrad.toolchain.ptx import translate

BINARY = {
    *("arctan2", "hypot", "logaddexp", "maximum", "minimum", "nextafter", "power"),
    *("gamma_log_ratio", "gamma_slope_a", "gamma_slope_e"),
}
WORDS = {"uniform32": 1, "normal_pair32": 2, "uniform64": 2, "normal_pair64": 4}  # random words that noise takes
INSTRUCTION = re.compile(r"^\s+(?:@\S+\s+)?[a-z]")


def functions(device, bits):
    """Yield what kernels call on a device: name, function, number of arguments, of numbers or of random words."""
    homes = ("cuda32",) if (device, bits) == ("cuda", 32) else (f"elementary{bits}", f"special{bits}")
    modules = [importlib.import_module(f"mcgrad.kernels.{home}") for home in homes]
    public = {name for home in ("elementary64", "special64") for name in _module(home).__all__}
    for name in sorted(public):
        yield name, next(getattr(module, name) for module in modules if hasattr(module, name)), 1 + (name in BINARY), 0
    for name in ("uniform", "normal_pair"):
        yield name, getattr(_module(f"noise{bits}"), name), 0, WORDS[f"{name}{bits}"]


def _module(name):
    return importlib.import_module(f"mcgrad.kernels.{name}")


def assembly(name, function, bits, numbers, words):
    """Code of a loop over lanes for this CPU."""
    kind = types.float32 if bits == 32 else types.float64
    result = types.UniTuple(kind, 2) if name == "normal_pair" else types.boolean if name.startswith("is") else kind
    given = ", ".join([f"x{j}[i]" for j in range(numbers)] + [f"w{j}[i]" for j in range(words)])
    names = ", ".join([f"x{j}" for j in range(numbers)] + [f"w{j}" for j in range(words)])
    scope = {"scalar": lane(function), "prefer_vector_width": prefer_vector_width}
    store = "out[i], more[i]" if isinstance(result, types.UniTuple) else "out[i]"
    exec(
        f"def run({names}, out, more):\n    prefer_vector_width()\n    for i in range(out.size):\n"
        f"        {store} = scalar({given})\n",
        scope,
    )
    arrays = [types.Array(kind, 1, "C")] * numbers + [types.Array(types.uint32, 1, "C")] * words
    out = types.Array(types.boolean if result is types.boolean else kind, 1, "C")
    signature = types.void(*arrays, out, out)
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **LOOP}
    compiled = njit(signature, **options)(scope["run"])
    return next(iter(compiled.inspect_asm().values()))


def ptx(name, function, bits, numbers, words):
    """Code of a thread that calls it once."""
    kind = types.float32 if bits == 32 else types.float64
    pair, boolean = name == "normal_pair", name.startswith("is")
    result = types.UniTuple(kind, 2) if pair else types.boolean if boolean else kind
    scope = {"f": subroutine(function, result), "at": at, "put": put, "cuda": cuda, "uint32": uint32}
    given = ", ".join([f"at(x, {j})" for j in range(numbers)] + [f"at(w, {j})" for j in range(words)])
    stores = "a, b = f(%s)\n    put(out, 0, a)\n    put(out, 1, b)" if pair else "put(out, 0, f(%s))"
    exec(f"def kernel(x, w, out):\n    {stores % given}\n", scope)
    signature = types.void(types.CPointer(kind), types.CPointer(types.uint32), types.CPointer(kind))
    return translate(scope["kernel"], signature, (9, 0)).text


def instructions(text):
    """The instructions and constants of assembly or PTX, symbols and comments left out."""
    lines = [re.split(r"//|##|#", line)[0].rstrip() for line in text.splitlines()]
    named = (re.sub(r"\b_?(ZN|Z|numba|__nv|\$str)\w*(\$\w+)*|\.L\w*", "SYMBOL", line) for line in lines)
    kept = (
        line for line in named if line and not re.match(r"\s*\.(file|type|size|globl|comm|section|ident|loc)\b", line)
    )
    return [line for line in kept if not line.startswith("SYMBOL")]


def measure(device, bits, made):
    """Yield (name, digest, digest in any order, number of instructions, processor seconds) of each function."""
    for name, function, numbers, words in functions(device, bits):
        start = time.process_time()
        text = made(name, function, bits, numbers, words)
        seconds = time.process_time() - start
        lines = instructions(text)
        code = [line for line in lines if INSTRUCTION.match(line)]
        opcodes = sorted(line.split()[0] for line in code)
        yield f"{device} {name}{bits}", _digest(lines), _digest(opcodes), len(code), seconds


def _digest(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def main():
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--against", action="store_true", help="compare with the file instead of writing it")
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"])
    given = parser.parse_args()
    makers = {"cpu": assembly, "cuda": ptx}
    found = {
        name: [*more]
        for device in given.devices
        for bits in (32, 64)
        for name, *more in measure(device, bits, makers[device])
    }
    seconds = sum(item[-1] for item in found.values())
    if not given.against:
        given.file.write_text(json.dumps(found, indent=1))
        print(f"{len(found)} functions, {seconds:.1f} s to compile")
        return 0
    before = {name: item for name, item in json.loads(given.file.read_text()).items() if name in found}
    changed = [name for name, item in found.items() if item[0] != before[name][0]]
    for name in changed:
        (_, kinds, count, _), (_, kinds_before, count_before, _) = found[name], before[name]
        same = kinds == kinds_before
        print(f"{name}: {count_before} instructions, {'now in another order' if same else f'now {count}'}")
    then = sum(item[-1] for item in before.values())
    print(f"{len(found)} functions, {len(changed)} not as they were; {seconds:.1f} s to compile, before {then:.1f} s")
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
