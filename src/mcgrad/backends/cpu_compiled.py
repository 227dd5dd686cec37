"""An emitted chunk function compiled for the CPU: its arguments, and a workspace for each thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.backends.base import Array
from mcgrad.backends.host_values import HostValues
from mcgrad.codegen.cpu.chunk import Emitted
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Values
from mcgrad.noise.keys import Keys
from mcgrad.toolchain.compile import load

CACHE_LINE = 64


class Compiled:
    """An emitted chunk function and how to call it."""

    name = "chunk"  # of the function

    def __init__(self, emitted: Emitted, dtype: str, keys: Keys) -> None:
        from mcgrad.kernels import blas  # imports Numba

        self.emitted, self.dtype, self.keys = emitted, np.dtype(dtype), keys
        self.components = sum(out.var.size for out, _ in emitted.outputs)
        given = [(var, slice(at, at + var.size)) for var, at in emitted.scalars]
        self.shared_inputs = [(var.attrs, place) for var, place in given if var.op == "input"]
        self._computed = [place for var, place in given if var.op != "input"]
        computed = [var for var, _ in given if var.op != "input"]
        matrices = [(var, axes, var.op == "input") for var, axes in emitted.matrices]
        self.matrices = [(var.attrs if is_input else None, axes) for var, axes, is_input in matrices]
        computed += [var for var, _, is_input in matrices if not is_input]
        self.host, self.computes = HostValues(computed, dtype), bool(computed)
        self.size = sum(var.size for var, _ in emitted.scalars) + 1
        self.blas = blas.gemm_address(self.dtype.itemsize * 8) if emitted.uses_blas else 0
        self._local = threading.local()
        self.function = self._compiled()

    def _compiled(self) -> Callable[..., None]:
        """Have the function compiled or found in the cache."""
        try:
            return load(self.emitted.source, self.name, self.emitted.user_functions, self.empty_call())
        except RecursionError:  # of Numba's, a few calls deep for every loop
            limit, loops = sys.getrecursionlimit(), self.emitted.loops
            raise BackendError(
                f"Numba reaches Python's limit of {limit:,} nested calls, as f unrolls into {loops} loops: "
                f"mg.scan or whole-array expressions in f, sys.setrecursionlimit({10 * limit}) before, or "
                'backend="numpy"'
            ) from None

    def empty_call(self) -> tuple[Any, ...]:
        """Return the arguments of a call over no draws at all."""
        none, nothing = np.empty(0), np.empty(0, self.dtype)
        return (
            *self.keys.of(0), 0, 0, nothing, self.emitted.tables, self.take_workspace(), nothing, none, none,
            np.zeros(2, np.int64), False, self.blas, *[read_only(nothing)] * len(self.emitted.matrices),
        )  # fmt: skip

    def arguments(self, inputs: Values) -> tuple[Array, list[Array]]:
        """Compute the draw-independent arguments."""
        c = np.empty(self.size, self.dtype)
        for name, place in self.shared_inputs:
            c[place] = inputs[name].reshape(-1)
        values = iter(self.host(inputs) if self.computes else ())
        for place in self._computed:
            c[place] = next(values).ravel()
        arrays = [(next(values) if name is None else inputs[name], axes) for name, axes in self.matrices]
        return c, [self._read_only(x.transpose(axes)) for x, axes in arrays]

    def _read_only(self, x: Array) -> Array:
        """Return an array flat and read-only, in the dtype: a copy where its elements are in another order."""
        flat = (x if x.dtype == self.dtype else x.astype(self.dtype)).reshape(-1)
        flat.flags.writeable = False
        return flat

    def take_workspace(self) -> Array:
        """Return this thread's workspace, or a new one inside another call of this thread, which has it."""
        found: Array | None = self._local.__dict__.pop("workspace", None)
        return self.new_workspace() if found is None else found

    def new_workspace(self) -> Array:
        """Return a workspace that is not kept for this thread."""
        return _aligned(self.emitted.rows * self.emitted.lanes, self.dtype)

    def give_back(self, workspace: Array) -> None:
        """Keep a workspace for the next call of this thread."""
        self._local.workspace = workspace


def read_only(array: Array) -> Array:
    """Return a view that cannot be written to: a type of its own for Numba, and that of data, which are not copied."""
    view = array.view()
    view.flags.writeable = False
    return view


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Return zeros that start at a cache line, so that no vector of a row lies across two."""
    raw = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    first = -raw.ctypes.data % CACHE_LINE
    return raw[first : first + size * dtype.itemsize].view(dtype)
