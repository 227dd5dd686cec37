"""Estimators made in several threads at once are those made one after the other; an interrupt ends all threads."""

import subprocess
import sys
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


INTERRUPTED = """
import signal, sys, threading
import mcgrad as mg

start, main = threading.Thread.start, threading.main_thread()
sent = []

def interrupted(thread):  # Ctrl-C while the first thread of a pool starts
    start(thread)
    if thread.name == "mcgrad-2_0" and not sent:
        sent.append(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread.start = interrupted
try:
    mg.estimate(lambda z: z**2, mg.Normal(0.3, 1.2), n=2_000_000, backend="numpy", threads=2)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_while_a_thread_starts():
    """The process ends: a thread that its executor does not know would keep it for ever."""
    found = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stdout, found.stderr) == (0, "interrupted\n", "")
