"""A batch that was killed goes on where it was, and ends with the bits of one that was not."""

import json
import signal
import subprocess
import sys
import time

import pytest

import mcgrad as mg
from tests.processes import running

MAIN = """
import signal, sys
from mcgrad.jobs import checkpoint
from mcgrad.cli import main
checkpoint.SHARE = 1.0  # on a slow disk, too, some checkpoints are written in some seconds
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process of pytest-xdist's ignores
sys.exit(main())
"""
RUN = [sys.executable, "-c", MAIN, "run", "batch.toml"]
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
DRAWS = {"numpy": 8_000_000, "cpu": 400_000_000}  # some seconds


def stopped_by(sent, folder):
    """Run the batch until a checkpoint says that some chunks are done, send a signal, and return what is there."""
    path = folder / "results" / ".long.checkpoint.json"
    with running([*RUN, "--checkpoint", "0"], cwd=folder, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        chunks = set()
        while len(chunks) < 2 and process.poll() is None and time.monotonic() < deadline:
            if path.exists():
                chunks.add(json.loads(path.read_text())["stop"])  # whole, whenever it is read
            time.sleep(0.005)
        process.send_signal(sent)
        _, error = process.communicate(timeout=300)
    assert len(chunks) == 2, error
    return process.returncode, error, max(chunks), json.loads(path.read_text())["stop"]


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
    status, error, seen, kept = stopped_by(sent, folder)
    assert status == (130 if sent == signal.SIGINT else -sent)
    assert "Traceback" not in error
    assert seen <= kept < n
    if sent == signal.SIGINT:
        assert f"long: {kept:,} of {n:,} draws are kept; --resume goes on from there" in error
    names = {path.name for path in (folder / "results").iterdir() if path.suffix in (".json", ".npz")}
    assert names == {"first.json", "first.npz", ".long.checkpoint.json"}

    done = subprocess.run([*RUN, "--resume"], cwd=folder, capture_output=True, text=True)
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
