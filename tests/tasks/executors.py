"""Executors for tests, which work out tasks in this process, all that travels as bytes; estimates to compare."""

import pickle
from concurrent.futures import Future

from mcgrad.tasks.work import work


class Serial:
    """An adapter that works out each task when it is submitted.

    Parameters
    ----------
    workers : int
        As many as it says it has.
    work : callable
        Works out a task.

    Attributes
    ----------
    tasks, payloads, done : list
    """

    def __init__(self, workers=2, work=work):
        self._workers, self._work = workers, work
        self.tasks, self.payloads, self.done, self.ended, self.closed = [], [], [], False, False

    def workers(self):
        return self._workers

    def submit(self, payload, task, number, missed_by):
        future = Future()
        sent = pickle.dumps(task)
        self.tasks.append(sent)
        if payload.digest not in [each.digest for each in self.payloads]:
            self.payloads.append(payload)
        try:
            done = self._work(pickle.loads(sent), payload.content if missed_by else None)
            self.done.append(pickle.loads(pickle.dumps(done)))
            future.set_result(self.done[-1])
        except Exception as error:
            future.set_exception(pickle.loads(pickle.dumps(error)))
        return future

    def describe(self):
        return "a serial executor"

    def lost(self, error):
        return None

    def dropped(self, error):
        return False

    def cancel(self, pending):
        self.ended = True

    def close(self):
        self.closed = True


def numbers(estimate):
    """Everything but the time it took, as text, where NaN equals itself."""
    return str({key: value for key, value in estimate.to_dict().items() if key not in ("seconds", "kinds")})
