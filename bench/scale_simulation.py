"""Simulate a cluster with a fake clock, and run the real order of tasks, and the real merging of pieces, on it.

The engine's `tasks.ordered.in_order` hands tasks to an adapter of simulated workers and takes their results, and
`tasks.fold.Fold` merges the pieces; what takes time there (the client, the scheduler, the workers) is a discrete event
simulation. Workers are of unequal speed, some tasks take several times as long as others, workers die and come back,
and a worker's first task loads the payload. A draw has no value here: in place of moments a piece has its range of
draws, and merging two of them asserts that one follows the other, so that no draw is lost, or averaged twice, or merged
out of order.

The client's and the scheduler's seconds for a task are those that `bench/cluster.py` measures of Dask, and so is the
start of a worker with a filled cache; `overhead` is what it measures around a kernel, with Dask's own in the worker.
How machines differ, fail and come back is assumed.

    python bench/scale_simulation.py                    # 1e17 draws on 10,000 workers, and smaller clusters; 5 minutes
    python bench/scale_simulation.py --workers 1000 --draws 1e15
    python bench/scale_simulation.py --late 0           # as if few results could wait for an older one
"""

from __future__ import annotations

import argparse
import gc
import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty
from typing import Any, NamedTuple

import numpy as np

from mcgrad.backends.chunks import Chunks, split
from mcgrad.system.kind import kind_here
from mcgrad.tasks import ordered
from mcgrad.tasks.cutting import TasksOfDraws
from mcgrad.tasks.fold import Fold, Piece
from mcgrad.tasks.ordered import in_order
from mcgrad.tasks.task import Done, Payload, Task

COMPONENTS = 20  # of a result


@dataclass(frozen=True)
class Cluster:
    """What a simulated cluster is like; times in seconds.

    Parameters
    ----------
    workers : int
    rate : float
        Draws a second that a worker averages.
    spread : float
        Standard deviation of the logarithm of the workers' speeds.
    slow : float
        Share of tasks that take `slowdown` times as long, whatever the worker.
    slowdown : float
    mean_time_to_failure : float
        Of a worker.
    downtime : float
        Until a worker that died is replaced.
    detection : float
        Until the scheduler takes a worker for dead.
    start : float
        Of the first task of a worker: it loads the payload, and compiles the kernel or finds it in the cache.
    overhead : float
        Of a task, in its worker.
    latency : float
        Of a message.
    scheduler : float
        Of a task, in the scheduler, which takes one after the other.
    client : float
        Of a task, in the client: to submit it, to take its result and to merge it.
    """

    workers: int
    rate: float = 5e8
    spread: float = 0.1
    slow: float = 0.01
    slowdown: float = 3.0
    mean_time_to_failure: float = 86_400.0
    downtime: float = 300.0
    detection: float = 30.0
    start: float = 5.0
    overhead: float = 1e-3
    latency: float = 5e-3
    scheduler: float = 1.7e-3
    client: float = 1.2e-3


class DroppedError(Exception):
    """A worker died with its task."""


class _Future:
    def __init__(self) -> None:
        self.found: Done | None = None
        self.cancelled = False
        self._functions: list[Callable[[Any], object]] = []

    def result(self) -> Done:
        if self.found is None:
            raise DroppedError
        return self.found

    def add_done_callback(self, function: Callable[[Any], object]) -> None:
        self._functions.append(function)

    def ends(self, found: Done | None) -> None:
        self.found = found
        for function in self._functions:
            function(self)


@dataclass
class Spent:
    """Seconds of workers, by what they did.

    Parameters
    ----------
    useful, slow, lost, overhead, start, dead : float
        Averaging draws at the worker's own speed; what tasks took beyond that; work of tasks whose worker died; of
        tasks besides the draws; first tasks; time without a worker after one has died.
    """

    useful: float = 0.0
    slow: float = 0.0
    lost: float = 0.0
    overhead: float = 0.0
    start: float = 0.0
    dead: float = 0.0


@dataclass
class Simulation:
    """A cluster in the course of a run: an adapter, and the queue from which `in_order` takes what has ended."""

    cluster: Cluster
    chunks: Chunks
    seed: int = 0
    spent: Spent = field(default_factory=Spent)
    now: float = 0.0  # of the client
    tasks: int = 0
    ended: int = 0
    deaths: int = 0

    def __post_init__(self) -> None:
        cluster = self.cluster
        self._random = np.random.default_rng(self.seed)
        self._speed = (cluster.rate * np.exp(cluster.spread * self._random.standard_normal(cluster.workers))).tolist()
        self._dies = self._random.exponential(cluster.mean_time_to_failure, cluster.workers).tolist()
        self._warm = [False] * cluster.workers
        self._idle = deque(range(cluster.workers))
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._queue: list[tuple[int, int, Task, _Future]] = []
        self._inbox: deque[tuple[float, Any]] = deque()
        self._scheduler = 0.0
        self._kind = kind_here("")
        self._clock = 0.0

    # as an adapter

    def workers(self) -> int:
        """Return how many workers there are; a dead one is replaced."""
        return self.cluster.workers

    def submit(self, payload: Payload, task: Task, number: int, missed_by: str | None) -> _Future:
        """Send a task to the scheduler, which takes one after the other."""
        future = _Future()
        self.tasks += 1
        self.now += self.cluster.client / 2
        self._scheduler = max(self._scheduler, self.now + self.cluster.latency) + self.cluster.scheduler
        self._at(self._scheduler, lambda clock: self._arrives(clock, number, task, future))
        return future

    def describe(self) -> str:
        """Return what this is."""
        return "a simulated cluster"

    def lost(self, error: Exception | None) -> str | None:
        """Say that nothing is lost."""
        return None

    def dropped(self, error: Exception) -> bool:
        """Whether a worker died with its task."""
        return isinstance(error, DroppedError)

    def cancel(self, pending: Any) -> None:
        """Forget tasks that have not begun."""
        self._queue.clear()

    def close(self) -> None:
        """Do nothing."""

    # as a queue of what has ended

    def put(self, item: Any) -> None:
        """Have what has ended arrive at the client."""
        self._inbox.append((self._clock + self.cluster.latency, item))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Let the time go on until a task that has ended is at the client, and take it."""
        while not self._inbox:
            if not self._events:
                raise Empty
            self._clock, _, event = heapq.heappop(self._events)
            event(self._clock)
        arrived, item = self._inbox.popleft()
        self.now = max(self.now, arrived) + self.cluster.client / 2
        return item

    def empty(self) -> bool:
        """Whether nothing is there: the client takes one after the other."""
        return True

    # events

    def _at(self, clock: float, event: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (clock, self._count, event))

    def _arrives(self, clock: float, number: int, task: Task, future: _Future) -> None:
        """Give a task to a worker, or let it wait for one: tasks of lower numbers come first."""
        self._count += 1
        heapq.heappush(self._queue, (number, self._count, task, future))
        if self._idle:
            self._begins(clock, self._idle.popleft())

    def _begins(self, clock: float, worker: int) -> None:
        """Let a worker begin with the first task that waits."""
        if not self._queue:
            self._idle.append(worker)
            return
        if self._dies[worker] <= clock:  # it died while it was idle
            self._replaced(clock, worker)
            return
        _, _, task, future = heapq.heappop(self._queue)
        cluster, spent = self.cluster, self.spent
        useful = (task.stop - task.start) / self._speed[worker]
        factor = cluster.slowdown if self._random.random() < cluster.slow else 1.0
        start = 0.0 if self._warm[worker] else cluster.start
        self._warm[worker] = True
        end = clock + start + cluster.overhead + factor * useful
        if self._dies[worker] < end:
            spent.lost += self._dies[worker] - clock
            known = self._dies[worker] + cluster.detection
            self._at(known, lambda clock: future.ends(None))
            self._replaced(self._dies[worker], worker)
            return
        spent.start, spent.overhead, spent.useful = (
            spent.start + start,
            spent.overhead + cluster.overhead,
            spent.useful + useful,
        )
        spent.slow += (factor - 1.0) * useful

        def ends(clock: float) -> None:
            self.ended += 1
            future.ends(Done(self._pieces(task), factor * useful, str(worker), self._kind))
            self._begins(clock, worker)

        self._at(end, ends)

    def _replaced(self, clock: float, worker: int) -> None:
        """Replace a worker that died."""
        cluster = self.cluster
        self.deaths += 1
        self.spent.dead += cluster.downtime
        back = clock + cluster.downtime
        self._dies[worker] = back + self._random.exponential(cluster.mean_time_to_failure)
        self._warm[worker] = False
        self._at(back, lambda clock: self._begins(clock, worker))

    def _pieces(self, task: Task) -> tuple[Piece, ...]:
        return tuple(
            Piece(stop, level, Counted(start, stop)) for start, stop, level in self.chunks.spans(task.start, task.stop)
        )


class Counted(NamedTuple):
    """In place of moments, the draws that they are of: an earlier part merges with the one that follows it alone.

    Parameters
    ----------
    start, stop : int
    """

    start: int
    stop: int

    nbytes = 16 * COMPONENTS

    def merge(self, late: Counted) -> Counted:
        """Return both parts as one."""
        assert self.stop == late.start, "a draw is lost, or averaged twice, or out of order"
        return Counted(self.start, late.stop)


@dataclass(frozen=True)
class Outcome:
    """Of a simulated run.

    Parameters
    ----------
    seconds : float
        Until the client has merged all.
    ideal : float
        As long as the draws take where all workers average all the time.
    tasks, deaths : int
    held : int
        The most results that waited for an older one.
    spent : Spent
    workers : int
    real : float
        Seconds that the simulation took.
    """

    seconds: float
    ideal: float
    tasks: int
    deaths: int
    held: int
    spent: Spent
    workers: int
    real: float

    @property
    def efficiency(self) -> float:
        """The ideal time over the simulated one."""
        return self.ideal / self.seconds

    @property
    def idle(self) -> float:
        """The share of the workers' time in which they had no task."""
        whole = self.workers * self.seconds
        return 1.0 - sum(vars(self.spent).values()) / whole


def simulate(cluster: Cluster, n: int, seed: int = 0) -> Outcome:
    """Run n draws on a cluster.

    Raises
    ------
    AssertionError
        A draw is lost, or averaged twice, or a piece comes out of order.
    """
    begun = time.perf_counter()
    chunks = split(n, 0, 4096, work=8.0)
    simulation = Simulation(cluster, chunks, seed)
    fold, at = Fold(chunks), chunks.head
    fold.add(Piece(at, 0, Counted(0, at)))
    tasks, held = TasksOfDraws("", b"", chunks, at), 0
    for taken, done in enumerate(in_order(simulation, Payload(b""), tasks, tasks.left, simulation), 1):
        held = max(held, simulation.ended - taken)
        for piece in done.pieces:
            fold.add(piece)
    assert fold.total == (0, n), "draws are lost at the end"
    ideal = n / sum(simulation._speed)
    return Outcome(
        float(simulation.now),
        float(ideal),
        simulation.tasks,
        simulation.deaths,
        held,
        simulation.spent,
        cluster.workers,
        time.perf_counter() - begun,
    )


def report(cluster: Cluster, n: int, seed: int = 0) -> str:
    """Return a line of the table."""
    found = simulate(cluster, n, seed)
    spent, whole = found.spent, cluster.workers * found.seconds
    shares = [spent.useful, spent.slow, spent.lost, spent.dead, spent.start, spent.overhead, found.idle * whole]
    return (
        f"| {cluster.workers:,} | {n:.0e} | {found.seconds:,.0f} | {found.tasks:,} | {found.deaths:,} | "
        + " | ".join(f"{100 * x / whole:.2f}" for x in shares)
        + f" | {found.real:.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=float, default=0)
    parser.add_argument("--draws", type=float, default=1e17)
    parser.add_argument("--late", type=float, default=ordered.LATE, help="seconds of work ahead of a late result")
    given = parser.parse_args()
    ordered.LATE = given.late
    gc.disable()  # there are millions of objects, none of them in a cycle
    runs = [(1e2, 1e13), (1e3, 1e14), (1e4, 1e16), (1e4, 1e17)]
    if given.workers:
        runs = [(given.workers, given.draws)]
    print(
        "| workers | draws | seconds | tasks | deaths | % averaging | slow tasks | lost work | no worker | start | "
        "overhead | idle | real seconds |\n" + "| --- " * 13 + "|"
    )
    for workers, draws in runs:
        print(report(Cluster(int(workers)), int(draws)), flush=True)


if __name__ == "__main__":
    main()
