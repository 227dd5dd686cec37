"""A batch that was killed goes on where it was, and ends with the bits of one that was not."""

import json
import signal
import subprocess
import sys

import pytest

import mcgrad as mg
from tests.job_files import signalled

MODEL = """
import numpy as np

def f(z):
    return np.sin(z) * np.exp(-(z**2) / 10)
"""
BATCH = """
integrand = "model.py:f"
distribution = {{family = "Normal", loc = 0.3, scale = 1.2}}
dtype = "float32"
backend = "{backend}"
n = 1000
n_compare = 100

[[job]]
name = "first"

[[job]]
name = "long"
n = {n}

[[job]]
name = "last"
"""
DRAWS = {"numpy": 1_000_000, "cpu": 20_000_000}  # more than two chunks


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


@pytest.mark.parametrize(
    ("sent", "backend"), [(signal.SIGKILL, "numpy"), (signal.SIGKILL, "cpu"), (signal.SIGINT, "numpy")]
)
def test_what_was_killed_goes_on(folder, sent, backend):
    n = DRAWS[backend]
    (folder / "batch.toml").write_text(BATCH.format(backend=backend, n=n))
    killed = subprocess.run([*signalled("long", sent), "batch.toml"], cwd=folder, capture_output=True, text=True)
    assert killed.returncode == (130 if sent == signal.SIGINT else -sent)
    assert "Traceback" not in killed.stderr
    kept = json.loads((folder / "results" / ".long.checkpoint.json").read_text())["stop"]
    assert 0 < kept < n
    if sent == signal.SIGINT:
        assert f"long: {kept:,} of {n:,} draws are kept; --resume goes on from there" in killed.stderr
    names = {path.name for path in (folder / "results").iterdir() if path.suffix in (".json", ".npz")}
    assert names == {"first.json", "first.npz", ".long.checkpoint.json"}

    again = [sys.executable, "-m", "mcgrad", "run", "batch.toml", "--resume"]
    done = subprocess.run(again, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"resumed at draw {kept:,} of {n:,}\n" in done.stdout
    assert "3 jobs: 1 complete already, 2 done" in done.stdout
    assert not (folder / "results" / ".long.checkpoint.json").exists()

    scope = {}
    exec(MODEL, scope)
    run = mg.Estimator(scope["f"], mg.Normal(0.3, 1.2), dtype="float32", backend=backend)
    for name, draws in (("first", 1000), ("long", n), ("last", 1000)):
        found = mg.Estimate.from_json((folder / "results" / f"{name}.json").read_bytes())
        assert {**found.to_dict(), "seconds": 0} == {**run(draws).to_dict(), "seconds": 0}
