"""Kernels over rows without a device: arguments as PTX declares them, names in the source, emulated machine code."""

import ast
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

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
X = np.array([0.3, 1e4, -2.0])[:, None]  # of three rows
NUMBERS = np.array([7, 0, 2**28 - 1])
BYTES = {"boolean": 1, "int32": 4, "int64": 8, "float64": 8}


def wave(eps, a):
    return apply("multiply", apply("sin", apply("add", eps, a)), a)


def wide(kinds):
    return [8 if kind.startswith("pointer") else BYTES[kind] for kind in kinds]


@pytest.mark.parametrize(
    ("dtype", "n", "checked", "cc"), [("float32", 2, False, (9, 0)), ("float64", 33, True, (8, 0))]
)
def test_arguments_are_as_wide_as_the_kernel_declares(dtype, n, checked, cc):
    """Of threads that have rows, and of a block with draws looked at, matrices by row and outer products."""
    small = of_one_number(dtype, wave)
    made = test_cpu_rows.program(dtype) if checked else small
    emitted = emit_rows(made, n, 10.0, checked)
    assert emitted.teams != checked
    code = ptx.ptx(emitted.source, "kernel", cc, [])
    assert declared(code.text) == wide(row_machines.arguments(emitted, dtype))
    assert f".target sm_{cc[0]}{cc[1]}" in code.text
    assert ".local" not in code.text


def test_arguments_of_what_follows():
    for python, signature, kinds in (
        (cuda_rows.merge_rows, cuda_rows.MERGE_SIGNATURE, row_machines.MERGE_ROWS),
        (cuda_rows.add_rows, cuda_rows.ADD_SIGNATURE, row_machines.ADD_ROWS),
    ):
        assert declared(ptx.function_ptx(python, signature, (9, 0)).text) == wide(kinds)


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


@pytest.mark.parametrize(("dtype", "start", "n", "rtol"), [("float32", 3, 33, 2e-5), ("float64", 0, 40, 1e-12)])
def test_machine_code_of_teams_of_threads(dtype, start, n, rtol):
    """Each row's partial, as the device would leave it; teams beyond the last row write nothing."""
    sys.path.append(str(Path(__file__).parents[2] / "bench"))
    machine_code = pytest.importorskip("machine_code")
    if machine_code.missing():
        pytest.skip(machine_code.missing())
    from sass_emulator import launch

    made, cc, seed = of_one_number(dtype, wave), (9, 0), 2**40 + 3
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
