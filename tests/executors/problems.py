"""Problems of executors' tests, whose functions other processes get as Programs."""

import numpy as np

import mcgrad as mg
from mcgrad.tasks import ordered

N = 1 << 18  # draws, of four chunks; as points need it
LONG = 1 << 22  # of some forty


def wave(z, *, a):
    return a * np.sum(np.sin(z) * z)


def normal():
    return mg.Normal(np.linspace(0.1, 0.5, 3), 1.2)


CASES = {
    "compiled": {},
    "float32": {"dtype": "float32", "backend": "numpy"},
    "groups": {"method": "score+leave_one_out", "backend": "numpy"},
    "points": {"sampler": "sobol", "backend": "numpy"},
    "control": {"control": "linear", "backend": "numpy"},
}


def estimator(**options):
    return mg.Estimator(wave, normal(), params={"a": 0.7}, **{"backend": "cpu", **options})


def bits(est):
    parts = [est.value, est.stderr, *map(np.asarray, est.grad.values()), *map(np.asarray, est.grad_stderr.values())]
    return [np.asarray(part).tobytes() for part in parts] + [est.n, est.nonfinite]


def in_short_tasks(monkeypatch):
    """Make each chunk a task, so that a short run has many."""
    monkeypatch.setattr(ordered, "GROWTH", 0)
