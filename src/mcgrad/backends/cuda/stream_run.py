"""One run in a stream: its launches, in their order, and its memory.

The launches do not depend on what they compute: a pilot of few draws about zero, whose mean is the shift; a slab after
the other, with what adds up its partials; and the kernel that makes the results.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from mcgrad.arrays import as_dtype, contiguous, on_device, to_device
from mcgrad.backends.cuda import conditions
from mcgrad.backends.cuda.compiled import Compiled
from mcgrad.backends.cuda.driver import Device, Memory
from mcgrad.backends.cuda.kernel import CudaKernel
from mcgrad.backends.cuda.launch import launch
from mcgrad.backends.cuda.resident import ALIGNED
from mcgrad.backends.cuda.worker import MERGE_THREADS
from mcgrad.backends.finishing import Finishing
from mcgrad.backends.rescaled import RANGES
from mcgrad.ir.spaces import Values

PILOT = 1024  # draws at most
BOUNDARY = 256  # bytes at multiples of which parts of a call's memory begin
THREADS = 256  # of `kernels.in_stream`
WARP = 32
WIDE = np.dtype(np.float64)

Known = Mapping[tuple[int, int], Any]  # constants and factors, by the first component and the end


class Places(NamedTuple):
    """Addresses on the device where results go, in the dtype of the results; `nonfinite` is int64.

    Parameters
    ----------
    value, others : int
        Of the means of the value, and of those of the other components, which follow it.
    errors, nonfinite : int
        Of the standard errors of all components, and of the number of draws that were not finite; 0 for neither.
    """

    value: int
    others: int
    errors: int = 0
    nonfinite: int = 0


class Key(NamedTuple):
    """Addresses on the device of the lower and the higher 32 bits of a seed."""

    low: int
    high: int


def key_of(seed: int | Key, function: Any, place: int, device: Device, stream: int) -> Key:
    """Return where a seed is on the device: a number is written to an address there, by the kernel `key`."""
    if isinstance(seed, Key):
        return seed
    launch(device, stream, function, 1, WARP, "qqQ", seed & 0xFFFFFFFF, seed >> 32, place)
    return Key(place, place + 4)


class Lasting(NamedTuple):
    """A value that stays the same object from call to call, and the array on the device that runs read."""

    value: Any
    there: Any


@dataclass(frozen=True)
class Prepared:
    """What all runs on one device share: kernels, arrays on the device, and values that last, by their places."""

    kernel: CudaKernel
    compiled: Compiled
    finishing: Finishing
    checked: bool
    run: Any
    merge: Any
    key: Any
    shift: Any
    results: Any
    sources: Any
    fixed: Any
    follows: Any
    known: Any
    accepted: Any
    tables: Any
    lasting: Mapping[Hashable, Lasting]


class StreamRun:
    """One run: its launches, and its memory, which is released in the order of the stream."""

    def __init__(self, shared: Prepared, device: Device, stream: int) -> None:
        self._shared, self._device, self._stream = shared, device, stream
        self._compiled, self._emitted = shared.compiled, shared.compiled.emitted
        self._held: list[Any] = []  # arrays that launches read

    def put(
        self,
        inputs: Values,
        known: Known,
        accepted: list[Any],
        seed: int | Key,
        draws: tuple[int, int],
        omit: bool,
        places: Places,
    ) -> None:
        """Launch the pilot, the slabs, and the kernel that makes the results."""
        emitted, item, (start, stop) = self._emitted, self._compiled.dtype.itemsize, draws
        slabs = list(self._shared.kernel.chunks(start, stop - start))
        most = max(self._chunks(*slab)[1] for slab in slabs)
        grid = self._compiled.grid(self._device, most)
        constants = -(-max((first + var.size for var, first in emitted.scalars), default=0) // ALIGNED) * ALIGNED
        memory = Parts(
            {
                "key": 0 if isinstance(seed, Key) else 8,
                "constants": constants * item,
                "shift": emitted.components * item,
                "totals": 8 * emitted.rows * len(slabs),
                "partials": 8 * emitted.rows * most,
                "workspace": emitted.workspace * grid * item,
                "known": 8 * self._shared.finishing.size if known else 0,
            },
            self._stream,
        )
        key = key_of(seed, self._shared.key, memory["key"], self._device, self._stream)
        pointers = self._constants(inputs, memory)
        base, drawn = start // emitted.chunk * emitted.chunk, min(PILOT, emitted.chunk)
        self._device.clear(memory["shift"], emitted.components * item, self._stream)
        self._sums(key, (base, base + drawn), grid, omit, memory["totals"], memory, pointers)
        self._shift(memory, drawn)
        for i, slab in enumerate(slabs):
            self._sums(key, slab, grid, omit, memory["totals"] + 8 * emitted.rows * i, memory, pointers)
        self._results(memory, known, accepted, len(slabs), stop - start, omit, places)

    def _chunks(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first draw of the first chunk of a range, and how many chunks it has."""
        base = start // self._emitted.chunk * self._emitted.chunk
        return base, -(-(stop - base) // self._emitted.chunk)

    def _launch(self, function: Any, grid: int, threads: int, form: str, *values: Any, shared: int = 0) -> None:
        launch(self._device, self._stream, function, grid, threads, form, *values, shared=shared)

    def _constants(self, inputs: Values, memory: Parts) -> list[int]:
        """Compute what no draw changes, and return the pointers that kernels take after the common arguments."""
        emitted, dtype, k = self._emitted, self._compiled.dtype, len(self._emitted.scalars)
        values = self._compiled.constants(inputs).values
        for i, (_, first) in enumerate(emitted.scalars):
            self._copy(memory["constants"] + first * dtype.itemsize, self._there(i, values[i], dtype))
        matrices = [self._there(k + i, values[k + i], dtype, axes) for i, (_, axes) in enumerate(emitted.matrices)]
        tables = self._shared.tables.data.ptr
        places = [self._aligned(matrix) for matrix in matrices]
        return [memory["constants"], memory["shift"], tables, memory["workspace"], *places]

    def _there(self, place: Hashable, value: Any, dtype: np.dtype[Any], axes: tuple[int, ...] | None = None) -> Any:
        """Return a value as an array on the device as kernels read it; what lasts was placed there before."""
        known = self._shared.lasting.get(place)
        found = known.there if known is not None and known.value is value else placed(value, dtype, axes)
        self._held.append(found)
        return found

    def _copy(self, place: int, source: Any) -> None:
        self._device.copy(place, source.data.ptr, source.nbytes, self._stream)

    def _aligned(self, matrix: Any) -> int:
        """Return the address of a matrix, or of a copy, where vectors may not be read."""
        if matrix.data.ptr % (ALIGNED * matrix.itemsize) == 0:
            return int(matrix.data.ptr)
        memory = Memory(matrix.nbytes, self._stream)
        self._held.append(memory)
        self._copy(memory.address, matrix)
        return memory.address

    def _sums(
        self, key: Key, draws: tuple[int, int], grid: int, omit: bool, totals: int, memory: Parts, pointers: list[int]
    ) -> None:
        """Add up over some draws."""
        emitted, (base, chunks) = self._emitted, self._chunks(*draws)
        out = totals if chunks == 1 else memory["partials"]
        form, common = "QQqqqqqQ", (*key, *draws, base, chunks, omit, out)
        self._launch(
            self._shared.run,
            min(grid, chunks),
            emitted.threads,
            form + "Q" * len(pointers),
            *common,
            *pointers,
            shared=emitted.shared,
        )
        if chunks > 1:
            self._launch(self._shared.merge, emitted.rows, MERGE_THREADS, "QqQ", out, chunks, totals)

    def _shift(self, memory: Parts, drawn: int) -> None:
        size = self._emitted.components
        arguments = memory["totals"], size, drawn, self._shared.checked, memory["shift"]
        self._launch(self._shared.shift, -(-size // THREADS), THREADS, "QqqqQ", *arguments)

    def _results(
        self,
        memory: Parts,
        known: Known,
        accepted: list[Any],
        slabs: int,
        drawn: int,
        omit: bool,
        places: Places,
    ) -> None:
        shared, limits = self._shared, RANGES[self._compiled.dtype.itemsize]
        factors = shared.known.data.ptr
        if known:
            self._copy(memory["known"], shared.known)
            factors = memory["known"]
            for where, value in known.items():
                self._copy(factors + 8 * where[0], self._there(where, value, WIDE))
        holds: Any = conditions.accepted(accepted, self._device, self._stream) if accepted else shared.accepted
        self._held.append(holds)
        self._launch(
            shared.results,
            1,
            THREADS,
            "QqqqqqQddQQQQqqQQQQQq",
            memory["totals"],
            slabs,
            self._emitted.components,
            drawn,
            shared.checked,
            omit,
            memory["shift"],
            limits.least,
            limits.floor,
            shared.sources.data.ptr,
            factors,
            shared.fixed.data.ptr,
            shared.follows.data.ptr,
            shared.finishing.size,
            shared.finishing.values,
            holds.data.ptr,
            places.value,
            places.others or places.value,
            places.errors or places.value,
            places.nonfinite or places.value,
            bool(places.errors),
        )


class Parts:
    """Parts of one piece of memory on a device, by name.

    Parameters
    ----------
    sizes : mapping from str to int
        Bytes of each.
    stream : int
    """

    def __init__(self, sizes: Mapping[str, int], stream: int) -> None:
        starts = [0, *accumulate(-(-max(nbytes, 1) // BOUNDARY) * BOUNDARY for nbytes in sizes.values())]
        self._memory = Memory(starts[-1], stream)
        self._addresses = {name: self._memory.address + start for name, start in zip(sizes, starts, strict=False)}

    def __getitem__(self, name: str) -> int:
        return self._addresses[name]


def placed(value: Any, dtype: np.dtype[Any], axes: tuple[int, ...] | None = None) -> Any:
    """Return an array on the current device, of a dtype, with its axes in an order, in one piece."""
    there = as_dtype(value if on_device(value) else to_device(value), dtype)
    return contiguous(there if axes is None else there.transpose(axes))
