"""Machine code of emitted kernels, without a device: what ptxas says of it, what it executes, what it computes.

The tools and the emulator are `bench/sass.py`'s; without NVIDIA's packages (extra `test`, on Linux) all is skipped.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

pytest.importorskip("numba_cuda")
machine_code = pytest.importorskip("machine_code")
if machine_code.missing():
    pytest.skip(machine_code.missing(), allow_module_level=True)

import sass  # noqa: E402
from numba import int32, types  # noqa: E402
from sass_emulator import launch  # noqa: E402

from mcgrad.codegen.cuda.choose import emit  # noqa: E402
from mcgrad.kernels import merge  # noqa: E402
from mcgrad.kernels.device import at, put  # noqa: E402
from mcgrad.kernels.target import cuda  # noqa: E402
from mcgrad.toolchain import ptx  # noqa: E402

CHIPS = [(8, 0), (9, 0)]
BUDGETS = {  # registers of a thread on either chip, and instructions a draw on each, as of November 2026
    ("noise", "float32"): (64, 45, 45),
    ("noise", "float64"): (80, 98, 128),
    ("scalar", "float32"): (80, 98, 98),
    ("scalar", "float64"): (112, 181, 229),
    ("rosenbrock10", "float32"): (168, 518, 517),  # with more a third block finds no room
    ("rosenbrock10", "float64"): (255, 1002, 1328),
}
LOOPS = {  # registers of a thread, and instructions a step of a draw, on sm_90
    ("scan_asian", "float32"): (96, 61),
    ("scan_queue", "float32"): (120, 110),
    ("scan_heston", "float32"): (120, 147),
}
MARGIN = 1.10
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}
SMALL = [(*key, cc) for key in BUDGETS for cc in CHIPS]
LARGE = ["chain100", "logistic", "asian", "fullcov50"]


@cache
def case(name, dtype, cc):
    return sass.Case(sass.cases()[name], dtype, cc)


@cache
def emulated(name, dtype, cc):
    return case(name, dtype, cc).run()


def memory_of_its_own(usage, image, cc):
    """Bytes of a thread outside of its registers."""
    return usage.spill_stores + usage.spill_loads + usage.stack + machine_code.image_usage(image, cc).stack


@pytest.mark.parametrize(("name", "dtype", "cc"), SMALL)
def test_small_kernels_spill_nothing_and_keep_to_their_registers(name, dtype, cc):
    kernel = case(name, dtype, cc)
    assert memory_of_its_own(kernel.usage, kernel.image, cc) == 0
    linked = machine_code.image_usage(kernel.image, cc)
    assert max(kernel.usage.registers, linked.registers) <= BUDGETS[name, dtype][0]


@pytest.mark.parametrize(("name", "dtype"), list(BUDGETS))
def test_small_careful_kernels_spill_nothing(name, dtype):
    emitted = emit(sass.estimator(sass.cases()[name], dtype).program, checked=True)
    code = ptx.ptx(emitted.source, "kernel", (9, 0), [])
    assert memory_of_its_own(machine_code.assemble(code.text, (9, 0))[1], code.image, (9, 0)) == 0


@pytest.mark.parametrize(("name", "dtype", "cc"), SMALL)
def test_small_machine_code_computes_the_reference_sums_within_its_instructions(name, dtype, cc):
    machine, found, error = emulated(name, dtype, cc)
    assert error < TOLERANCE[dtype]
    assert not machine.hazards
    ceiling = BUDGETS[name, dtype][1 + CHIPS.index(cc)]
    assert sum(sass.counted(machine, found.executed, found.draws).values()) < MARGIN * ceiling


@pytest.mark.parametrize(("name", "dtype", "cc"), SMALL)
def test_the_loop_over_draws_is_straight(name, dtype, cc):
    """Each turn of each warp goes the same way, which has no calls, no memory of its own, no float64 among float32."""
    machine, found, _ = emulated(name, dtype, cc)
    turns = max(found.executed.values())
    places = [at for at, n in found.executed.items() if n == turns]
    assert all(n == turns for at, n in found.executed.items() if min(places) <= at <= max(places))
    loop = [machine.code.instructions[at] for at in places]
    names = {ins.base for ins in loop if ins.base != "CALL" or ins.guard is None}  # one with a guard ends the loop
    assert not names & {"CALL", "LDL", "STL", "BAR", "SHFL", "LDS", "LDG"}
    if dtype == "float32":
        assert not any(name.startswith("D") for name in names)


@pytest.mark.parametrize(("name", "dtype"), LOOPS)
def test_loops_over_steps_compute_the_reference_sums_in_registers(name, dtype):
    """Nothing waits in a step; memory is touched where what steps leave is kept, and by arguments of the step."""
    cc, (registers, ceiling) = (9, 0), LOOPS[name, dtype]
    kernel = case(name, dtype, cc)
    machine, found, error = emulated(name, dtype, cc)
    assert error < TOLERANCE[dtype]
    assert not machine.hazards
    assert memory_of_its_own(kernel.usage, kernel.image, cc) == 0
    assert kernel.usage.registers <= registers
    a_step = sum(sass.counted(machine, found.executed, found.draws).values()) / sass.cases()[name].steps
    assert a_step < MARGIN * ceiling
    turns = max(found.executed.values())
    names = {machine.code.instructions[at].base for at, n in found.executed.items() if n == turns}
    kept = {"LDG", "STG"} if kernel.emitted.workspace else {"LDG"}
    assert names & {"CALL", "LDL", "STL", "BAR", "LDS", "STS", "LDG", "STG"} <= kept


@pytest.mark.parametrize("name", LARGE)
def test_large_kernels_spill_nothing(name):
    kernel = case(name, "float32", (9, 0))
    assert memory_of_its_own(kernel.usage, kernel.image, (9, 0)) == 0


@pytest.mark.parametrize("name", ["chain100", "asian"])
def test_large_machine_code_computes_the_reference_sums(name):
    machine, _, error = emulated(name, "float32", (9, 0))
    assert error < TOLERANCE["float32"]
    assert not machine.hazards


@pytest.mark.parametrize("cc", CHIPS)
def test_the_kernel_that_adds_partials_up(cc):
    rows, chunks = 3, 1000
    partials = np.random.default_rng(0).standard_normal((rows, chunks))
    memory = launch.Memory()
    source, target = memory.put(partials), memory.put(np.zeros(rows))
    words = memory.words()
    code = ptx.function_ptx(merge.merge, merge.SIGNATURE, cc)
    machine = launch.machine(code.image, cc)
    packed = launch.struct.pack("=Qi4xQ", source, chunks, target)
    machine.launch(packed, words, range(rows), merge.THREADS, 1024)
    found = words[target // 4 : target // 4 + 2 * rows].view(np.float64)
    np.testing.assert_allclose(found, partials.sum(axis=1), rtol=1e-12)
    assert not machine.hazards


def exchange(out):
    table = cuda.shared.array(64, int32)
    thread = int32(cuda.threadIdx.x)
    put(table, thread, thread)
    cuda.syncthreads()
    put(out, thread, at(table, int32(63) - thread))


def exchange_at_once(out):
    table = cuda.shared.array(64, int32)
    thread = int32(cuda.threadIdx.x)
    put(table, thread, thread)
    put(out, thread, at(table, int32(63) - thread))


@pytest.mark.parametrize("kernel", [exchange, exchange_at_once])
def test_the_emulator_sees_a_missing_barrier(kernel):
    code = ptx.translate(kernel, types.void(types.CPointer(types.int32)), (9, 0))
    memory = launch.Memory()
    target = memory.put(np.zeros(64, np.int32))
    words = memory.words()
    machine = launch.machine(code.image, (9, 0))
    machine.launch(launch.struct.pack("=Q", target), words, range(1), 64, 1024)
    assert bool(machine.hazards) == (kernel is exchange_at_once)
    if not machine.hazards:
        assert words[target // 4 : target // 4 + 64].tolist() == list(range(63, -1, -1))


REPORT = """ptxas info    : Compiling entry function 'k' for 'sm_90'
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 192 bytes smem"""


def test_what_ptxas_says():
    assert machine_code.usage(REPORT) == machine_code.Usage(40, 16, 12, 8, 192)
    assert machine_code.usage(REPORT.replace(", 192 bytes smem", "")).shared == 0
