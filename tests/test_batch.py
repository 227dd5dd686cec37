"""Several jobs: the others run where one fails, and what is there already is not run again."""

import itertools
import json
import os
import re
import signal
import threading
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.backends.base import Cost
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.cli import main
from mcgrad.cli.board import Board
from mcgrad.cli.prepare import AHEAD, in_turn
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import Identity

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def results(folder):
    return sorted(path.name for path in folder.rglob("*.json"))


def read(path):
    return mg.Estimate.from_json(path.read_text())


BAD = {
    "refused": ("n = 0", "n: given 0; accepted: a whole number at least 2"),
    "misspelt": ("draws = 5", "draws: given no such key"),
    "negative": ('distribution = {family = "Normal", scale = -1}', "distribution.scale: given -1.0"),
    "unknown": ('wrt = ["mean"]', "wrt: given 'mean'"),
    "untraceable": ('integrand = "model.py:branches"', "return 1.0 if z > 0 else 0.0"),
    "raising": ('integrand = "model.py:breaks"', "KeyError: 'key'"),
    "nonfinite": ('integrand = "model.py:logs"\nnonfinite = "raise"', "draws had a value or gradient that is not"),
    "unwritable": ('out = "model.py/x"', "/model.py/x (File exists)"),
}


def test_jobs_go_on_after_those_that_fail(folder, capsys):
    tables = [f'[[job]]\nname = "{name}"\n{keys}\n[[job]]\nname = "after-{name}"\n' for name, (keys, _) in BAD.items()]
    (folder / "job.toml").write_text(JOB + "".join(tables))
    assert main(["run", "job.toml"]) == 1
    printed = capsys.readouterr()
    assert results(folder) == sorted(f"after-{name}.json" for name in BAD)
    table = printed.out.partition(f"\n{2 * len(BAD)} jobs: ")[2].splitlines()
    assert sorted(table[0].split(", ")) == ["8 done", "8 failed"]
    for i, (name, (_, why)) in enumerate(BAD.items()):
        place = f"job.toml, [[job]] {2 * i + 1}"
        assert re.fullmatch(rf"{name} +failed +{re.escape(place)} +.*{re.escape(why)}.*", table[1 + 2 * i])
        assert re.fullmatch(rf"after-{name} +done +job\.toml, \[\[job\]\] {2 * i + 2}", table[2 + 2 * i])
        assert re.search(rf"^mcgrad: error: {name}(: | \(){re.escape(place)}", printed.err, re.MULTILINE)
    assert printed.err.count("Traceback") == 1  # of the user's own error
    assert 'return {}["key"]' in printed.err


def test_several_files(folder, capsys):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "near.py").write_text(f"scale = {ord(name)}.0")
        (folder / name / "model.py").write_text("import near\ndef f(z):\n    return near.scale * z\n")
        (folder / name / f"{name}.toml").write_text(JOB)
    (folder / "broken.toml").write_text("n = ")
    assert main(["run", "a/a.toml", "gone.toml", "broken.toml", "b/b.toml"]) == 1
    printed = capsys.readouterr()
    assert "mcgrad: error: gone: gone.toml: given No such file" in printed.err
    assert "mcgrad: error: broken: broken.toml: given Invalid value" in printed.err
    assert "4 jobs: 2 done, 2 failed" in printed.out
    assert read(folder / "a/results/a.json").grad["loc"] == pytest.approx(ord("a"))
    assert read(folder / "b/results/b.json").grad["loc"] == pytest.approx(ord("b"))  # each has its own neighbour


def test_no_result_is_status_2(folder, capsys):
    (folder / "broken.toml").write_text("n = ")
    assert main(["run", "broken.toml", "gone.toml"]) == 2
    assert "2 jobs: 2 failed" in capsys.readouterr().out


def test_verify_that_finds_something_off_stops_no_other_job(folder, capsys):
    (folder / "job.toml").write_text(f'{JOB}[[job]]\nintegrand = "model.py:jump"\n[[job]]\n')
    with pytest.warns(mg.JumpWarning, match="zero for every draw in loc, scale"):
        assert main(["run", "job.toml", "--verify"]) == 1
    assert "2 jobs: 1 NOT OK, 1 done" in capsys.readouterr().out
    with pytest.warns(mg.JumpWarning):
        assert main(["run", "job.toml", "--verify", "--resume"]) == 1  # what is there already is verified, too
    assert "2 jobs: 1 NOT OK, 1 complete already" in capsys.readouterr().out


def test_two_jobs_with_one_output_are_refused_before_anything_runs(folder, capsys):
    (folder / "same.toml").write_text(f'name = "job"\n{JOB}')
    assert main(["run", "job.toml", "same.toml"]) == 2
    message = capsys.readouterr().err
    assert "same.toml, out: given 'results/job' for job (same.toml), as for job (job.toml); accepted: a path" in message
    assert main(["run", "job.toml", "./job.toml"]) == 2
    (folder / "same.toml").write_text(f'out = "elsewhere/job"\n{JOB}')
    assert main(["run", "job.toml", "same.toml", "--out", "there"]) == 2
    assert "--out: given 'there/job' for same (same.toml)" in capsys.readouterr().err
    assert results(folder) == []
    assert main(["run", "job.toml", "same.toml"]) == 0
    assert results(folder) == ["job.json", "job.json"]


def test_explain_takes_several_files(folder, capsys):
    (folder / "same.toml").write_text(JOB)
    assert main(["explain", "job.toml", "same.toml"]) == 0
    assert re.findall("^# .*", capsys.readouterr().out, re.MULTILINE) == ["# job", "# same"]


def test_the_next_jobs_are_prepared_while_one_runs():
    """The first job does not end before the next two are prepared, and no other one is begun."""
    begun, ready = Counter(), threading.Semaphore(0)

    def work(item):
        begun[item] = threading.get_ident()
        ready.release()
        return item

    turns = in_turn(range(10), work)
    item, future = next(turns)
    assert future.result(timeout=60) == item == 0
    for _ in range(1 + AHEAD):
        assert ready.acquire(timeout=60)
    assert list(begun) == [0, 1, 2]
    assert threading.get_ident() not in begun.values()
    assert [future.result(timeout=60) for _, future in turns] == list(range(1, 10))


def test_an_error_in_preparing_is_that_jobs_own():
    turns = in_turn([1.0, 0.0, 2.0], lambda x: 1 / x)
    assert [type(future.exception(timeout=60)) for _, future in turns] == [type(None), ZeroDivisionError, type(None)]


# Resuming


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


# Lines


def test_one_line_a_job(folder, capsys):
    tables = '[[job]]\nname = "[good]"\n[[job]]\nn = 0\nname = "bad"\n[[job]]\nname = "last"\n'
    (folder / "job.toml").write_text(JOB + tables)
    assert main(["run", "job.toml", "--progress"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith(("[good]", "bad", "last"))] == [
        "done",
        "failed",
        "done",
    ]
    assert sum("500/500" in line for line in lines) == 2


def test_lines_fit_the_terminal(monkeypatch):
    monkeypatch.setenv("LINES", "20")
    board = Board([(f"job {i}", 10) for i in range(100)], shown=True)
    for i in range(100):
        board.run(i, 10, 0)
        seen = [int(task.description.split()[1]) for task in board._lines.tasks if task.visible]
        assert i in seen
        assert len(seen) <= 20 - 3
        assert seen == list(range(seen[0], seen[-1] + 1))
