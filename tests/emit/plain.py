"""The CPU backend with its emitted source run as plain Python, on few lanes, every index checked.

What machine code would read or write out of bounds, or in the wrong place, is found here, hundreds of functions in
seconds; that the machine code does the same is tested on fewer.
"""

from __future__ import annotations

import ast
import importlib
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import mcgrad.backends.cpu_compiled
import mcgrad.codegen.loops.layout
import mcgrad.codegen.loops.lower
import mcgrad.codegen.loops.tile
from mcgrad.backends.cpu import CpuBackend
from mcgrad.ir.interpret import IMPL
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource


def at(array, index):
    assert 0 <= index < array.size, f"read at {index} of {array.size}"
    return array[index]


def put(array, index, value):
    assert 0 <= index < array.size, f"write at {index} of {array.size}"
    array[index] = value


class Rows:
    """Element access of the emitted function itself, which promises LLVM that no row is both a sum and another row."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, int], str] = {}

    def reader(self, kind):
        return lambda array, index: at(self._seen(kind, array, index), index)

    def writer(self, kind):
        return lambda array, index, value: put(self._seen(kind, array, index), index, value)

    def _seen(self, kind, array, index):
        assert self._kinds.setdefault((id(array), index), kind) == kind, f"element {index} is a sum and another row"
        return array

    def shims(self) -> dict[str, Any]:
        return {
            "at": self.reader("row"),
            "put": self.writer("row"),
            "at_chosen": self.reader("row"),
            "at_others": self.reader("row"),
            "put_others": self.writer("row"),
            "at_sum": self.reader("sum"),
            "put_sum": self.writer("sum"),
        }


def matrix(array, first, rows, columns, lead):
    assert columns <= lead
    assert 0 <= first <= first + (rows - 1) * lead + columns <= array.size
    return np.lib.stride_tricks.as_strided(array[first:], (rows, columns), (lead * array.itemsize, array.itemsize))


def gemm(blas, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta):
    gemm_rows(blas, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta, n)


def gemm_rows(
    blas, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta, lead
):
    left = matrix(a, a_first, k, m, a_lead).T if a_transposed else matrix(a, a_first, m, k, a_lead)
    right = matrix(b, b_first, n, k, b_lead).T if b_transposed else matrix(b, b_first, k, n, b_lead)
    result = matrix(c, c_first, m, n, lead)
    result[:] = left @ right + (beta * result if beta else 0)


def noise_elements(law, dtype):
    each = 4 if dtype == "float32" else 2

    def fill(ws, first, stride, count, base, low, high, stream, key0, key1):
        start, draws = each * (base + low), each * (high - low)
        values = numbers(NoiseSource(stream, law), key0 + (key1 << 32), np.arange(count), start, draws, dtype)
        matrix(ws, first + each * low * stride, draws, count, stride)[:] = values.T

    return fill


def noise_row(law, dtype):
    groups = 4 if dtype == "float32" else 2

    def fill_row(ws, first, lanes, group, component, stream, key0, key1):
        assert 0 <= first <= first + lanes <= ws.size
        values = numbers(NoiseSource(stream, law), key0 + (key1 << 32), [component], groups * group, lanes, dtype)
        ws[first : first + lanes] = values.reshape(-1, groups).T.ravel()

    return fill_row


SHIMS: dict[str, Any] = {
    **dict.fromkeys(("at", "at_any", "at_constant", "at_moment", "at_chosen", "at_others"), at),
    **dict.fromkeys(("put", "put_any", "put_moment", "put_others"), put),
    "gemm": gemm,
    "gemm_rows": gemm_rows,
    "select": lambda condition, a, b: a if condition else b,
    "accumulate": lambda s, x: s + x,
    "lane": lambda function: function,
    "prefer_vector_width": lambda: None,
    "uint32": int,
    "uint64": int,
    **{f"{k}_elements{d[-2:]}": noise_elements(k, d) for k in ("normal", "uniform") for d in ("float32", "float64")},
    **{f"{k}_row{d[-2:]}": noise_row(k, d) for k in ("normal", "uniform") for d in ("float32", "float64")},
}


def shim(module: str, name: str) -> Any:
    """Return a function of the kernels in plain Python: the op's meaning, or its own Python code on these shims."""
    if name in SHIMS:
        return SHIMS[name]
    function = getattr(importlib.import_module(module), name)
    if name in IMPL:
        return lambda *args: IMPL[name](None, *args)
    if not hasattr(function, "py_func"):
        return function
    python = function.py_func
    known = {each: python.__globals__.get(each) for each in python.__code__.co_names}
    called = {each: shim(x.py_func.__module__, each) for each, x in known.items() if hasattr(x, "py_func")}
    return FunctionType(python.__code__, {**python.__globals__, **called, **SHIMS}, name, python.__defaults__)


class ShimModule:
    """A module of the kernels, in plain Python."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return shim(self._name, name)


def load(source: str, name: str, user_functions: list[Any], arguments: tuple[Any, ...]) -> Any:
    """Do what `mcgrad.toolchain.compile.load` does, without compiling for the types of the arguments."""
    tree = ast.parse(source)
    namespace: dict[str, Any] = {f"native{i}": function.py_func for i, function in enumerate(user_functions)}
    kept = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "mcgrad.kernels":
            namespace |= {alias.name: ShimModule(f"mcgrad.kernels.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mcgrad.kernels"):
            namespace |= {alias.name: shim(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            kept.append(node)
        elif not isinstance(node, ast.ImportFrom):
            kept.append(node)
    namespace |= {"uint32": int, "uint64": int}
    exec(compile(ast.Module(kept, []), "<emitted>", "exec"), namespace)

    def run(*args):
        namespace.update(Rows().shims())
        with np.errstate(all="ignore"):
            namespace[name](int(args[0]), int(args[1]), *args[2:])

    return run


@pytest.fixture
def plain_backend(monkeypatch):
    """Return the CPU backend without machine code, 8 lanes wide."""
    monkeypatch.setattr(mcgrad.backends.cpu_compiled, "load", load)
    monkeypatch.setattr(mcgrad.codegen.loops.layout, "choose_lanes", lambda rows, dtype: 8)
    return CpuBackend()


@pytest.fixture
def low_thresholds(monkeypatch):
    """Let matrix products, outer products and tiles of two rows appear in the smallest Programs."""
    monkeypatch.setattr(mcgrad.codegen.loops.tile, "SHORTEST", 2)
    monkeypatch.setattr(mcgrad.codegen.loops.lower, "SMALL_CONTRACTION", 1)
    monkeypatch.setattr(mcgrad.codegen.loops.lower, "SMALL_OUTER", 2)
    monkeypatch.setattr(mcgrad.codegen.loops.layout, "TILE_ROWS", 2)
