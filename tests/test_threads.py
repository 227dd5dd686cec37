"""Estimators that are made in several threads at once are those that are made one after the other."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.special

import mcgrad as mg
from tests.estimators import PROBLEMS


def mixture(z, *, means):
    return scipy.special.logsumexp(-((z - means) ** 2)) + scipy.special.expit(z)


CASES = [
    *({**problem, "backend": backend} for problem in PROBLEMS.values() for backend in ("numpy", "cpu")),
    {"f": mixture, "q": mg.Normal(0.3, 1.2), "data": {"means": np.arange(5.0)}, "backend": "numpy"},
]


def made(case):
    return mg.Estimator(**case, dtype="float32", threads=1)


def bits(run):
    estimate = run(500)
    return run.fingerprint, str(run.program), estimate.value, estimate.stderr


def test_estimators_of_several_threads():
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(made, CASES * 3))
    assert [bits(run) for run in together] == [bits(made(case)) for case in CASES] * 3
    assert scipy.special.logsumexp(np.zeros(2)) == np.log(2)  # SciPy's own again
