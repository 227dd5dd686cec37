"""mcgrad's CUDA backend through its public interface. Device time: from the first launch to the end of the last."""

import time

import numpy as np

import mcgrad as mg
from peers.gpu import ON_DEVICE, Job

VERSION = f"mcgrad {mg.__version__}"


class Launches:
    """Events around every launch that the CUDA backend makes."""

    def __init__(self):
        from mcgrad.backends.cuda.driver import Device

        self.pairs, self._launch = [], Device.launch
        launches = self

        def launch(device, function, grid, threads, shared, arguments, stream):
            before, after = launches.event(stream), None
            launches._launch(device, function, grid, threads, shared, arguments, stream)
            after = launches.event(stream)
            launches.pairs.append((before, after))

        Device.launch = launch

    def event(self, stream):
        import cupy

        event = cupy.cuda.Event()
        event.record(cupy.cuda.ExternalStream(stream))
        return event

    def seconds(self):
        """Between the earliest start and the latest end of the launches so far, which are then forgotten."""
        import cupy

        first = self.pairs[0][0]
        for _, after in self.pairs:
            after.synchronize()
        starts = [cupy.cuda.get_elapsed_time(first, before) for before, _ in self.pairs]
        ends = [cupy.cuda.get_elapsed_time(first, after) for _, after in self.pairs]
        self.pairs = []
        return (max(ends) - min(starts)) / 1000


def estimator(problem, dtype):
    """The compiled estimator of a problem."""
    q = mg.MultivariateNormal(**problem.q) if "scale_tril" in problem.q else mg.Normal(**problem.q)
    more = {"params": problem.params, "data": problem.data, "wrt": problem.wrt, "dtype": dtype}
    return mg.Estimator(problem.f, q, backend="cuda" if ON_DEVICE else "cpu", **more)


def jobs(problem, dtype, errors):
    chunk = 2**20 if ON_DEVICE else 4096

    def job():
        compiled = estimator(problem, dtype)
        launches = Launches() if ON_DEVICE else None

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
            if launches:
                launches.pairs = []
            start = time.perf_counter()
            compiled(chunk * rounds, seed=seed)
            return launches.seconds() if launches else time.perf_counter() - start

        return Job(chunk, run, seconds)

    return [job]
