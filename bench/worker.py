"""One peer in a process of its own, so that no two thread pools meet; its commands are lines of JSON."""

import json
import os
import sys
import time

import peers
from problems import problems


class Worker:
    """Keeps the compiled callables of one peer."""

    def __init__(self, peer, threads):
        self.module, self.threads, self.runs = peers.load(peer), threads, {}
        if hasattr(self.module, "threads_before_start"):
            self.module.threads_before_start(threads)

    def prepare(self, problem, dtype, **_):
        """Compile, warm, and say how long that took; with the answer, for the check."""
        start = time.perf_counter()
        job = problems()[problem]
        run = self.runs[problem, dtype] = self.module.make(job, dtype, self.threads)
        value, grads = run(1)
        grads = {name: getattr(g, "tolist", lambda g=g: g)() for name, g in grads.items()}
        return {"seconds": time.perf_counter() - start, "value": float(value), "grads": grads}

    def round(self, problem, dtype, seconds, seed):
        """Time calls for about `seconds`, one at least."""
        run, times, end = self.runs[problem, dtype], [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            run(seed + len(times))
            times.append(time.perf_counter() - start)
        return {"times": times}

    def drop(self, problem, dtype, **_):
        return {"dropped": self.runs.pop((problem, dtype), None) is not None}


def main():
    peer, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr

    def answer(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        worker = Worker(peer, threads)
    except peers.UnavailableError as error:
        return answer({"unavailable": str(error)})
    answer({"version": getattr(worker.module, "VERSION", peer)})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(worker, request.pop("do"))(**request))
        except peers.UnavailableError as error:
            answer({"unavailable": str(error)})
        except Exception as error:
            answer({"failed": f"{type(error).__name__}: {error}"[:500]})


if __name__ == "__main__":
    main()
