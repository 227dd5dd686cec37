"""Runs that are ordered in a stream of a device: nothing waits for them, and their results stay on the device.

A CUDA graph may hold what `stream_run` launches. Memory is the call's own, from the allocator that is CuPy's at the
time, so neither other streams nor captured graphs write to it.

What does not change from call to call is prepared by the first one, which waits for the device. A graph keeps addresses
of that, so that it stays in memory once it was captured.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from mcgrad.arrays import on_device, to_device
from mcgrad.backends.cuda.compiled import Compiled, compiling
from mcgrad.backends.cuda.copies import Copies, keep
from mcgrad.backends.cuda.driver import Device, within
from mcgrad.backends.cuda.kernel import CudaKernel
from mcgrad.backends.cuda.stream_run import WIDE, Key, Known, Lasting, Places, Prepared, StreamRun, placed
from mcgrad.backends.finishing import Finishing
from mcgrad.codegen.cuda.choose import emit
from mcgrad.codegen.cuda.key_in_memory import with_key_in_memory
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Input, Values
from mcgrad.toolchain import ptx

FIRST = (
    "the first run of an expectation, which compiles and copies, while a CUDA graph is captured; call it once before, "
    "with arguments like these, in any stream"
)


class InStream:
    """Runs of a Program in streams of devices.

    Parameters
    ----------
    kernel : CudaKernel
    finishing : Finishing
    dtype : dtype
        Of the results.
    checked : bool
        Whether draws that are not finite are counted, or left out: such a kernel looks at every draw.
    """

    def __init__(self, kernel: CudaKernel, finishing: Finishing, dtype: np.dtype[Any], checked: bool) -> None:
        self.kernel, self.finishing, self.checked, self._dtype = kernel, finishing, checked, dtype
        code = with_key_in_memory(emit(kernel.program, checked, by_value=False))
        self.compiled = Compiled(code, kernel.program.dtype, kernel.keys)
        self._prepared: dict[int, Prepared] = {}
        self._copies = Copies()
        self._lock = threading.RLock()

    def on_device(self, inputs: Values, device: Device, stream: int) -> dict[Input, Any]:
        """Return inputs as arrays on a device: those of the host are copied where an earlier call had others."""
        return self._copies(inputs, device, stream)

    def __call__(
        self,
        inputs: Values,
        known: Known,
        accepted: Iterable[Any],
        seed: int | Key,
        draws: tuple[int, int],
        omit: bool,
        places: Places,
        device: Device,
        stream: int,
    ) -> None:
        """Put a run into a stream.

        Parameters
        ----------
        inputs : mapping from Input to array
            On the device.
        known : mapping from (int, int) to array
            Constants and factors of outputs, on the device, by the first component and the end.
        accepted : iterable of Interval, or of array of bool
            Conditions on the device: where one does not hold, all results are NaN.
        seed : int or Key
        draws : (int, int)
            First draw, end.
        omit : bool
            Whether draws that are not finite are left out.
        places : Places
        device : Device
        stream : int
            Address of the stream, in which the inputs are ready.
        """
        with device.current(), within(stream):
            shared, capturing = self._prepared.get(device.index), device.is_capturing(stream)
            if shared is None:
                if capturing:
                    raise BackendError(FIRST)
                shared = self._prepare(inputs, known, device, stream)
            elif capturing:
                keep(self, shared, *self._copies.all())
            StreamRun(shared, device, stream).put(inputs, known, list(accepted), seed, draws, omit, places)

    def _prepare(self, inputs: Values, known: Known, device: Device, stream: int) -> Prepared:
        """Compile, copy and compute what stays the same, and wait for it."""
        with self._lock:
            found = self._prepared.get(device.index)
            if found is not None:
                return found
            compiled, of = self.compiled, self.finishing
            run, merge = compiled.on(device)
            key, shift, results = functions(device, compiled.dtype, self._dtype)
            found = Prepared(
                kernel=self.kernel,
                compiled=compiled,
                finishing=of,
                checked=self.checked,
                run=run,
                merge=merge,
                key=key,
                shift=shift,
                results=results,
                sources=to_device(of.sources),
                fixed=to_device(of.fixed),
                follows=to_device(of.follows),
                known=to_device(np.ones(of.size)),
                accepted=to_device(np.ones(1, np.uint8)),
                tables=to_device(compiled.emitted.tables),
                lasting=self._lasting(inputs, known),
            )
            device.wait(stream)
            self._prepared[device.index] = found
            return found

    def _lasting(self, inputs: Values, known: Known) -> dict[Hashable, Lasting]:
        """Return those values of roots, and constants and factors, that are the same objects in later calls."""
        values, k = self.compiled.constants(inputs), len(self.compiled.emitted.scalars)
        axes = [None] * k + [axes for _, axes in self.compiled.emitted.matrices]
        found: dict[Hashable, Lasting] = {}
        for i, (value, lasts) in enumerate(zip(values.values, values.lasting, strict=True)):
            if lasts or not on_device(value):
                found[i] = Lasting(value, placed(value, self.compiled.dtype, axes[i]))
        for where, value in known.items():
            if not on_device(value):
                found[where] = Lasting(value, placed(value, WIDE))
        return found


def functions(device: Device, dtype: np.dtype[Any], result: np.dtype[Any]) -> list[Any]:
    """Return the kernels `key`, `shift` and `results` for a dtype of the shift and one of the results."""
    with compiling(device):
        from numba import types

        from mcgrad.kernels import in_stream as kernels

        real, of_result = getattr(types, str(dtype)), getattr(types, str(result))
        codes = [
            ptx.function_ptx(kernels.key, kernels.KEY, device.cc),
            ptx.function_ptx(kernels.shift, kernels.shift_signature(real), device.cc),
            ptx.function_ptx(kernels.results, kernels.results_signature(real, of_result), device.cc),
        ]
    return [device.load(code) for code in codes]
