"""A folder with a job file, and a module that it names, for tests of the command line."""

import sys

import mcgrad as mg

MODEL = """
import numpy as np

def f(z, *, tau=1.0):
    return tau * np.sum(np.sin(z))

def g(z, *, X):
    return np.sum(X * z)

def breaks(z):
    return {}["key"]

def branches(z):
    return 1.0 if z > 0 else 0.0

def logs(z):
    return np.log(z)

def jump(z):
    return np.where(z > 0.2, 1.0, 0.0)
"""

JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3, scale = 1.2}
n = 500
backend = "numpy"
"""


def job_folder(tmp_path, monkeypatch):
    """Fill a folder, and go there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def results(folder):
    return sorted(path.name for path in folder.rglob("*.json"))


def read(path):
    return mg.Estimate.from_json(path.read_text())


SIGNALLED = """
import os, signal, sys
from mcgrad.cli import main
from mcgrad.jobs import checkpoint

write, written = checkpoint.write, []

def signalled(path, content):
    write(path, content)
    written.append(path.name)
    if written.count(".{job}.checkpoint.json") == 2:
        os.kill(os.getpid(), {sent:d})

checkpoint.write, checkpoint.SHARE = signalled, float("inf")  # one after each chunk, however long it takes to write
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process of pytest-xdist's ignores
sys.exit(main())
"""


def signalled(job, sent):
    """Return a command that runs jobs, and sends itself a signal after the second checkpoint of one of them."""
    return [sys.executable, "-c", SIGNALLED.format(job=job, sent=sent), "run", "--checkpoint", "0"]
