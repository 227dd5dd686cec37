"""Estimates that are put into a stream of a CUDA device, and stay there: nothing waits for them.

So what has to look at numbers on the host is not done. `InStreams.obstacle` says where an estimate cannot do without;
the PyTorch and JAX parts of the package then call the Estimator.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.arrays import as_dtype, computing, on_device
from mcgrad.backends.finishing import Interval
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import CUDA, Dispatched
from mcgrad.inputs import arguments
from mcgrad.ir.interpret import THROUGH_HOST
from mcgrad.ir.program import toposort
from mcgrad.ir.spaces import Input, Space, Values, param


class InStreams:
    """Puts estimates of one problem into streams.

    Parameters
    ----------
    derived : Derivation
    dispatched : Dispatched
    finish : Finisher or RowFinisher
    nonfinite : str
        As for `Estimator`.
    """

    def __init__(self, derived: Derivation, dispatched: Dispatched, finish: Any, nonfinite: str) -> None:
        self._derived, self._dispatched, self._finish, self._nonfinite = derived, dispatched, finish, nonfinite
        self._runs: dict[Hashable, Any] = {}
        own = {**derived.q.flat_params, **derived.inputs.params}
        self._own = {param(path): x for path, x in own.items()}
        self._lock = RLock()

    def obstacle(self) -> str | None:
        """Return why estimates cannot stay on the device, or None."""
        derived, dispatched = self._derived, self._dispatched
        if dispatched.running.backend.name != CUDA:
            return f"the backend is {dispatched.running.backend.name!r}"
        if derived.pilots:
            return f"the pilot of method {derived.plan.method!r} runs on the host"
        if self._nonfinite == "raise":
            return 'nonfinite="raise" looks at the result'
        if derived.q.checks_on_host:
            return f"the parameters of {type(derived.q).__name__} are checked on the host"
        roots = [*derived.program.hoisted(), *self._finish.roots]
        found = sorted({var.op for var in toposort(roots) if not var.by_draw} & THROUGH_HOST)
        return f"{', '.join(found)} of values that no draw changes is computed on the host" if found else None

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
        changes : mapping from Input to array
            Values of parameters and data, in host memory or on the device, where they are ready in the stream.
        n, first : int
        seed : int, or (int, int)
            A number, or the addresses on the device of its lower and its higher 32 bits.
        places : sequence of int
            Addresses on the device where results go, in the dtype of the problem: the means of the value; those of the
            gradient; and, where they are asked for, the standard errors of value and gradient, and the int64 number of
            draws that were not finite.
        wrt : tuple of str
            The order of the parameters in the gradient.
        device : int
        stream : int
            Its address.

        Raises
        ------
        ParameterError
            A value in host memory is not accepted. One on the device makes all results NaN.
        BackendError
            A first call while a CUDA graph is captured, among others.
        """
        from mcgrad.backends.cuda import driver
        from mcgrad.backends.cuda.stream_run import Key, Places

        derived = self._derived
        n, first = arguments.draw_range(n, first, derived.groups.size)
        run = self._run(self._dispatched.running.kernel, any(places[2:]) or self._nonfinite == "omit", wrt)
        where = driver.devices()[device]
        with computing(), where.current(), driver.within(stream):
            conditions = [self._accepts(name, x) for name, x in changes.items() if name.space is Space.PARAM]
            inputs = run.on_device({**self._own, **derived.inputs.fixed, **changes}, where, stream)
            known = self._known(inputs, wrt)
            draws = derived.groups.of(first), derived.groups.of(first + n)
            accepted = [x for x in [*conditions, *self._relations(inputs)] if x is not True]
            key = seed if isinstance(seed, int) else Key(*seed)
            run(inputs, known, accepted, key, draws, self._nonfinite == "omit", Places(*places), where, stream)

    @staticmethod
    def copy(pieces: Iterable[tuple[int, int, int]], device: int, stream: int) -> None:
        """Copy pieces of a device's memory in a stream: each to an address, from another, so many bytes."""
        from mcgrad.backends.cuda import driver

        where = driver.devices()[device]
        with where.current():
            for to, source, nbytes in pieces:
                where.copy(to, source, nbytes, stream)

    def _known(self, inputs: Values, wrt: tuple[str, ...]) -> Mapping[tuple[int, int], Any]:
        """Return constants and factors by their places, with the gradient in another order of its parameters."""
        components = self._derived.components
        found: dict[tuple[int, int], Any] = self._finish.known(inputs)
        end = components.values.stop
        if not found or wrt == self._derived.wrt:
            return found
        moved = {0: 0}
        for path in wrt:
            where = components.slices[path]
            moved[where.start] = end
            end += where.stop - where.start
        return {(moved[a], moved[a] + b - a): x for (a, b), x in found.items() if a in moved}

    def _order(self, wrt: tuple[str, ...]) -> list[int]:
        """Return the components: the value, then the gradient in the order of some parameters."""
        components = self._derived.components
        slices = [components.values, *(components.slices[path] for path in wrt)]
        return [i for where in slices for i in range(where.start, where.stop)]

    def _run(self, kernel: Any, checked: bool, wrt: tuple[str, ...]) -> Any:
        """Return what runs a kernel in streams; made at the first request."""
        from mcgrad.backends.cuda.in_stream import InStream

        with self._lock:
            key: Hashable = (id(kernel), checked, wrt)
            if key not in self._runs:
                dtype, finishing = np.dtype(self._derived.dtype), self._finish.finishing().ordered(self._order(wrt))
                self._runs[key] = InStream(kernel, finishing, dtype, checked)
            return self._runs[key]

    def _relations(self, inputs: Values) -> list[Any]:
        """Return whether the parameters of q go together, on the device."""
        q, dtype = self._derived.q, np.dtype(self._derived.dtype)
        if not q.has_check:
            return []
        return [good.all() for good in q.relations({path: as_dtype(inputs[param(path)], dtype) for path in q.shapes})]

    def _accepts(self, name: Input, x: Any) -> Any:
        """Return whether a value of a parameter is accepted: for one on the device the answer is there."""
        q, dtype = self._derived.q, self._derived.dtype
        is_of_q = name.path in q.shapes
        if on_device(x):
            rounded = as_dtype(x, np.dtype(dtype))
            found = q.condition(name.path, rounded) if is_of_q else (-math.inf, math.inf)
            return Interval(rounded, *found) if isinstance(found, tuple) else found
        if is_of_q:
            q.validate(tree.unflatten({name.path: x}), dtype)
        else:
            arguments.parameter(name.path, x)
        return True
