"""Instructions that the noise of a vector takes, in the machine code of the fillers of rows, for AVX2 and AVX-512.

python bench/noise_code.py                 # for both, whatever this processor has; needs no data and runs nothing

Counted are the vector instructions of the loops over lanes, but for loads, stores and copies, for each vector of
numbers. What happens once a row or in few rows is not counted: the first point of a row, and the formula for rows with
a small tail.
"""

import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np

FEATURES = "+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt,+f16c,+movbe"
TARGETS = {
    "AVX2": ("haswell", FEATURES),
    "AVX-512": ("icelake-server", FEATURES + ",+avx512f,+avx512dq,+avx512bw,+avx512vl,+avx512cd"),
}
LABEL = re.compile(r"^(\.L\w+):.*$", re.MULTILINE)
MOVE = re.compile(r"\tv(?:mov|p?broadcast)")
STORE = re.compile(r"\tvmov\w+\s+%[yz]mm\d+, *-?\w*\((?!%rsp)")
VECTOR = re.compile(r"\tv\w+\s.*%[xyz]mm")


def loops(assembly):
    """Yield (vector instructions but for moves, vectors stored) of each innermost loop, in order."""
    parts = LABEL.split(assembly)
    for label, body in zip(parts[1::2], parts[2::2], strict=True):
        back = re.search(rf"\tj\w+\s+{re.escape(label)}\b", body)
        if back is None:
            continue
        lines = body[: back.start()].splitlines()
        arithmetic = sum(bool(VECTOR.match(line)) and not MOVE.match(line) for line in lines)
        stored = sum(bool(STORE.match(line)) for line in lines)
        if arithmetic:
            yield arithmetic, stored


def arguments(bits, points):
    """What a filler is called with to be compiled."""
    ws, zero = np.empty(64, f"float{bits}"), np.uint32(0)
    keys = (np.zeros(1 + bits, f"uint{bits}"), np.array([1, 0, 0], np.uint32)) if points else (zero, zero)
    return ws, 0, 64, np.uint64(0), zero, zero, *keys


def assembly(fill, bits, points):
    """Machine code of a filler, and of what it calls."""
    fill(*arguments(bits, points))
    return "\n".join(fill.inspect_asm().values())


def philox(bits):
    """Instructions of Philox's normals: words, and Box and Muller."""
    from mcgrad.kernels import noise_fill

    found = [pair for pair in loops(assembly(getattr(noise_fill, f"normal_row{bits}"), bits, points=False)) if pair[1]]
    (count, stored), *law = sorted(found, reverse=True)[: 2 if bits == 32 else 3]
    if bits == 64:  # a radius and a direction make two vectors
        return [count / stored, sum(count for count, _ in law) / 2]
    return [count / stored, law[0][0] / 2]


def sobol(bits):
    """Instructions of normals of points: doubling, the search for small tails, the law; and of Owen's hash."""
    from mcgrad.kernels import point_fill

    normals = [getattr(point_fill, f"{name}_normal_row{bits}") for name in ("sobol", "sobol_owen")]
    found, hashed = (list(loops(assembly(fill, bits, points=True))) for fill in normals)
    search = min(count for count, stored in found if not stored and count > 1)
    law = min(count for count, stored in found if stored == 1 and count > 20)
    more = Counter(hashed) - Counter(found)
    return [1, search, law], min(count / stored for count, stored in more if stored)


def main():
    """Print a row of the table for each width."""
    for bits in (32, 64):
        (words, box_muller), (parts, hashed) = philox(bits), sobol(bits)
        print(
            f"{sys.argv[1]}, float{bits}: Philox {words:g} + {box_muller:g} = {words + box_muller:g}, "
            f"Sobol' {' + '.join(map(str, parts))} = {sum(parts)}, with Owen's hash {sum(parts) + hashed:g}"
        )


if __name__ == "__main__" and len(sys.argv) > 1:
    main()
elif __name__ == "__main__":
    for name, (cpu, features) in TARGETS.items():
        environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
        subprocess.run([sys.executable, __file__, name], env=environment, check=True)
