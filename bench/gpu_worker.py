"""One library on the GPU, in a process of its own; its commands are lines of JSON, as those of `worker.py`."""

import json
import os
import sys
import time

from loop_problems import loop_problems
from peers import UnavailableError, gpu as peers
from problems import problems
from sass import noise_problem

SHORT = 0.05  # seconds that a timed call takes, at least


def cases():
    """The problems, the bare noise, and loops, which mcgrad alone has."""
    return problems() | {"noise": noise_problem()} | loop_problems()


def rounds_for(job, seconds):
    """How many rounds take about so long."""
    rounds = 1
    while True:
        took = job.seconds(2, rounds)
        if took > seconds / 2 or rounds >= 2**14:
            return max(1, round(rounds * seconds / took)) if took < seconds else rounds
        rounds *= 4


class Worker:
    """Keeps the jobs that were compiled last, and of them the fastest."""

    def __init__(self, name):
        self.version, self.jobs = peers.load(name)
        self.compiled, self.job, self.rounds = [], None, 1

    def device(self):
        """What the driver says of the device: of a slice of one, what belongs to the slice."""
        from mcgrad.backends.cuda.driver import devices

        first = devices()[0]
        return {"name": first.name, "cc": first.cc, "processors": first.processors}

    def compile(self, problem, dtype, budget, check):
        """Compile and run as many variants as can be tried in so many seconds; other peers may work meanwhile."""
        start, self.compiled, refused = time.perf_counter(), [], []
        for number, make in enumerate(self.jobs(cases()[problem], dtype)):
            if self.compiled and time.perf_counter() - start > budget:
                break
            try:
                job = make()
                self.compiled.append((number, job, job.run(1, -(-check // job.chunk))))
            except Exception as error:
                refused.append(f"variant {number}: {type(error).__name__}: {error}"[:300])
        if not self.compiled:
            raise RuntimeError("; ".join(refused) or "no variant")
        return {"seconds": time.perf_counter() - start, "variants": len(self.compiled), "refused": refused}

    def tune(self, check):
        """Keep the fastest compiled variant, and return its check; no other process may use the device meanwhile."""
        best, refused = 0.0, []
        for number, job, totals in self.compiled:
            try:
                rounds = rounds_for(job, SHORT)
                rate = job.chunk * rounds / min(job.seconds(3, rounds) for _ in range(2))
            except Exception as error:
                refused.append(f"variant {number}: {type(error).__name__}: {error}"[:300])
                continue
            if rate > best:
                best, self.job, self.rounds, kept = rate, job, rounds, (number, totals)
        self.compiled = []
        if not best:
            raise RuntimeError("; ".join(refused))
        chunk, (number, totals) = self.job.chunk, kept
        totals = {k: [None if x is None else x.tolist() for x in map(_array, pair)] for k, pair in totals.items()}
        more = {"variant": number, "chunk": chunk, "draws": chunk * self.rounds, "refused": refused}
        return {"totals": totals, "checked": chunk * -(-check // chunk), **more}

    def round(self, calls, seed):
        """Device times of some calls."""
        return {"times": [self.job.seconds(seed + i, self.rounds) for i in range(calls)]}

    def drop(self):
        """Forget the jobs."""
        self.job, self.compiled = None, []
        return {"dropped": True}


def _array(x):
    import numpy as np

    return None if x is None else np.asarray(x, np.float64)


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr

    def answer(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        worker = Worker(sys.argv[1])
    except UnavailableError as error:
        return answer({"unavailable": str(error)})
    answer({"version": worker.version})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(worker, request.pop("do"))(**request))
        except Exception as error:
            answer({"failed": f"{type(error).__name__}: {error}"[:500]})


if __name__ == "__main__":
    main()
