"""Kernels over rows without a device: arguments as PTX declares them, names in the source, emulated machine code."""

import ast
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from mcgrad.backends.cuda.compiled import CompiledRows
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.codegen.cuda.choose import emit_rows
from mcgrad.codegen.cuda.row_registers import team
from mcgrad.ir.build import apply
from mcgrad.ir.spaces import param
from mcgrad.kernels import cuda_rows
from mcgrad.toolchain import ptx
from tests import test_cpu_rows
from tests.cuda import row_machines
from tests.cuda.test_code import declared
from tests.test_cpu_rows import of_one_number

pytest.importorskip("numba_cuda")
FAR = 1e-3  # so near that the first turn of a block is always repeated
X = np.array([0.3, 1e4, -2.0])[:, None]  # of three rows
NUMBERS = np.array([7, 0, 2**28 - 1])
OWN = (cuda_rows.merge_rows, cuda_rows.MERGE_SIGNATURE), (cuda_rows.add_rows, cuda_rows.ADD_SIGNATURE)
BYTES = {"boolean": 1, "int32": 4, "int64": 8, "float64": 8}


def wave(eps, a):
    return apply("multiply", apply("sin", apply("add", eps, a)), a)


def wide(kinds):
    return [8 if kind.startswith("pointer") else BYTES[kind] for kind in kinds]


@pytest.mark.parametrize(
    ("dtype", "n", "checked", "cc"), [("float64", 2, False, (8, 0)), ("float32", 33, True, (9, 0))]
)
def test_arguments_are_as_wide_as_the_kernel_declares(dtype, n, checked, cc):
    """Of threads that have rows, and of a block with draws looked at, matrices by row and outer products."""
    small = of_one_number(dtype, wave)
    made = test_cpu_rows.program(dtype) if checked else small
    emitted = emit_rows(made, n, FAR, checked)
    assert emitted.teams != checked
    code = ptx.ptx(emitted.source, "kernel", cc, [])
    assert declared(code.text) == wide(row_machines.arguments(emitted, dtype))
    assert f".target sm_{cc[0]}{cc[1]}" in code.text
    assert ".local" not in code.text


def test_arguments_of_what_follows():
    for kernel, kinds in zip(OWN, (row_machines.MERGE_ROWS, row_machines.ADD_ROWS), strict=True):
        assert declared(ptx.function_ptx(*kernel, (9, 0)).text) == wide(kinds)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_block_computes_for_a_turn_leaves_its_loops_alone(dtype):
    """Names that the loop over parts goes on with are not those of nests and products."""
    kernel = ast.parse(emit_rows(test_cpu_rows.program(dtype), 40, 10.0).source).body[-1]
    (turns,) = (node for node in ast.walk(kernel) if isinstance(node, ast.While) and "end" in ast.unparse(node.test))
    *turn, _, centre = turns.body
    assert isinstance(centre, ast.If)
    lasting = {argument.arg for argument in kernel.args.args} | assigned(kernel.body) - assigned([turns])
    assert {"unit", "of_row", "of_part", "used", "ws", "sums", "cr", "x0", "x1", "key0"} <= lasting
    assert not assigned(turn) & (lasting | {"begin", "end", "shift", "is_first", "far"})


def assigned(nodes):
    """Return the names that statements assign."""
    names = (name for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def emulator():
    """Return what launches machine code in the emulator of bench/."""
    sys.path.append(str(Path(__file__).parents[2] / "bench"))
    machine_code = pytest.importorskip("machine_code")
    if machine_code.missing():
        pytest.skip(machine_code.missing())
    from sass_emulator import launch

    return launch


@pytest.mark.parametrize(("dtype", "start", "n", "rtol"), [("float32", 3, 33, 2e-5), ("float64", 0, 40, 1e-12)])
def test_machine_code_of_teams_of_threads(dtype, start, n, rtol):
    """Each row's partial, as the device would leave it; teams beyond the last row write nothing."""
    launch, made, cc, seed = emulator(), of_one_number(dtype, wave), (9, 0), 2**40 + 3
    emitted, memory = emit_rows(made, n, 10.0), launch.Memory()
    ids = memory.put(np.stack([NUMBERS, np.full(3, seed)], axis=1).astype(np.uint64))
    out = memory.put(np.full(3 * emitted.rows + 4, np.nan))
    constants = memory.put(np.zeros(4, dtype)), memory.put(X.astype(dtype))
    threads = team(n, dtype)
    head = start, start + n, emitted.chunk, 1, 3, threads, False, ids, out
    words = memory.words()
    image = ptx.ptx(emitted.source, "kernel", cc, []).image
    machine = launch.machine(image, cc)
    machine.launch(struct.pack("=qqqiii?3xQQQQ", *head, *constants), words, [0], emitted.threads, 0)
    found = words[out // 4 :][: 2 * (3 * emitted.rows + 4)].view(np.float64)
    partials, marks = found[:-4].reshape(3, emitted.rows), found[-4:]
    kernel = NumpyKernel(made)
    wanted = RowByRow(made, kernel, {param("a"): X}, NUMBERS).partial(seed, start, start + n, (0, 3), False)
    assert threads > 1
    assert not machine.hazards
    assert partials[:, -2:].tolist() == [[n, 0.0]] * 3
    assert marks[:3].tolist() == [0.0] * 3
    assert np.isnan(marks[3])
    np.testing.assert_allclose(partials[:, :1], wanted.means, rtol=rtol)
    np.testing.assert_allclose(np.sqrt(partials[:, 2:3]), wanted.norms, rtol=100 * rtol)


def test_machine_code_of_blocks_of_threads(monkeypatch):
    """With matrices of all rows and by row, and outer products; no thread reads what others still write."""
    monkeypatch.setattr(test_cpu_rows, "ROWS", 2)
    launch, cc, n, seed = emulator(), (9, 0), 33, 2**40 + 3
    made, values, numbers = test_cpu_rows.program("float32"), test_cpu_rows.inputs(), NUMBERS[1:]
    emitted, memory = emit_rows(made, n, FAR, checked=True), launch.Memory()
    compiled = CompiledRows(made, emitted)
    (shared, _), (own, *stacked) = compiled.constants(values), compiled.own(values, (0, 2))
    constants = np.concatenate([x.ravel() for x in [np.zeros(1, np.float32), *shared[: len(emitted.scalars)]]])[1:]
    matrices = zip(emitted.matrices, shared[len(emitted.scalars) :], strict=True)
    kept = {False: iter([x.transpose(axes) for (_, axes), x in matrices]), True: iter(stacked)}
    given = [constants, own, np.zeros(emitted.components, np.float32), emitted.tables]
    given += [np.zeros(emitted.workspace, np.float32), *(next(kept[by_row]) for by_row in emitted.order)]
    ids = memory.put(np.stack([numbers, np.full(2, seed)], axis=1).astype(np.uint64))
    out = memory.put(np.full(2 * emitted.rows + 2, np.nan))
    pointers = [memory.put(array) for array in given]
    words = memory.words()
    machine = launch.machine(ptx.ptx(emitted.source, "kernel", cc, []).image, cc)
    head = 0, n, emitted.chunk, 1, 2, 32, False, ids, out, *pointers
    packed = struct.pack(f"=qqqiii?3xQQ{len(pointers)}Q", *head)
    machine.launch(packed, words, [0], emitted.threads, emitted.shared)  # one block has both rows
    partials = words[out // 4 :][: 4 * emitted.rows].view(np.float64).reshape(2, -1)
    reference, k = RowByRow(made, NumpyKernel(made), values, numbers), emitted.components
    for row, partial in enumerate(partials):
        moments = reference.row(seed, 0, n, row, False).moments
        np.testing.assert_allclose(partial[:k], moments.mean, rtol=1e-4)
        np.testing.assert_allclose(np.sqrt(partial[k:-2]), moments.norm, rtol=1e-3)
    assert not machine.hazards
    assert partials[:, -2:].tolist() == [[n, 0.0]] * 2


def test_machine_code_of_what_follows():
    """Parts of rows merged and rows added up, as the stand-in's kernels of NumPy do it; one row has lost its digits."""
    launch, cc = emulator(), (9, 0)
    rows, parts, k, columns = 40, 2, 5, np.array([0, -1, 1, -1, 2], np.int32)
    places, rng = np.flatnonzero(columns < 0).astype(np.int32), np.random.default_rng(0)
    partials = np.abs(rng.normal(size=(rows, parts, 2 * k + 2))) + 1.0
    partials[..., -2:] = 30, 0
    partials[3, 1, -3] = np.nan
    given = np.append(partials, np.zeros(rows))
    results, totals = np.zeros(6 * rows + 3 * rows), np.full(4, np.nan)
    wanted = [given.copy(), results.copy(), totals.copy()]
    merged = rows, parts, k, False, 1e-33, 1e-9
    row_machines.merge_rows(1, 256, 0, wanted[0], *merged, columns, 3, wanted[1])
    row_machines.add_rows(1, 256, 0, wanted[0], rows, parts, k, places, 2, wanted[2])
    memory = launch.Memory()
    at = [memory.put(x) for x in (given, results, totals)]
    tables = memory.put(columns), memory.put(places)
    words = memory.words()
    merge, add = (launch.machine(ptx.function_ptx(*kernel, cc).image, cc) for kernel in OWN)
    packed = struct.pack("=Qiii?3xddQi4xQ", at[0], *merged, tables[0], 3, at[1])
    merge.launch(packed, words, [0], 256, 0)
    add.launch(struct.pack("=Qiii4xQi4xQ", at[0], rows, parts, k, tables[1], 2, at[2]), words, [0], 256, 4096)
    for address, right in zip(at, wanted, strict=True):
        found = words[address // 4 :][: 2 * len(right)].view(np.float64)
        np.testing.assert_allclose(found, right, rtol=1e-13)
    assert wanted[1][-rows:].tolist() == [float(row == 3) for row in range(rows)]
