"""Estimates of batches that are put into a stream of a CUDA device, and stay there: nothing waits for them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from mcgrad.arrays import as_dtype, computing, joined, on_device, to_device
from mcgrad.engine.in_stream import InStreams
from mcgrad.engine.row_results import Results, RowResults
from mcgrad.inputs import arguments
from mcgrad.ir.program import Var
from mcgrad.ir.spaces import Input, Space, Values
from mcgrad.noise.rows import draws_of_row


class RowsInStreams(InStreams):
    """Puts estimates of one batch into streams: its rows have the numbers 0, 1, 2 ..."""

    _constants: dict[Var, Any] | None = None

    def obstacle(self) -> str | None:
        """Return why estimates cannot stay on the device, or None."""
        derived, kernel = self._derived, self._dispatched.running.kernel
        assert derived.batch is not None
        found = super().obstacle()
        if found is not None:
            return found
        if derived.batch.common_noise or not derived.components.of_number or not hasattr(kernel, "row_variant"):
            return "rows with common noise, or of an integrand that returns an array, are averaged by way of the host"
        if derived.q.batch and not derived.q.checks_rows_together:
            return f"the parameters of {type(derived.q).__name__} are checked row by row, on the host"
        return None

    def put(
        self,
        changes: Mapping[Input, Any],
        n: int,
        seed: int | tuple[int, int],
        places: Sequence[int],
        wrt: tuple[str, ...],
        device: int,
        stream: int,
        first: int = 0,
    ) -> None:
        """Put an estimate into a stream.

        Parameters
        ----------
        changes, n, seed, places, wrt, device, stream, first
            As for `InStreams.put`: gradients in parameters that have rows, and with ``reduce="none"`` all, are by row.
        """
        from mcgrad.backends.cuda import driver
        from mcgrad.backends.cuda.stream_run import Places

        dtype, to = np.dtype(self._derived.dtype), Places(*places)
        with computing(), driver.devices()[device].current(), driver.within(stream):
            found = self.results(changes, n, seed, bool(to.errors), device, stream, first)
            parts = [found.value, *(found.grads[path] for path in wrt)]
            pieces = [
                (to.value, _flat([found.value.means], dtype)),
                (to.others, _flat([x.means for x in parts[1:]], dtype)),
            ]
            if to.errors:
                pieces.append((to.errors, _flat([x.errors for x in parts], dtype)))
                pieces.append((to.nonfinite, as_dtype(found.nonfinite.sum(), np.dtype(np.int64))))
            self.copy([(place, x.data.ptr, x.nbytes) for place, x in pieces if x is not None], device, stream)

    def results(
        self,
        changes: Mapping[Input, Any],
        n: int,
        seed: int | tuple[int, int],
        errors: bool,
        device: int,
        stream: int,
        first: int = 0,
    ) -> Results:
        """Put an estimate into a stream, which is the current one, and return its results as CuPy's float64 arrays.

        Parameters
        ----------
        changes, n, seed, device, stream, first
            As for `put`.
        errors : bool
            Whether standard errors and numbers of draws that are not finite are asked for.
        """
        from mcgrad.backends.cuda import conditions, driver
        from mcgrad.backends.cuda.copies import keep
        from mcgrad.backends.cuda.stream_run import Key

        derived, omit = self._derived, self._nonfinite == "omit"
        batch = derived.batch
        assert batch is not None
        n, first = arguments.draw_range(n, first, derived.groups.size)
        most = draws_of_row(derived.dtype) * derived.groups.size
        arguments.count("n", first + n, 0, most)
        draws = derived.groups.of(first), derived.groups.of(first + n)
        run, finish = self._run_of_rows(draws[1] - draws[0], errors or omit)
        where = driver.devices()[device]
        if where.is_capturing(stream):
            keep(self)
        accepts = [self._accepts(name, x) for name, x in changes.items() if name.space is Space.PARAM]
        inputs = run.on_device({**self._own, **derived.inputs.fixed, **changes}, where, stream)
        by_row, rows = batch.rows(inputs), math.prod(batch.shape_of(inputs))
        key = seed if isinstance(seed, int) else Key(*seed)
        found = run(by_row, rows, key, draws, omit, where, stream)
        results: Results = finish(found, self._known_rows(by_row), batch.reduce)
        accepted = [x for x in accepts if x is not True]
        if not accepted:
            return results
        return results.unless(conditions.accepted(accepted, where, stream) == 0)

    def _known_rows(self, inputs: Values) -> dict[Var, Any]:
        """Return constants and factors on the device; those that depend on no input are placed there once."""
        found = self._finish.known(inputs)
        if self._constants is None:
            self._constants = {var: to_device(x) for var, x in found.items() if not on_device(x)}
        return {**found, **self._constants}

    def _run_of_rows(self, n: int, checked: bool) -> Any:
        """Return what runs a kernel over rows in streams, for so many draws, and what makes the results."""
        from mcgrad.backends.cuda.rows_in_stream import RowsInStream

        kernel: Any = self._dispatched.running.kernel
        with self._lock:
            key: Hashable = (id(kernel), checked, n)
            if key not in self._runs:
                run = RowsInStream(kernel, n, checked)
                self._runs[key] = run, RowResults(self._finish.layouts, run.limits, self._nonfinite == "omit")
            return self._runs[key]


def _flat(parts: Sequence[Any], dtype: np.dtype[Any]) -> Any:
    """Return arrays, flat and one after the other; None of no arrays."""
    return as_dtype(joined([x.ravel() for x in parts]), dtype) if parts else None
