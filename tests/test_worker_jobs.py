"""Jobs on worker processes: the bits of a run in threads, whatever ends a worker or the run."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import mcgrad as mg
from mcgrad.cli import main, processes
from mcgrad.cli.processes import IN_TURN, Processes
from mcgrad.errors import ExecutorError
from mcgrad.tasks.task import Payload, Task
from tests.processes import running

from .job_files import JOB, job_folder

MAIN = """
import signal, sys
from mcgrad.jobs import checkpoint
from mcgrad.cli import main
checkpoint.SHARE = 1.0  # on a slow disk, too, some checkpoints are written in some seconds
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process of pytest-xdist's ignores
sys.exit(main())
"""
N = 8_000_000
MODEL = """
import numpy as np

def f(z):
    return np.sum(np.sin(z) * np.exp(-(z**2) / 10))
"""
LONG = f"""
integrand = "model.py:f"
distribution = {{family = "Normal", loc = [0.3, 0.1, 0.2], scale = 1.2}}
backend = "numpy"
compare = "none"
n = {N}
"""
ON_WORKERS = [sys.executable, "-c", MAIN, "run", "job.toml", "--workers", "1", "--checkpoint", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return job_folder(tmp_path, monkeypatch)


def children(pid):
    """Return the numbers of the processes that run main code of a worker and have this parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def until(condition, process=None):
    """Wait for something that another process does."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the parents of processes")
def test_workers_and_the_run_are_killed_and_the_rest_goes_on(tmp_path, monkeypatch):
    """A killed worker costs its tasks alone; kill -9 and Ctrl-C leave a checkpoint, and no process."""
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(LONG)
    path = tmp_path / "results/.job.checkpoint.json"

    def stop():
        try:
            return json.loads(path.read_text())["stop"]
        except FileNotFoundError:
            return 0

    with running(ON_WORKERS, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        until(lambda: len(children(process.pid)) == 1, process)
        first, begun = children(process.pid), stop()  # the first chunk is averaged before there are workers
        until(lambda: stop() > begun, process)
        os.kill(first[0], signal.SIGKILL)
        seen = stop()
        until(lambda: len(set(children(process.pid)) - set(first)) == 1, process)
        until(lambda: stop() > seen, process)
        workers = children(process.pid)
        process.kill()
        process.wait()
    until(lambda: not any(is_python(pid) for pid in workers))
    killed = stop()
    assert 0 < killed < N

    with running(
        [*ON_WORKERS, "--resume"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        until(lambda: stop() > killed, process)
        workers = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, error = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert f"resumed at draw {killed:,} of {N:,}" in out
    assert f"job: {stop():,} of {N:,} draws are kept; --resume goes on from there" in error
    until(lambda: not any(is_python(pid) for pid in workers))

    monkeypatch.chdir(tmp_path)
    assert main(["run", "job.toml", "--resume"]) == 0
    scope = {}
    exec(MODEL, scope)
    right = mg.Estimator(scope["f"], mg.Normal([0.3, 0.1, 0.2], 1.2), backend="numpy")(N)
    found = mg.Estimate.from_json((tmp_path / "results/job.json").read_bytes())
    assert {**found.to_dict(), "seconds": 0} == {**right.to_dict(), "seconds": 0}


def is_python(pid):
    """Whether a worker is still there: another process may have got its number."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_several_jobs_of_every_kind_on_workers(tmp_path, monkeypatch, capsys):
    """Bits, a batch, a run that stops, an integrand of a job's own file; one pool serves all."""
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(
        """
integrand = "model.py:f"
distribution = { family = "Normal", loc = [0.3, 0.1], scale = 1.2 }
backend = "numpy"

[[job]]
name = "points"
sampler = "sobol"
n = 65_536

[[job]]
name = "rows"
distribution = { family = "Normal", loc = [[0.3, 0.1], [0.2, 0.4], [0.5, 0.1]], scale = 1.2, batch_ndim = 1 }
n = 200_000

[[job]]
name = "stops"
until = { rtol = 2e-3 }
"""
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "job.toml"]) == 0
    capsys.readouterr()
    assert main(["run", "job.toml", "--workers", "2", "--out", "on_workers"]) == 0
    assert "numpy, 2 worker processes, float64" in capsys.readouterr().out
    for name in ("points", "rows", "stops"):
        here, there = (json.loads((tmp_path / at / f"{name}.json").read_text()) for at in ("results", "on_workers"))
        same = {key for key in here if here[key] == there.get(key)}
        assert set(here) - same <= {"seconds", "digest"}, name


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ["--workers", "2", "--scheduler", "tcp://localhost:1"],
            "--scheduler: given 'tcp://localhost:1', and --workers",
        ),
        (["--workers", "0"], "--workers: given 0; accepted: "),
        (["--workers", "many"], "--workers: given 'many'; accepted: "),
        (["--workers", "2", "--shard", "1/2"], "--shard: given 1/2, and --workers; accepted: one of the two"),
        (["--require-same"], "--require-same: given without --workers or --scheduler"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, capsys, options, why):
    assert main(["run", "job.toml", *options]) == 2
    assert why in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_a_scheduler_that_does_not_answer_is_named(folder, capsys):
    pytest.importorskip("distributed")
    assert main(["run", "job.toml", "--scheduler", "no scheme"]) == 2
    assert "--scheduler: given 'no scheme' (" in capsys.readouterr().err


def test_jobs_that_are_complete_start_no_process(folder, monkeypatch):
    (folder / "job.toml").write_text(JOB)
    assert main(["run", "job.toml"]) == 0
    monkeypatch.setattr(processes, "_started", lambda count: pytest.fail("a process"))
    assert main(["run", "job.toml", "--resume", "--workers", "2"]) == 0


class Broken:
    """A pool in which each task ends its process."""

    _max_workers = 2

    def submit(self, *task):
        future = Future()
        future.set_exception(BrokenProcessPool("killed"))
        return future


def test_processes_that_end_again_and_again_end_the_run(monkeypatch):
    made = []
    monkeypatch.setattr(processes, "_started", lambda count: made.append(count) or Broken())
    adapter, payload = Processes(2), Payload(b"")
    task = Task(payload.digest, 0, 1, 1, b"")
    for _ in range(IN_TURN + 1):
        assert adapter.dropped(adapter.submit(payload, task, 0, None).exception())
    with pytest.raises(ExecutorError, match=r"have ended 4 times without completing a task.*Use fewer --workers"):
        adapter.submit(payload, task, 0, None)
    assert made == [2] * (IN_TURN + 1)
