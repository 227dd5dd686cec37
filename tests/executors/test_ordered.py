"""Results of tasks come in the order of their ranges, whatever the executor does."""

from collections import deque
from concurrent.futures import CancelledError, Future
from random import Random

import numpy as np
import pytest

from mcgrad.backends.base import Partial
from mcgrad.errors import ExecutorError
from mcgrad.moments import Moments
from mcgrad.system.kind import kind_here
from mcgrad.tasks import ordered
from mcgrad.tasks.fold import Piece
from mcgrad.tasks.ordered import AHEAD, SENDS
from mcgrad.tasks.task import Done, Payload, Task

PAYLOAD, KIND = Payload(b"content"), kind_here("numpy")


def done_of(task, seconds):
    partial = Partial(Moments(task.stop - task.start, np.zeros(3), np.zeros(3)))
    return Done((Piece(task.stop, 0, partial),), seconds, "worker", KIND)


class Shuffled:
    """Completes tasks in any order, while the run waits; each chunk is said to have taken so many seconds.

    It is the run's queue of tasks that have ended, too, so that no thread decides how many of them end at once.
    """

    def __init__(self, workers=3, chunk=0.5, answer=None):
        self.threads, self.chunk, self.answer = workers, chunk, answer or self.result
        self.sent, self.cancelled, self.most = [], [], 0
        self._pending, self._ended, self._random = [], deque(), Random(0)

    def result(self, task, missed_by):
        return done_of(task, (task.stop - task.start) * self.chunk)

    def _complete(self):
        future, task, missed_by = self._pending.pop(self._random.randrange(len(self._pending)))
        try:
            found = self.answer(task, missed_by)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(found)

    def put(self, ended):
        self._ended.append(ended)

    def get(self, block=True, timeout=None):
        if not self._ended:
            for _ in range(self._random.randint(1, len(self._pending))):
                self._complete()
        return self._ended.popleft()

    def empty(self):
        return not self._ended

    def workers(self):
        return self.threads

    def submit(self, payload, task, number, missed_by):
        assert payload is PAYLOAD
        future = Future()
        self.sent.append((number, task, missed_by))
        self._pending.append((future, task, missed_by))
        self.most = max(self.most, len(self._pending))
        return future

    def describe(self):
        return "a shuffled executor"

    def lost(self, error):
        return "it has gone" if isinstance(error, EOFError) else None

    def dropped(self, error):
        return isinstance(error, CancelledError)

    def cancel(self, pending):
        self.cancelled.extend(pending)

    def close(self):
        pass


class Chunks:
    """Hands out numbered chunks."""

    def __init__(self, n):
        self.n, self.at = n, 0

    def __call__(self, chunks):
        if self.at == self.n:
            return None
        start, self.at = self.at, min(self.at + chunks, self.n)
        return Task(PAYLOAD.digest, start, self.at, self.at - start, b"")

    def left(self):
        return self.n - self.at


def in_order(adapter, next_task, left=None):
    return ordered.in_order(adapter, PAYLOAD, next_task, left, ended=adapter)


def ranges(adapter, n=200):
    chunks = Chunks(n)
    return ranges_of(in_order(adapter, chunks, chunks.left))


def ranges_of(results):
    found = [piece for done in results for piece in done.pieces]
    return [(piece.stop - piece.partial.moments.count, piece.stop) for piece in found]


def lengths(adapter, n=200):
    return [stop - start for start, stop in ranges(adapter, n)]


def covers(found, n=200):
    return [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])] and found[-1][1] == n


def test_results_come_in_the_order_of_the_ranges():
    adapter = Shuffled()
    assert covers(ranges(adapter))
    assert [number for number, *_ in adapter.sent] == list(range(len(adapter.sent)))
    assert adapter.most == 4  # a task for each worker, and one that waits
    assert adapter.cancelled == []


def test_tasks_last_about_a_second_and_become_shorter_near_the_end():
    found = lengths(Shuffled(workers=2, chunk=0.01), 2000)
    assert found[:3] == [1, 1, 1]
    assert max(found) == 100
    assert found[-4:] == [1, 1, 1, 1]
    assert max(lengths(Shuffled(workers=2, chunk=3.0), 50)) == 1


def test_with_many_workers_tasks_last_longer_as_one_client_takes_all_results():
    assert max(lengths(Shuffled(workers=500, chunk=2**-7), 300_000)) == 256


def test_what_is_kept_ahead_of_the_oldest_result_is_bounded():
    adapter = Shuffled(workers=2)
    results = in_order(adapter, Chunks(10**15))
    next(results)
    assert len(adapter.sent) <= 2 * AHEAD + 2
    results.close()
    assert len(adapter.sent) <= 2 * AHEAD + 2


def test_a_worker_that_misses_the_payload_is_sent_it():
    workers = [f"worker {i}" for i in range(3)]
    has, random = set(), Random(1)

    def answer(task, missed_by):
        worker = missed_by or random.choice(workers)
        if missed_by:
            has.add(missed_by)
        return done_of(task, 0.5) if worker in has else Done((), 0.0, worker, KIND, missing=True)

    adapter = Shuffled(answer=answer)
    assert covers(ranges(adapter))
    assert has == set(workers)
    assert {missed_by for *_, missed_by in adapter.sent} == {None, *workers}


def test_an_error_of_a_task_comes_in_its_turn():
    def answer(task, missed_by):
        if task.start >= 20:
            raise ZeroDivisionError(task.start)
        return done_of(task, 5.0)

    adapter, found = Shuffled(answer=answer), []
    with pytest.raises(ZeroDivisionError, match="20"):
        found.extend(in_order(adapter, Chunks(100)))
    assert adapter.sent[-1][0] < 40


def test_an_executor_that_is_gone_is_an_error_after_what_is_done():
    def answer(task, missed_by):
        if task.start >= 20:
            raise EOFError
        return done_of(task, 5.0)

    found = []
    with pytest.raises(ExecutorError, match=r"a shuffled executor: it has gone.*checkpoint") as caught:
        found.extend(in_order(Shuffled(answer=answer), Chunks(100)))
    assert covers(ranges_of(found), 20)
    assert isinstance(caught.value.__cause__, EOFError)


def test_a_task_that_was_dropped_is_sent_again_up_to_a_limit():
    dropped = set()

    def answer(task, missed_by):
        if task.start % 7 == 0 and task.start not in dropped:
            dropped.add(task.start)
            raise CancelledError
        return done_of(task, 5.0)

    assert covers(ranges(Shuffled(answer=answer)))
    assert len(dropped) == 29

    def never(task, missed_by):
        raise CancelledError

    adapter = Shuffled(answer=never)
    with pytest.raises(ExecutorError, match=f"dropped {SENDS} times"):
        ranges(adapter)
    assert len([task for _, task, _ in adapter.sent if task.start == 0]) == SENDS


@pytest.mark.parametrize("end", ["close", "throw"])
def test_tasks_are_cancelled_when_the_consumer_stops(end):
    adapter = Shuffled()
    results = in_order(adapter, Chunks(10**15))
    next(results)
    if end == "close":
        results.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
    made = len(adapter.sent)
    assert adapter.cancelled
    assert next(results, None) is None
    assert len(adapter.sent) == made


def test_an_executor_that_gets_more_workers_gets_more_tasks():
    adapter = Shuffled(workers=1, chunk=5.0)
    results = in_order(adapter, Chunks(10**15))
    next(results)
    few = len(adapter.sent)
    adapter.threads = 50
    next(results)
    assert few < 10
    assert len(adapter.sent) >= 75
    results.close()
