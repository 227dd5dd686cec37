"""Results of tasks in the order of their ranges, from an executor that completes them in any order.

Tasks are made as they are needed, never listed, and are as long as the measured time of their chunks makes them last
about `TARGET` seconds. How they are cut changes no bit of a result, as pieces are merged in an order of their own
(`tasks.fold`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from math import sqrt
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from mcgrad import __version__
from mcgrad.errors import ExecutorError, McgradError
from mcgrad.tasks.adapter import Adapter, Pending
from mcgrad.tasks.task import Done, Payload, Task

TARGET = 1.0  # seconds that a task is to last
RATE = 250  # tasks a second that one client takes: with more workers than that tasks last longer
BYTES = 1e8  # of results a second that it takes
QUEUED = 0.5  # tasks for each worker that wait there while another is worked out
AHEAD = 4.0  # tasks for each worker, submitted or done, ahead of the oldest result, in any case
LATE = 600.0  # seconds of each worker's work that may be ahead: so long may the end of a worker go unnoticed
HELD = 1 << 28  # bytes of results that may wait for an older one, where they are more than these
LEFT = 2  # tasks for each worker that are left to hand out when the end is near
GROWTH = 4  # times as long as the last task a task may be
SENDS = 6  # times that one task is sent, where a worker misses its payload or the executor drops it
LOOK = 1.0  # seconds between looks whether the executor is still there

REMEDY = "Where a checkpoint was written, the run goes on from it, with an executor or without"

NextTask = Callable[[int], Task | None]  # of the next so many chunks, or None at the end


class Ended(Protocol):
    """A queue of tasks that have ended, as of `queue`: one with a clock of its own simulates a cluster."""

    def put(self, item: Any, /) -> None:
        """Add a task."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Remove and return a task; raise `queue.Empty` where none comes in time."""

    def empty(self) -> bool:
        """Whether none is there."""


def in_order(
    adapter: Adapter,
    payload: Payload,
    next_task: NextTask,
    left: Callable[[], int] | None = None,
    ended: Ended | None = None,
) -> Generator[Done, None, None]:
    """Yield the results of tasks in the order in which they were made.

    When the generator is closed, or ends by an error or an interrupt, tasks that have not begun are cancelled.

    Parameters
    ----------
    adapter : Adapter
    payload : Payload
        Of all tasks.
    next_task : callable
        Returns the task of the next k chunks, or of those that are left, and None where none is.
    left : callable, optional
        Returns how many chunks are left. Near the end tasks become shorter, so that all workers end together.
    ended : Ended, optional
        Where tasks wait that have ended.

    Raises
    ------
    ExecutorError
        The executor is gone, or drops a task again and again. All results before that one have been yielded.
    Exception
        What a task raises, in its turn.
    """
    run = _Run(adapter, payload, next_task, left, ended or SimpleQueue())
    try:
        run.fill()
        while run.waiting:
            yield run.oldest()
            run.fill()
    finally:
        run.cancel()


class _Sent:
    """A task that was submitted, perhaps several times.

    Parameters
    ----------
    task : Task
    number : int
        Of the task in its run.
    chunks : int
    """

    __slots__ = ("chunks", "done", "error", "future", "number", "sends", "task")

    def __init__(self, task: Task, number: int, chunks: int) -> None:
        self.task, self.number, self.chunks, self.sends = task, number, chunks, 0
        self.future: Pending | None = None
        self.done: Done | None = None
        self.error: Exception | None = None

    @property
    def settled(self) -> bool:
        """Whether there is a result, or an error that is final."""
        return self.done is not None or self.error is not None


class _Run:
    def __init__(
        self, adapter: Adapter, payload: Payload, next_task: NextTask, left: Callable[[], int] | None, ended: Ended
    ) -> None:
        self._adapter, self._payload, self._next_task, self._left = adapter, payload, next_task, left
        self.waiting = deque[_Sent]()  # in the order of the tasks
        self._ended = ended  # in the order in which they were completed
        self._flying = 0  # submitted and not completed
        self._held = 0  # bytes of results that wait
        self._made = 0
        self._exhausted = False
        self._chunk: float | None = None  # seconds of one
        self._nbytes = 0.0  # of a result
        self._longest = 1  # chunks of a task so far

    def fill(self) -> None:
        """Submit tasks until the workers have enough of them."""
        workers = max(self._adapter.workers(), 1)
        while (
            not self._exhausted
            and self._flying < workers + max(int(QUEUED * workers), 1)
            and len(self.waiting) < self._ahead(workers)
        ):
            task = self._next_task(self._chunks(workers))
            if task is None:
                self._exhausted = True
                return
            sent = _Sent(task, self._made, task.chunks)
            self._made += 1
            self.waiting.append(sent)
            self._send(sent)

    def oldest(self) -> Done:
        """Wait for the result that is next, and return it."""
        first = self.waiting[0]
        while not first.settled:
            self._wait()
            self.fill()
        self.waiting.popleft()
        if first.done is None:
            assert first.error is not None
            raise first.error
        self._held -= first.done.nbytes
        return first.done

    def cancel(self) -> None:
        """Cancel what has not begun, and wait for the rest where the executor shares this process or machine."""
        pending = [sent.future for sent in self.waiting if sent.future and not sent.settled]
        self._exhausted = True
        self.waiting.clear()
        self._adapter.cancel(pending)

    def _ahead(self, workers: int) -> float:
        """Return how many tasks may be submitted, or done, ahead of the oldest result."""
        most = AHEAD if self._held > HELD else max(LATE / self._seconds(workers), AHEAD)
        return most * workers + 1

    def _seconds(self, workers: int) -> float:
        """Return how long a task is to last: longer where one client would not take so many, or so large, results."""
        return max(TARGET, workers * self._each)

    @property
    def _each(self) -> float:
        """Seconds in which a client takes one result."""
        return max(1 / RATE, self._nbytes / BYTES)

    def _chunks(self, workers: int) -> int:
        """Return how many chunks the next task has."""
        if self._chunk is None:
            return 1
        chunk = max(self._chunk, 1e-9)
        chunks = min(int(self._seconds(workers) / chunk), GROWTH * self._longest)
        if self._left:
            left = self._left()
            balanced = int(sqrt(left * self._each / chunk))  # as long as a client takes for all results that are left
            chunks = min(chunks, max(left // (LEFT * workers), balanced))
        self._longest = max(chunks, self._longest)
        return max(chunks, 1)

    def _send(self, sent: _Sent, missed_by: str | None = None) -> None:
        """Submit a task, with the payload where a worker has missed it."""
        sent.sends += 1
        if sent.sends > SENDS:
            self._fail(sent, self._gone(f"one task was dropped {SENDS} times"))
            return
        try:
            sent.future = self._adapter.submit(self._payload, sent.task, sent.number, missed_by)
        except Exception as error:
            self._fail(sent, self._explained(error))
            return
        self._flying += 1
        sent.future.add_done_callback(lambda _: self._ended.put(sent))

    def _wait(self) -> None:
        """Take what is completed; wait for one where there is none."""
        try:
            sent = self._ended.get(timeout=LOOK)
        except Empty:
            reason = self._adapter.lost(None)
            if reason:
                self._fail(self.waiting[0], self._gone(reason))
            return
        self._take(sent)
        while not self._ended.empty():
            self._take(self._ended.get())

    def _take(self, sent: _Sent) -> None:
        self._flying -= 1
        future, sent.future = sent.future, None
        assert future is not None
        try:
            done = future.result()
        except Exception as error:
            if self._adapter.dropped(error):
                self._send(sent)
            else:
                self._fail(sent, self._explained(error))
            return
        if done.kind.mcgrad != __version__:
            self._fail(sent, self._gone(f"{done.worker} has mcgrad {done.kind.mcgrad}, and this process {__version__}"))
            return
        if done.missing:
            self._send(sent, done.worker)
            return
        sent.done, self._held = done, self._held + done.nbytes
        chunk = done.seconds / sent.chunks
        self._chunk = chunk if self._chunk is None else (self._chunk + chunk) / 2
        self._nbytes = (self._nbytes + done.nbytes) / 2

    def _fail(self, sent: _Sent, error: Exception) -> None:
        """Keep an error until its turn; no further tasks are made."""
        sent.error = error
        self._exhausted = True

    def _explained(self, error: Exception) -> Exception:
        """Return the error to raise: the task's own, or an ExecutorError where the executor is gone."""
        if isinstance(error, McgradError):
            return error
        reason = self._adapter.lost(error)
        if reason is None:
            return error
        gone = self._gone(reason)
        gone.__cause__ = error
        return gone

    def _gone(self, reason: str) -> ExecutorError:
        return ExecutorError(f"{self._adapter.describe()}: {reason}. {REMEDY}")
