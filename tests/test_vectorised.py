"""LLVM vectorises every lane loop of the kernels, and no kernel calls the C library's mathematics.

LLVM says what it did with each loop in remarks, which are asked for before anything is compiled: in another process.
"""

import itertools
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

KERNELS = [("scalar", "float32"), ("vector", "float64"), ("product", "float64"), ("scan", "float32")]
pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not llvm.get_host_cpu_features().get("avx2"),
    reason="what vectorises depends on the processor; stated for x86-64 with AVX2",
)
RUN = """
import json, linecache, re, sys
import llvmlite.binding as llvm
for option in ("-pass-remarks=loop-vectorize", "-pass-remarks-missed=loop-vectorize"):
    llvm.set_option("", option)
sys.path.insert(0, sys.argv[1])
from tests.estimators import estimator
run = estimator(sys.argv[2], sys.argv[3])
run(4)
function = run._kernel.fast.function
(assembly,) = function.inspect_asm().values()
symbols = sorted(set(re.findall(r"(?:callq?|movabsq)\\s+\\$?([A-Za-z_]\\w*)", assembly)))
file = function.py_func.__code__.co_filename
print(json.dumps({"file": file, "source": linecache.getlines(file), "vectors": len(re.findall("%[yz]mm", assembly)),
                  "symbols": symbols}))
"""
LIBM = re.compile(r"(exp[2m1]*|log[210p]*|sincos|a?(sin|cos|tan)h?|atan2|sqrt|pow|cbrt|hypot|floor|ceil|trunc|round|"
                  r"fmod|fma|erfc?|[lt]gamma)[fl]?")  # fmt: skip


@pytest.fixture(scope="module", params=KERNELS, ids="-".join)
def compiled(request, tmp_path_factory):
    """Return what the process said of a kernel, with its source, and the remarks as (file, line) -> texts."""
    folder = tmp_path_factory.mktemp("remarks")
    environment = {**os.environ, "MCGRAD_CACHE_DIR": str(folder), "NUMBA_DEBUGINFO": "1"}
    command = [sys.executable, "-c", RUN, str(Path(__file__).parent.parent), *request.param]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    remarks = {}
    for file, line, text in re.findall(r"^remark: (\S+):(\d+):\d+: (.*)$", done.stderr, re.MULTILINE):
        remarks.setdefault((file, int(line)), []).append(text)
    said = json.loads(done.stdout.splitlines()[-1])
    return said, remarks


def lane_loops(lines):
    """Return the lines, head to end, of the loops over lanes.

    One that writes nothing is not in the machine code, and one that only writes a constant is a memset there.
    """
    found = []
    for i, line in enumerate(lines):
        if re.match(r" *for w in range", line):
            depth = len(line) - len(line.lstrip())
            rest = lines[i + 1 :]
            body = list(itertools.takewhile(lambda inner: len(inner) - len(inner.lstrip()) > depth, rest))  # noqa: B023
            if any("put(" in inner or "put_sum(" in inner or "accumulate" in inner for inner in body):
                found.append(range(i + 1, i + 2 + len(body)))
    return found


def test_every_lane_loop_is_vectorised(compiled):
    said, remarks = compiled
    loops = lane_loops(said["source"])
    assert loops
    vectorised = {
        line
        for (name, line), texts in remarks.items()
        if name == said["file"] and any("vectorized loop" in text for text in texts)
    }
    assert [loop[0] for loop in loops if not vectorised & set(loop)] == []


def test_the_loops_that_make_noise_are_vectorised(compiled):
    _, remarks = compiled
    rows = {line: texts for (name, line), texts in remarks.items() if name == "noise_fill.py"}
    assert rows
    assert [line for line, texts in rows.items() if not any("vectorized loop" in text for text in texts)] == []


def test_the_machine_code_holds_vectors_and_no_calls_of_libm(compiled):
    said, _ = compiled
    assert said["vectors"] > 100
    assert [name for name in said["symbols"] if LIBM.fullmatch(name)] == []
