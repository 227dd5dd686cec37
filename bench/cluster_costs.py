"""What one task costs: its bytes, the microseconds around its kernel, and the time of the client and of the scheduler.

`task_costs` works out the tasks of a real run one by one, through bytes. `client_costs` has the engine's own loop
(`tasks.ordered`, `tasks.cutting`, `tasks.fold`) take results of tasks that average nothing: at once, in this process,
or through the adapters of a pool and of Dask, whose workers answer at once.
"""

import os
import pickle
import time
from concurrent.futures import Future
from functools import lru_cache
from itertools import islice
from statistics import median
from typing import NamedTuple

import numpy as np

from mcgrad.backends.base import Partial
from mcgrad.backends.chunks import split
from mcgrad.moments import Moments
from mcgrad.system.kind import kind_here
from mcgrad.tasks import dask, futures
from mcgrad.tasks.cutting import TasksOfDraws
from mcgrad.tasks.dask import DaskAdapter
from mcgrad.tasks.fold import Fold, Piece
from mcgrad.tasks.futures import FuturesAdapter
from mcgrad.tasks.ordered import in_order
from mcgrad.tasks.task import Done, Payload
from mcgrad.tasks.work import work

PLAIN = 5  # the protocol of pickles
CHUNKS = split(10**18, 0, 4096, work=8.0)  # of runs that are never worked out
CHUNK = 1 / 64  # seconds of a chunk, as the tasks that average nothing say: so that a task is a span of 64 chunks
BUSY = 1 << 20  # components of all results that are on their way, so that the client always has one to take
MOST = 64  # workers that an adapter says it has for this
WARM = 100  # tasks before the clock starts


class TaskCosts(NamedTuple):
    """Of the tasks of a run.

    Parameters
    ----------
    payload, task, result : int
        Bytes; medians of the tasks but the first ones.
    pieces : float
        Of a result.
    seconds : float
        In the kernel.
    around : float
        Seconds in the worker besides, from the bytes of the task to those of the result.
    """

    payload: int
    task: int
    result: int
    pieces: float
    seconds: float
    around: float


class OneByOne:
    """An adapter that works out each task when it is submitted, and notes its costs."""

    def __init__(self):
        self.found, self.content, self.task = [], b"", None

    def workers(self):
        return 2

    def submit(self, payload, task, number, missed_by):
        future, sent = Future(), pickle.dumps(task, PLAIN)
        begun = time.perf_counter()
        done = work(pickle.loads(sent), payload.content if missed_by else None)
        back = pickle.dumps(done, PLAIN)
        around = time.perf_counter() - begun - done.seconds
        if not done.missing:
            self.content, self.task = payload.content, task
            self.found.append((len(sent), len(back), len(done.pieces), done.seconds, around))
        future.set_result(pickle.loads(back))
        return future

    def describe(self):
        return "this process"

    def lost(self, error):
        return None

    def dropped(self, error):
        return False

    def cancel(self, pending):
        pass

    def close(self):
        pass

    def costs(self):
        """Return medians over the later half of the tasks: the first are short, and load the payload."""
        later = self.found[len(self.found) // 2 :]
        return TaskCosts(len(self.content), *(median(column) for column in zip(*later, strict=True)))


def first_task(task, content, pool):
    """Return the seconds until a worker that is started for it has done its first task, and those of its kernel."""
    begun = time.perf_counter()
    done = pool.submit(work, task, content).result()
    return time.perf_counter() - begun, done.seconds


class ClientCosts(NamedTuple):
    """Of tasks that average nothing.

    Parameters
    ----------
    rate : float
        Tasks a second of the clock, on this machine, whose processors the workers need, too.
    client, scheduler : float
        Seconds of a processor for a task.
    """

    rate: float
    client: float
    scheduler: float = 0.0


@lru_cache(1)
def arrays(components):
    return np.zeros(components), np.ones(components)


def answer(task, content=None):
    """Return a result of as many components as the run of a task says."""
    pieces = tuple(
        Piece(stop, level, Partial(Moments(stop - start, *arrays(int(task.run)))))
        for start, stop, level in CHUNKS.spans(task.start, task.stop)
    )
    return Done(pieces, task.chunks * CHUNK, "a worker", kind_here(""))


def answer_dask(version, task, content):
    """Return the same on a worker of Dask's, which has the task as bytes."""
    return answer(pickle.loads(task))


class AtOnce(OneByOne):
    """An adapter whose tasks are done when they are submitted.

    Parameters
    ----------
    by_bytes : bool
        Whether tasks are made bytes of, and results of bytes, as by any other process. What the other process would do
        is left out of the time.
    """

    def __init__(self, by_bytes):
        super().__init__()
        self.elsewhere, self._by_bytes = 0.0, by_bytes

    def workers(self):
        return 1

    def submit(self, payload, task, number, missed_by):
        future = Future()
        sent = pickle.dumps(task, PLAIN) if self._by_bytes else b""
        begun = time.process_time()
        done = answer(task)
        back = pickle.dumps(done, PLAIN) if sent else b""
        self.elsewhere += time.process_time() - begun
        future.set_result(pickle.loads(back) if sent else done)
        return future


class OfPool(FuturesAdapter):
    """A pool that says it has many workers."""

    busy = MOST

    def workers(self):
        return self.busy


class OfDask(DaskAdapter):
    """A cluster that says it has many workers."""

    busy = MOST

    def workers(self):
        return self.busy


def merged(adapter, components, count):
    """Yield at the beginning and at the end of `count` tasks, of which the client takes and merges the results."""
    at = CHUNKS.head
    fold, tasks = Fold(CHUNKS), TasksOfDraws("", str(components).encode(), CHUNKS, at)
    fold.add(Piece(at, 0, Partial(Moments(at, *arrays(components)))))
    results = in_order(adapter, Payload(b""), tasks, tasks.left)
    try:
        for most in (min(WARM, count), count):
            for done in islice(results, most):
                for piece in done.pieces:
                    fold.add(piece)
                at = done.pieces[-1].stop
            yield
    finally:
        results.close()
    assert fold.total.moments.count == at, "draws were lost, or merged twice"


def in_this_process(components, count, by_bytes):
    """Return the costs of results that are there at once."""
    adapter = AtOnce(by_bytes)
    steps = merged(adapter, components, count)
    next(steps)
    begun, elsewhere = time.process_time(), adapter.elsewhere
    next(steps)
    seconds = time.process_time() - begun - (adapter.elsewhere - elsewhere)
    steps.close()
    return ClientCosts(count / seconds, seconds / count)


def through_pool(pool, components, count):
    """Return the costs through the workers of a pool of processes."""
    futures.work = answer
    try:
        return _costs(OfPool(pool), components, count, lambda: 0.0)
    finally:
        futures.work = work


def through_dask(client, components, count):
    """Return the costs through a Dask cluster, whose scheduler is a process of its own."""
    import psutil

    scheduler = psutil.Process(client.run_on_scheduler(os.getpid))
    real, dask.ON_WORKER = dask.ON_WORKER, answer_dask
    try:
        return _costs(OfDask(client), components, count, lambda: sum(scheduler.cpu_times()[:2]))
    finally:
        dask.ON_WORKER = real


def _costs(adapter, components, count, scheduler):
    adapter.busy = min(max(BUSY // components, 2), MOST)
    steps = merged(adapter, components, count)
    next(steps)
    before = time.perf_counter(), time.process_time(), scheduler()
    next(steps)
    after = time.perf_counter(), time.process_time(), scheduler()
    steps.close()
    wall, client, there = (end - begin for begin, end in zip(before, after, strict=True))
    return ClientCosts(count / wall, client / count, there / count)
