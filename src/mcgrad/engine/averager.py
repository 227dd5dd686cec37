"""Average a Program over the draws of a call, on the chosen backend, or on the next best one where that fails.

A `Runner` passes values and a range of draws. The backend binds the values, `run` averages over its chunks, and the
`Finisher` makes the moments of all outputs from those of the random ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from mcgrad.arrays import all_to_host
from mcgrad.backends.base import Kernel, Partial, Shift, loaded, suited
from mcgrad.backends.chunks import Chunk, Chunks
from mcgrad.engine.call import Call, PartOfDraws, RowState, RunState
from mcgrad.engine.dispatch import Dispatched, Running
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.groups import Groups
from mcgrad.engine.run import AfterChunk, resumes, resumes_part, run, run_part
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, Shard
from mcgrad.engine.threads import thread_count
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Values
from mcgrad.tasks.fold import Elsewhere, Parts
from mcgrad.tasks.remote import Remote, Work
from mcgrad.tasks.spans import Spans


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

    def __call__(self, values: Values, call: Call) -> Average:
        """Average over the draws of a call, with values of the inputs."""
        while True:
            running = self._dispatched.running
            try:
                return self._on(running, values, call)
            except BackendError as error:
                if call.part:  # another backend has other chunks, and so do its shards
                    raise
                self._dispatched.fall_back(running, error)
                values, call = all_to_host(values), replace(call, resume=None)  # another backend has other chunks

    def resumes(self, call: Call) -> bool:
        """Return whether a run goes on from the state of a call: one chunk of its draws ends there."""
        kernel, state = suited(self._dispatched.running.kernel, self._groups.of(call.n)), call.resume
        cut = self._groups.chunks(kernel, call.first, call.n)
        if isinstance(state, DrawsOfShard):
            return isinstance(call.part, PartOfDraws) and resumes_part(cut, call.draws, state)
        return isinstance(state, RunState) and resumes(cut, state)

    def part(self, call: Call, shard: Shard) -> PartOfDraws:
        """Return which draws of a call a shard has."""
        kernel = suited(self._dispatched.running.kernel, self._groups.of(call.n))
        return PartOfDraws(*shard.of_chunks(self._groups.chunks(kernel, call.first, call.n)))

    def _on(self, running: Running, values: Values, call: Call) -> Average:
        kernel, name, resume = loaded(running.kernel, self._groups.of(call.n)), running.backend.name, call.resume
        assert not isinstance(resume, RowState | RowsOfShard)
        if not getattr(kernel, "takes_device_arrays", False):
            values = all_to_host(values)
        with kernel.limits():
            start = time.perf_counter() - (resume.seconds if resume else 0.0)
            bound, cut = self._groups.bind(kernel, values), self._groups.chunks(kernel, call.first, call.n)
            workers, seed, omit = lambda: self._workers(kernel), call.seed, self._omit
            if isinstance(call.part, PartOfDraws):
                assert not isinstance(resume, RunState)
                watch = _of_shard(call, cut, start, name)
                partial = run_part(bound, seed, cut, call.draws, workers, omit, watch, resume).total
            else:
                assert not isinstance(resume, DrawsOfShard)
                after_chunk = _timed(call, start, name) if call.watch else None
                elsewhere = self._elsewhere(call.remote, kernel, name, values, call) if call.remote else None
                partial = run(bound, seed, cut, workers, omit, after_chunk, resume, elsewhere)
            seconds = time.perf_counter() - start
            return Average(self._finish.estimate(partial, values, self._omit), seconds, name)

    def _elsewhere(self, remote: Remote, kernel: Kernel, backend: str, values: Values, call: Call) -> Elsewhere:
        """Return what has the chunks after the first averaged by an executor."""
        groups, work = self._groups, Work(self._dispatched.program, values, backend, self._omit)
        pieces_of = remote.of_draws(work, kernel, call.seed, groups.of(call.first), groups.of(call.n))
        return groups.elsewhere(pieces_of)

    def _workers(self, kernel: Kernel) -> int:
        return kernel.workers(thread_count(self._threads))


def _timed(call: Call, start: float, backend: str) -> AfterChunk:
    watch = call.watch
    assert watch

    def after_chunk(stop: int, shift: Shift, parts: Parts) -> None:
        watch(RunState(stop, shift, parts, time.perf_counter() - start, backend, call.kinds(backend)))

    return after_chunk


def _of_shard(
    call: Call, cut: Iterable[Chunk], start: float, backend: str
) -> Callable[[int, Shift, Spans], None] | None:
    watch, (begin, end) = call.watch, call.draws
    chunks = cut if isinstance(cut, Chunks) else None
    if not watch:
        return None

    def after_chunk(done: int, shift: Shift, spans: Spans) -> None:
        seconds = time.perf_counter() - start
        pieces, kinds = (*spans.pieces,), call.kinds(backend)
        watch(DrawsOfShard(begin, end, done, chunks, shift, pieces, spans.parts, seconds, backend, kinds))

    return after_chunk
