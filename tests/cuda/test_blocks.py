"""Kernels of blocks of threads compile for GPUs, without a device: no spills, no calls, memory by vectors."""

import math
import re
import subprocess
from types import ModuleType

import numba
import numpy as np
import pytest
from bench.machine_code import missing, tool
from bench.problems import problems

import mcgrad as mg
from mcgrad.codegen.cuda import blocks
from mcgrad.codegen.cuda.choose import emit

RNG = np.random.default_rng(0)
A, X, TABLE = RNG.standard_normal((20, 12)), RNG.standard_normal((3, 9, 12)), RNG.integers(0, 12, 40)
MATRIX = mg.Normal(RNG.standard_normal((12, 10)), 0.5)
VECTOR = mg.Normal(np.linspace(-0.5, 0.5, 12), 0.4)


def joined(z):
    w = np.concatenate([z[:, 1:] * z[:, :-1], np.cumprod(z, axis=1)[:, ::-1]], axis=1)
    return np.sum(np.pad(w, 1) ** 2) + np.sum(np.max(z, axis=0) * np.cumsum(np.sum(z, axis=0))) + np.min(z)


PATHS = {
    "scans, reductions over some axes, pads, concatenation": (joined, MATRIX),
    "tables and scatter_add": (lambda z: np.sum(np.tanh(z[TABLE]) * np.arange(40.0)) + z[TABLE % 5][3], VECTOR),
    "products of both orientations": (lambda z: np.sum(np.tanh(A @ z @ A[:10]) ** 2), MATRIX),
    "several matrices": (lambda z: np.sum(np.tanh(np.einsum("bij,jk->bik", X, z))), MATRIX),
    "a long axis": (
        lambda z: np.sum(np.logaddexp(0, np.tile(A, (50, 1)) @ z)) + np.sum(np.cumsum(np.tile(A, (20, 1)) @ z)),
        VECTOR,
    ),
    "outer products": (lambda z: np.sum(np.sin(z) * z), mg.MultivariateNormal(np.zeros(12), np.eye(12))),
    "all functions": (lambda z: np.sum(np.arctan2(np.log1p(z**2), np.exp(z)) + np.tan(z) ** 3), VECTOR),
}


def program(f, q, dtype, **given):
    return mg.Estimator(f, q, backend="numpy", dtype=dtype, **given).program


def bench(name, dtype):
    problem = problems()[name]
    q, params, data = problem.cast(dtype)
    family = mg.MultivariateNormal if "scale_tril" in q else mg.Normal
    return program(problem.f, family(**q), dtype, params=params, data=data, wrt=problem.wrt)


def compiled(emitted, cc):
    from mcgrad.kernels.target import cuda

    module = ModuleType("emitted")
    module.__dict__.update({f"native{i}": function for i, function in enumerate(emitted.user_functions)})
    exec(compile(emitted.source, "<emitted>", "exec"), module.__dict__)
    text, _ = cuda.compile(
        module.kernel, module.SIGNATURE, device=False, abi="numba", cc=cc, output="ptx", launch_bounds=module.LAUNCH
    )
    return text if isinstance(text, str) else text.decode()


def assembled(text, cc, folder):
    """What ptxas says of spills and the stack."""
    path = folder / "kernel.ptx"
    path.write_text(text)
    command = [tool("ptxas"), f"-arch=sm_{cc[0]}{cc[1]}", "-v", str(path), "-o", str(folder / "kernel.cubin")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return {int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill)", said)}


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("cc", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("name", ["chain100", "logistic", "asian", "fullcov50"])
def test_benchmarks_stay_in_registers(name, cc, tmp_path):
    emitted = emit(bench(name, "float32"))
    assert emitted.threads == blocks.THREADS
    assert emitted.shared <= blocks.SHARED
    text = compiled(emitted, cc)
    assert assembled(text, cc, tmp_path) == {0}
    assert "call" not in text
    assert not re.search(r"\b(mul|fma|div|sqrt|ex2)\.\S*f64", text)  # nothing but the sums of a chunk is float64
    assert not re.search(r"\b(ld|st)\.(f32|v4|b32)", text)  # no memory of unknown kind
    assert "ld.shared.v4.f32" in text or name == "asian"  # whose sums never leave the registers


@pytest.mark.parametrize("name", PATHS)
def test_every_path_compiles(name):
    checked = len(name) % 2 == 0
    text = compiled(blocks.emit(program(*PATHS[name], "float64" if checked else "float32"), checked), (8, 0))
    assert "call" not in text


@numba.njit
def bowl(z, tau, centre):
    return -0.5 * tau * ((z[0] - centre[0, 1]) ** 2 + math.exp(z[1]))


@numba.njit
def bowl_and_slope(z, slope, tau, centre):  # does not call the other: Numba would compile that for the present device
    slope[:] = 0.0
    slope[0], slope[1] = -tau * (z[0] - centre[0, 1]), -0.5 * tau * math.exp(z[1])
    return 0.0


def test_users_functions_compile():
    pair, given = mg.Integrand(value=bowl, value_and_grad=bowl_and_slope), {"data": {"centre": np.eye(2)}}
    emitted = blocks.emit(program(pair, VECTOR, "float32", params={"tau": 1.0}, wrt=("loc",), **given))
    assert ".entry" in compiled(emitted, (8, 0))


def test_the_largest_go_to_global_memory():
    q = mg.Normal(np.zeros(20_000), 1.0)
    emitted = emit(program(lambda z: np.sum(z[1:] * z[:-1]), q, "float32"))
    assert emitted.shared == 0
    assert emitted.workspace > 20_000
    assert "st.global.v4.f32" in compiled(emitted, (9, 0))


def test_a_million_rows_of_data_take_no_more_memory():
    def rows(n):
        data = {"X": np.broadcast_to(np.float32(0.5), (n, 8))}
        return emit(
            program(lambda z, X: np.sum(np.tanh(X @ z)), mg.Normal(np.zeros(8), 1.0), "float32", data=data)
        ).shared

    assert rows(1_000_000) == rows(1_000)
