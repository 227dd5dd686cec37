"""Average a Program over the draws of a call, on the chosen backend, or on the next best one where that fails.

A `Runner` passes values and a range of draws. The backend binds the values, `run` averages over its chunks, and the
`Finisher` makes the moments of all outputs from those of the random ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from mcgrad.arrays import all_to_host
from mcgrad.backends import chunks
from mcgrad.backends.base import Kernel, Partial, Shift, loaded, suited
from mcgrad.engine.dispatch import Dispatched, Running
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.groups import Groups
from mcgrad.engine.run import RunState, Watch, run
from mcgrad.engine.threads import thread_count
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Values


class Average(NamedTuple):
    """Moments of all outputs, with the time that the run took, in seconds, and the name of its backend."""

    partial: Partial
    seconds: float
    backend: str


class Averager:
    """Averages one Program.

    Parameters
    ----------
    dispatched : Dispatched
        The Program on its backend.
    finish : Finisher
    groups : Groups
        Of draws that are averaged together.
    omit : bool
        Whether draws with a non-finite output are left out.
    threads : int, optional
        Default: by the environment and the processors, at each call.
    """

    def __init__(
        self, dispatched: Dispatched, finish: Finisher, groups: Groups, omit: bool, threads: int | None
    ) -> None:
        self._dispatched, self._finish, self._groups, self._omit = dispatched, finish, groups, omit
        self._threads = threads

    def __call__(
        self,
        values: Values,
        seed: int,
        first: int,
        n: int,
        watch: Callable[[RunState], None] | None = None,
        resume: RunState | None = None,
    ) -> Average:
        """Average over the draws first .. first + n.

        Parameters
        ----------
        values : mapping from Input to array
        seed, first, n : int
        watch : callable, optional
            Called with the state after each chunk of draws.
        resume : RunState, optional
            Continue from this state of an earlier run.
        """
        while True:
            running = self._dispatched.running
            try:
                return self._on(running, values, seed, first, n, watch, resume)
            except BackendError as error:
                self._dispatched.fall_back(running, error)
                values, resume = all_to_host(values), None  # another backend has other chunks

    def ends_at(self, draw: int, first: int, n: int) -> bool:
        """Return whether a chunk of the draws first .. first + n ends at a draw."""
        kernel = suited(self._dispatched.running.kernel, self._groups.of(n))
        return chunks.ends_at(self._groups.chunks(kernel, first, n), draw)

    def _on(
        self,
        running: Running,
        values: Values,
        seed: int,
        first: int,
        n: int,
        watch: Callable[[RunState], None] | None,
        resume: RunState | None,
    ) -> Average:
        kernel, name = loaded(running.kernel, self._groups.of(n)), running.backend.name
        if not getattr(kernel, "takes_device_arrays", False):
            values = all_to_host(values)
        with kernel.limits():
            start = time.perf_counter() - (resume.seconds if resume else 0.0)
            bound, cut = self._groups.bind(kernel, values), self._groups.chunks(kernel, first, n)
            after_chunk = _timed(watch, start, name) if watch else None
            partial = run(bound, seed, cut, lambda: self._workers(kernel), self._omit, after_chunk, resume)
            seconds = time.perf_counter() - start
            return Average(self._finish.estimate(partial, values, self._omit), seconds, name)

    def _workers(self, kernel: Kernel) -> int:
        return kernel.workers(thread_count(self._threads))


def _timed(watch: Callable[[RunState], None], start: float, backend: str) -> Watch:
    def after_chunk(stop: int, shift: Shift, total: Partial) -> None:
        watch(RunState(stop, shift, total, time.perf_counter() - start, backend))

    return after_chunk
