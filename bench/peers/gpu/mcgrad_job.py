"""mcgrad's CUDA backend through its public interface. Device time: from the first launch to the end of the last."""

import os
import time

import numpy as np
from loop_problems import distribution

import mcgrad as mg
from peers.gpu import ON_DEVICE, Job

CHUNK = int(os.environ.get("BENCH_CHUNK", 2**20))  # draws; fewer in a rehearsal, whose device is NumPy
VERSION = f"mcgrad {mg.__version__}"


class Launches:
    """Events around every launch that the CUDA backend makes, as long as the context is."""

    def __enter__(self):
        from mcgrad.backends.cuda.driver import Device

        self.pairs, self._launch = [], Device.launch
        launches, original = self, Device.launch

        def launch(device, function, grid, threads, shared, arguments, stream):
            before = launches.event(stream)
            original(device, function, grid, threads, shared, arguments, stream)
            launches.pairs.append((before, launches.event(stream)))

        Device.launch = launch
        return self

    def __exit__(self, *error):
        from mcgrad.backends.cuda.driver import Device

        Device.launch = self._launch

    def event(self, stream):
        import cupy

        event = cupy.cuda.Event()
        cupy.cuda.runtime.eventRecord(event.ptr, stream)
        return event

    def seconds(self):
        """Between the earliest start and the latest end of the launches."""
        import cupy

        first = self.pairs[0][0]
        for _, after in self.pairs:
            after.synchronize()
        starts = [cupy.cuda.get_elapsed_time(first, before) for before, _ in self.pairs]
        ends = [cupy.cuda.get_elapsed_time(first, after) for _, after in self.pairs]
        return (max(ends) - min(starts)) / 1000


def estimator(problem, dtype, backend="cuda" if ON_DEVICE else "cpu"):
    """The compiled estimator of a problem."""
    more = {"params": problem.params, "data": problem.data, "wrt": problem.wrt, "dtype": dtype}
    return mg.Estimator(problem.f, distribution(problem), backend=backend, **more)


def jobs(problem, dtype, errors):
    chunk = CHUNK if ON_DEVICE else 4096

    def job():
        compiled = estimator(problem, dtype)

        def run(seed, rounds):
            n = chunk * rounds
            est = compiled(n, seed=seed)
            names = {"": (est.value, est.stderr)} | {k: (est.grad[k], est.grad_stderr[k]) for k in problem.wrt}
            totals = {}
            for name, (mean, stderr) in names.items():
                mean, stderr = np.asarray(mean, np.float64), np.asarray(stderr, np.float64)
                totals[name] = mean * n, (stderr**2 * (n - 1) + mean**2) * n
            return totals

        def seconds(seed, rounds):
            if ON_DEVICE:
                with Launches() as launches:
                    compiled(chunk * rounds, seed=seed)
                return launches.seconds()
            start = time.perf_counter()
            compiled(chunk * rounds, seed=seed)
            return time.perf_counter() - start

        return Job(chunk, run, seconds)

    return [job]
