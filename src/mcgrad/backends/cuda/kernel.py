"""A Program compiled for CUDA, cut into launches, and bound to values: kernel and bound kernel of `backends.base`."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import any_on_device
from mcgrad.backends.base import Shift
from mcgrad.backends.blas_threads import one_blas_thread
from mcgrad.backends.chunks import Chunks, Cut, split, whole
from mcgrad.backends.cuda import driver
from mcgrad.backends.cuda.compiled import Compiled, CompiledRows
from mcgrad.backends.cuda.constants import RootValues
from mcgrad.backends.cuda.driver import Device, Event, current_stream
from mcgrad.backends.cuda.rows import CudaRows
from mcgrad.backends.cuda.worker import Worker, workers
from mcgrad.backends.rescaled import powers, rescaled
from mcgrad.backends.row_by_row import by_row, summed
from mcgrad.backends.shifted_moments import FAR, ShiftedMoments, Sums
from mcgrad.codegen.cuda.choose import emit, emit_rows, row_shape
from mcgrad.codegen.cuda.kernel import Emitted
from mcgrad.codegen.cuda.rows import EmittedRows
from mcgrad.errors import ParameterError, shown
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values
from mcgrad.system.lazy_property import lazy_property

STREAMS = 2  # of a device: one runs while the partials of the other are merged
AT_ONCE = 5e9  # multiplications, a fraction of a millisecond, up to which a run is one chunk
SLAB = Cut(most=4e11, least=4e10, chunks=16)  # about ten milliseconds, or two where a run is short
FILL = 264  # least chunks of a slab: two for each multiprocessor of a large GPU
MOST_CHUNKS = 1 << 16  # of a slab
MOST_PARTIALS = 1 << 26  # bytes, of a slab
TYPICAL = 32  # draws of a row of a batch


_emitted: WeakKeyDictionary[Program, Emitted] = WeakKeyDictionary()


def emitted(program: Program) -> Emitted:
    """Emit the fast variant once, for `CudaBackend.is_compiled` and for `CudaKernel`."""
    found = _emitted.get(program)
    if found is None:
        found = _emitted[program] = emit(program)
    return found


_emitted_rows: WeakKeyDictionary[Program, dict[int, EmittedRows]] = WeakKeyDictionary()


def emitted_rows(program: Program, n: int) -> EmittedRows:
    """Emit the fast variant that averages n draws of each row once, likewise."""
    found, shape = _emitted_rows.setdefault(program, {}), row_shape(program, n)
    if shape not in found:
        found[shape] = emit_rows(program, n, FAR)
    return found[shape]


class CudaKernel:
    """A Program compiled for CUDA: a fast variant, a checked one, and others for inputs that are on the device."""

    takes_device_arrays = True

    def __init__(self, program: Program, devices: Sequence[Device]) -> None:
        self.program, self.devices = program, tuple(devices)
        self.work, self._products, self.keys = program.work(), program.multiplies_matrices(), keys_of(program)
        self._variants: dict[tuple[bool, bool], Compiled] = {}
        self._lock = threading.RLock()
        self.turns = Turns(self.devices)
        self.fast = self.variant(False, False)
        self.block, self.rows = self.fast.emitted.chunk, self.fast.emitted.rows + 2
        self._row_variants: dict[tuple[int, bool], CompiledRows] = {}
        self.by_row, self.over_rows = by_row(program), summed(program)
        if not self.by_row:  # else other kernels average the rows, mostly
            with self.devices[0].current():
                self.fast.on(self.devices[0])

    def variant(self, checked: bool, resident: bool) -> Compiled:
        """Return a variant: `checked` counts non-finite draws, `resident` reads constants from the device's memory."""
        with self._lock:
            found = self._variants.get((checked, resident))
            if found is None:
                fast = not checked and not resident
                code = emitted(self.program) if fast else emit(self.program, checked, by_value=not resident)
                found = self._variants[checked, resident] = Compiled(code, self.program.dtype, self.keys)
            return found

    def row_variant(self, n: int, checked: bool) -> CompiledRows:
        """Return the variant that averages n draws of each row of a batch: `checked` counts non-finite draws."""
        key = row_shape(self.program, n), checked
        with self._lock:
            found = self._row_variants.get(key)
            if found is None:
                code = emit_rows(self.program, n, FAR, checked) if checked else emitted_rows(self.program, n)
                found = self._row_variants[key] = CompiledRows(self.program, code)
            return found

    @lazy_property
    def rescaled(self) -> CudaKernel:
        """Return the variant whose outputs are multiplied by inputs, on the same devices."""
        return CudaKernel(rescaled(self.program), self.devices)

    def on(self, devices: Iterable[int]) -> CudaKernel:
        """Return the same kernel for some devices, by number; ParameterError for one that is not there."""
        visible = driver.devices()
        try:
            indices = [operator.index(index) for index in devices]
        except TypeError:
            indices = []
        if not indices or len(set(indices)) < len(indices) or not all(0 <= i < len(visible) for i in indices):
            known = ", ".join(f"{device.index} ({device.name})" for device in visible)
            raise ParameterError("devices", shown(devices), f"None for all, or different numbers of devices: {known}")
        other = copy.copy(self)
        other.devices = tuple(visible[i] for i in indices)
        other.turns = Turns(other.devices)
        other.__dict__.pop("rescaled", None)
        return other

    def chunks(self, first: int, n: int) -> Chunks:
        """Cut into slabs, each one launch: one for a short run, otherwise a first one of one chunk, for the shift."""
        most = min(MOST_CHUNKS, max(MOST_PARTIALS // (8 * self.rows), 1)) * self.block
        if n * self.work <= AT_ONCE and n + self.block <= most:
            return whole(n, first)
        cut = replace(SLAB, least=max(SLAB.least, FILL * self.block * self.work))
        return split(n, first, self.block, self.work, cut, most)

    def workers(self, threads: int) -> int:
        """Return the number of streams of all devices: threads only wait for these."""
        return STREAMS * len(self.devices)

    def bind(self, inputs: Values) -> CudaBound:
        """Bind values of the inputs; compute everything that is the same for all draws."""
        return CudaBound(self, inputs)

    def bind_rows(self, inputs: Values, numbers: npt.NDArray[np.int64]) -> CudaRows:
        """Bind values of the inputs, those by row with the rows on the first axis, and the numbers of the rows."""
        return CudaRows(self, inputs, numbers)

    def limits(self) -> AbstractContextManager[Any]:
        """Keep BLAS to one thread while constants are computed on the host: its sums depend on the number."""
        return one_blas_thread() if self._products else nullcontext()

    def source(self) -> str:
        """Return the emitted source; of kernels over rows that for few draws."""
        return emitted_rows(self.program, TYPICAL).source if self.by_row else self.fast.emitted.source


class Turns:
    """Chooses the device for the next launch."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._busy = dict.fromkeys(devices, 0)  # launches in progress
        self._lock = threading.RLock()

    @contextmanager
    def next(self) -> Iterator[Device]:
        """Return the device with the fewest launches, the first of equals: consecutive calls use the same one."""
        with self._lock:
            device = min(self._busy, key=self._busy.__getitem__)
            self._busy[device] += 1
        try:
            yield device
        finally:
            with self._lock:
                self._busy[device] -= 1


class CudaBound(ShiftedMoments):
    """A compiled Program with values for its inputs."""

    def __init__(self, kernel: CudaKernel, inputs: Values) -> None:
        super().__init__(kernel.fast.components, kernel.fast.dtype)
        self.kernel, self.inputs = kernel, inputs
        self.ready: Event | None = None
        self._resident = any_on_device(inputs.values())
        self._lock = threading.RLock()
        self._values: dict[bool, tuple[Compiled, RootValues]] = {}
        self._bound(False)

    def rescaled(self, exponents: npt.NDArray[np.int64]) -> CudaBound:
        """Bind the variant for it."""
        return CudaBound(self.kernel.rescaled, {**self.inputs, **powers(self.kernel.program, exponents)})

    def sums(self, seed: int, start: int, stop: int, shift: Shift, checked: bool, omit: bool) -> Sums:
        """Launch the kernel on the device with the fewest launches under way."""
        compiled, values = self._values.get(checked) or self._bound(checked)
        with self.kernel.turns.next() as device, device.current(), workers(device, Worker).taken() as worker:
            found = worker.run(compiled, values, shift, (seed, start, stop), omit, self.ready)
        k = compiled.components
        if not checked:
            return Sums(found[:k], found[k:])
        return Sums(found[:k], found[k : 2 * k], int(found[2 * k]), int(found[2 * k + 1]))

    def _bound(self, checked: bool) -> tuple[Compiled, RootValues]:
        with self._lock:
            if checked not in self._values:
                compiled = self.kernel.variant(checked, self._resident)
                with driver.computing() if self._resident else nullcontext():
                    self._values[checked] = compiled, compiled.constants(self.inputs)
                    if self._resident or current_stream():
                        self.ready = Event()
            return self._values[checked]
