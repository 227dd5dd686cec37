"""Jobs that are resumed: what is complete is not run again, and what was begun goes on from its checkpoint."""

import itertools
import json
import os
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.backends.base import Cost
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.cli import main
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import Identity

from .job_files import JOB, job_folder, read


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return job_folder(tmp_path, monkeypatch)


@pytest.fixture
def three(folder):
    tables = "".join(f'[[job]]\nname = "{name}"\nseed = {i}\n' for i, name in enumerate("abc"))
    (folder / "job.toml").write_text(JOB + tables)
    assert main(["run", "job.toml"]) == 0
    return folder


def written(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}


def test_what_is_complete_is_skipped(three, capsys):
    before = written(three)
    capsys.readouterr()
    assert main(["run", "job.toml", "--resume"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "3 jobs: 3 complete already" in printed.out
    assert "complete already: results/b.json" in printed.out
    assert written(three) == before
    assert main(["run", "job.toml"]) == 0
    assert all(time != before[name] for name, time in written(three).items())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.unlink(), None),
        (lambda path: path.write_text(path.read_text()[:100]), "; accepted: a whole file"),
        (lambda path: path.write_text('{"format": "mcgrad.Estimate/1"}'), "backend: given nothing"),
        (lambda path: path.write_bytes(b"\xff"), "can't decode"),
    ],
)
def test_what_is_not_complete_runs(three, capsys, spoil, why):
    right = read(three / "results/b.json")
    before = written(three)
    spoil(three / "results/b.json")
    capsys.readouterr()
    assert main(["run", "job.toml", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "2 complete already" in printed
    assert ("runs again: results/b.json" in printed) == (why is not None)
    assert (why or "") in printed
    assert read(three / "results/b.json").value == right.value
    assert {name for name, time in written(three).items() if time != before[name]} == {"b.json", "b.npz"}


@pytest.mark.parametrize(
    ("keys", "options", "why"),
    [
        ("seed = 9", [], "seed: given 0; accepted: 9"),
        ("", ["--n", "600"], "n: given 500; accepted: 600"),
        ("", ["--dtype", "float32"], "dtype: given 'float64'; accepted: 'float32'"),
        ("", ["--backend", "cpu"], "backend: given 'numpy'; accepted: 'cpu'"),
        ('nonfinite = "omit"', [], "omitted: given False; accepted: True"),
        ("params = {tau = 2.0}", [], "problem: given another integrand, distribution, parameters or data"),
        ("wrt = []", [], "problem: given another"),
    ],
)
def test_another_problem_runs_again(folder, capsys, keys, options, why):
    assert main(["run", "job.toml"]) == 0
    (folder / "job.toml").write_text(f"{JOB}\n{keys}")
    capsys.readouterr()
    assert main(["run", "job.toml", "--resume", *options]) == 0
    assert f"runs again: results/job.json, {why}" in capsys.readouterr().out
    assert main(["run", "job.toml", "--resume", *options]) == 0
    assert "complete already" in capsys.readouterr().out


def test_other_data_are_another_problem(folder, capsys):
    np.save(folder / "X.npy", np.arange(3.0))
    (folder / "job.toml").write_text(f'{JOB.replace(":f", ":g")}\ndata = {{X = "X.npy"}}')
    assert main(["run", "job.toml", "--resume"]) == 0
    np.save(folder / "X.npy", np.arange(3.0) + 1e-15)
    capsys.readouterr()
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "runs again: results/job.json, problem" in capsys.readouterr().out


def test_auto_takes_a_result_of_any_backend(folder, capsys):
    assert main(["run", "job.toml", "--backend", "cpu"]) == 0
    assert main(["run", "job.toml", "--backend", "auto", "--resume"]) == 0
    assert "complete already" in capsys.readouterr().out


def test_draws_that_may_not_be_there_are_not_overlooked(folder, capsys):
    (folder / "job.toml").write_text(JOB.replace(":f", ":logs"))
    assert main(["run", "job.toml"]) == 0
    (folder / "job.toml").write_text(JOB.replace(":f", ":logs") + 'nonfinite = "raise"')
    assert main(["run", "job.toml", "--resume"]) == 2
    assert "not finite" in capsys.readouterr().err


LONG = f"{JOB}\nn = 1_000_000".replace("n = 500\n", "")


@pytest.fixture
def halfway(folder):
    """Leave a checkpoint as a run would that was stopped after some chunks; return where, and the whole result."""
    (folder / "job.toml").write_text(LONG)
    run = mg.Estimator(lambda z, *, tau=1.0: tau * np.sum(np.sin(z)), mg.Normal(0.3, 1.2), backend="numpy")
    seen = []
    right = run.run(1_000_000, watch=seen.append)
    identity = Identity(1_000_000, 0, "float64", False, run.fingerprint, mg.__version__)
    path = folder / "results" / ".job.checkpoint.json"
    path.parent.mkdir()
    path.write_text(checkpoint.to_json(identity, seen[1]))
    return path, seen[1].stop, right


def test_a_job_goes_on_from_its_checkpoint(folder, halfway, capsys):
    _, stop, right = halfway
    assert 0 < stop < 1_000_000
    assert main(["run", "job.toml", "--resume"]) == 0
    assert f"\nresumed at draw {stop:,} of 1,000,000\n" in capsys.readouterr().out
    found = read(folder / "results/job.json")
    assert (found.value, found.grad, found.grad_stderr) == (right.value, right.grad, right.grad_stderr)
    assert os.listdir(folder / "results") in (["job.json", "job.npz"], ["job.npz", "job.json"])


def test_auto_goes_on_where_it_was(folder, halfway, capsys):
    assert main(["run", "job.toml", "--resume", "--backend", "auto"]) == 0
    assert f"resumed at draw {halfway[1]:,}" in capsys.readouterr().out
    assert read(folder / "results/job.json").backend == "numpy"


def test_without_resume_a_checkpoint_is_not_looked_at(folder, halfway, capsys):
    assert main(["run", "job.toml"]) == 0
    assert "resumed" not in capsys.readouterr().out
    assert not halfway[0].exists()


@pytest.mark.parametrize(
    ("keys", "options", "why"),
    [
        ("", ["--seed", "1"], ", seed: given 0; accepted: 1"),
        ("", ["--n", "2e6"], ", n: given 1000000; accepted: 2000000"),
        ("", ["--backend", "cpu"], ", backend: given 'numpy'; accepted: 'cpu'"),
        ("params = {tau = 2.0}", [], ", problem: given another integrand"),
    ],
)
def test_a_checkpoint_of_another_problem_is_not_taken(folder, halfway, capsys, keys, options, why):
    (folder / "job.toml").write_text(f"{LONG}\n{keys}")
    assert main(["run", "job.toml", "--resume", *options]) == 0
    assert f"starts anew: results/.job.checkpoint.json{why}" in capsys.readouterr().out
    assert not halfway[0].exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[]", b'{"format": "mcgrad.Checkpoint/1"}'])
def test_a_damaged_checkpoint_is_not_taken(folder, halfway, capsys, content):
    path, _, right = halfway
    path.write_bytes(content or path.read_bytes()[:-20])
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "starts anew: results/.job.checkpoint.json" in capsys.readouterr().out
    assert read(folder / "results/job.json").value == right.value


def test_a_checkpoint_amid_a_chunk_is_not_taken(folder, halfway, capsys, monkeypatch):
    """As another version of mcgrad may leave one that says it is this version."""
    monkeypatch.setattr(mg.Estimator, "resumes", lambda self, state, n, rows: state.stop == n)
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "accepted: the end of a chunk" in capsys.readouterr().out


class Halting:
    """NumPy's backend under another name, which fails in the third chunk where a test sets that."""

    name, fails = "halting", True

    def unavailable(self):
        return None

    def cost(self, program, draws, threads):
        return Cost(0.0, 0.0, 0.0)

    def compile(self, program):
        kernel, calls = NumpyKernel(program), itertools.count(1)
        bind = kernel.bind

        def bound(inputs):
            right = bind(inputs)

            def failing(work):
                def call(*args):
                    if self.fails and next(calls) == 3:
                        raise mg.BackendError("the device is lost")
                    return work(*args)

                return call

            return SimpleNamespace(shift=failing(right.shift), partial=failing(right.partial))

        kernel.bind = bound
        return kernel


@pytest.fixture
def halting(monkeypatch):
    monkeypatch.setattr(registry, "BACKENDS", {**registry.BACKENDS, "halting": Halting()})
    return registry.BACKENDS["halting"]


def test_a_device_that_fails_leaves_a_checkpoint(folder, halting, capsys):
    (folder / "job.toml").write_text(f'{LONG}\nthreads = 1\n[[job]]\nbackend = "halting"\n[[job]]\n')
    assert main(["run", "job.toml"]) == 1
    printed = capsys.readouterr()
    assert "mcgrad: error: job-1 (job.toml, [[job]] 1): the device is lost" in printed.err
    kept = re.search(r"mcgrad: job-1: ([0-9,]+) of 1,000,000 draws are kept; --resume goes on", printed.err)[1]
    halting.fails = False
    assert main(["run", "job.toml", "--resume"]) == 0
    assert f"resumed at draw {kept} of 1,000,000" in capsys.readouterr().out
    first, second = (read(folder / f"results/job-{i}.json") for i in (1, 2))
    assert (first.value, first.backend, second.backend) == (second.value, "halting", "numpy")


@pytest.mark.filterwarnings("ignore::mcgrad.BackendWarning")
def test_a_checkpoint_says_where_a_job_fell_back_to(folder, halting, monkeypatch):
    """The device fails, "auto" goes on elsewhere from the start, and then the job is interrupted."""
    halting.cost = lambda *args: Cost(-1.0, -1.0, -1.0)  # better than all others
    seen = []

    def interrupt(self, state):
        seen.append(state)
        if len(seen) == 3:
            self._state = state
            signal.raise_signal(signal.SIGTERM)

    (folder / "job.toml").write_text(LONG.replace('"numpy"', '"auto"'))
    monkeypatch.setattr(checkpoint.CheckpointWriter, "__call__", interrupt)
    assert main(["run", "job.toml", "--threads", "1"]) == 143
    assert [state.backend for state in seen[:2]] == ["halting", "halting"]
    assert seen[2].backend != "halting"
    left = json.loads((folder / "results/.job.checkpoint.json").read_text())
    assert (left["backend"], left["stop"]) == (seen[2].backend, seen[2].stop)


def test_draws_that_are_not_finite_leave_no_checkpoint(folder, capsys):
    (folder / "job.toml").write_text(LONG.replace(":f", ":logs") + '\nnonfinite = "raise"')
    assert main(["run", "job.toml", "--checkpoint", "0"]) == 2
    assert os.listdir(folder / "results") == []


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan"])
def test_checkpoint_takes_seconds(folder, capsys, seconds):
    assert main(["run", "job.toml", f"--checkpoint={seconds}"]) == 2
    assert "--checkpoint: given" in capsys.readouterr().err
