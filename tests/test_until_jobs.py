"""Jobs that stop once their error is within a tolerance: `until` in job files, their checkpoints and progress."""

import json
import re

import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.cli.board import RUNNING, Board
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import identity_of
from mcgrad.jobs.jobfile import load
from mcgrad.results.stopping import StoppingRule

from .job_files import JOB, job_folder, read

UNTIL = JOB.replace("n = 500\n", 'until = { rtol = 0.02, of = "all", start = 4096 }\nseed = 3\n')
RULE = StoppingRule(rtol=0.02, of="all", start=4096)
ROWS = UNTIL.replace("loc = 0.3,", "loc = [0.3, 0.5],").replace("scale = 1.2", "scale = [1.2, 0.5], batch_ndim = 1")

POINTS = UNTIL.replace("0.02", "0.002") + 'sampler = "sobol"\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = job_folder(tmp_path, monkeypatch)
    (folder / "job.toml").write_text(UNTIL)
    return folder


def numbers(est):
    return {name: x for name, x in est.to_dict().items() if name != "seconds"}


def states_of(job):
    seen = []
    return job.run(job.estimator(), seen.append, None), seen


def test_a_job_has_the_result_of_the_method(folder, capsys):
    assert main(["run", "job.toml"]) == 0
    found = read(folder / "results/job.json")
    assert found.stopping.reached
    assert re.search(r"stopped after \d looks: the error .* is within the tolerance", capsys.readouterr().out)
    (job,) = load("job.toml")
    right = job.estimator().until(rtol=0.02, of="all", start=4096, seed=3)
    assert numbers(found) == numbers(right)


def test_what_is_complete_is_skipped_and_another_rule_runs_again(folder, capsys):
    assert main(["run", "job.toml"]) == 0
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "complete already" in capsys.readouterr().out
    (folder / "job.toml").write_text(UNTIL.replace("0.02", "0.04"))
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "runs again: results/job.json, until: given" in capsys.readouterr().out
    n = read(folder / "results/job.json").n
    (folder / "job.toml").write_text(JOB.replace("500", str(n)))
    assert main(["run", "job.toml", "--resume", "--seed", "3"]) == 0
    assert "runs again: results/job.json, until: given" in capsys.readouterr().out
    (folder / "job.toml").write_text(UNTIL)
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "runs again: results/job.json, until: given None" in capsys.readouterr().out


@pytest.mark.parametrize("text", [UNTIL, ROWS, POINTS])
def test_a_job_goes_on_from_its_checkpoint(folder, capsys, text):
    (folder / "job.toml").write_text(text)
    (job,) = load("job.toml")
    right, seen = states_of(job)
    assert len(seen) > 4
    identity = identity_of(job.estimator(), None, 3, False, until=job.until)
    path = checkpoint.path_for(job.out)
    path.parent.mkdir()
    assert identity.drawn(seen[-1]) == right.n * identity.own_rows
    for state in (seen[0], seen[1], seen[len(seen) // 2], seen[-1]):
        path.write_text(checkpoint.to_json(identity, state))
        assert main(["run", "job.toml", "--resume"]) == 0
        assert f"resumed at {identity.place(state)}\n" in capsys.readouterr().out
        found = type(right).from_json((folder / "results/job.json").read_text())
        assert numbers(found) == numbers(right)
        assert not path.exists()
        (folder / "results/job.json").unlink()


def test_a_checkpoint_of_another_rule_or_run_is_not_taken(folder, capsys):
    (job,) = load("job.toml")
    _, seen = states_of(job)
    identity, path = identity_of(job.estimator(), None, 3, False, until=RULE), checkpoint.path_for(job.out)
    path.parent.mkdir()
    text = checkpoint.to_json(identity, seen[2])
    for keys, why in [
        (UNTIL.replace("0.02", "0.03"), "until: given"),
        (UNTIL.replace('"all"', '"value"'), "until: given"),
        (JOB + "seed = 3", "n: given 1073741824; accepted: 500"),
        (UNTIL.replace("seed = 3", "seed = 4"), "seed: given 3"),
    ]:
        path.write_text(text)
        (folder / "job.toml").write_text(keys)
        assert main(["run", "job.toml", "--resume"]) == 0
        assert f"starts anew: results/.job.checkpoint.json, {why}" in capsys.readouterr().out
        (folder / "results/job.json").unlink()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fields: fields.update(looks=-1), "looks: given -1"),
        (lambda fields: fields.update(found=None), "found: given None"),
        (lambda fields: fields.update(state=3), "state: given 3"),
        (lambda fields: fields["found"].update(n=0), "found.n: given 0"),
        (lambda fields: fields["state"].update(stop=0), "state.stop: given 0"),
    ],
)
def test_a_damaged_checkpoint_is_refused(folder, change, why):
    (job,) = load("job.toml")
    _, seen = states_of(job)
    identity, path = identity_of(job.estimator(), None, 3, False, until=RULE), folder / "checkpoint.json"
    state = next(each for each in seen if each.looks and each.state)
    path.write_text(checkpoint.to_json(identity, state))
    assert checkpoint.read(path, identity).place == state.place
    fields = json.loads(path.read_text())
    del fields["digest"]
    change(fields)
    path.write_text(checkpoint.dumps(checkpoint.signed(fields)))
    with pytest.raises(mg.ParameterError, match=re.escape(f"{path}, {why}")):
        checkpoint.read(path, identity)


def test_an_interrupted_job_keeps_what_it_has(folder, capsys, monkeypatch):
    report = Board.run

    def stops(self, job, n, done):
        show = report(self, job, n, done)

        def stopping(now, total, note):
            show(now, total, note)
            if note:  # after the first look
                raise KeyboardInterrupt

        return stopping

    with monkeypatch.context() as patch:
        patch.setattr(Board, "run", stops)
        assert main(["run", "job.toml"]) in (1, 2, 130)
    assert "draws are kept; --resume goes on from there" in capsys.readouterr().err
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "resumed at draw 4,096\n" in capsys.readouterr().out


def test_progress_shows_the_error_and_the_draws_expected(folder, monkeypatch):
    shown = []

    def run(self, job, n, done):
        assert (n, done) == (4096, 0)
        return lambda *args: shown.append(args)

    monkeypatch.setattr(Board, "run", run)
    assert main(["run", "job.toml", "--progress"]) == 0
    n = read(folder / "results/job.json").n
    assert shown[0] == (4096, 4096, "")
    now, expected, note = shown[-1]
    assert (now, expected) == (n, n)
    assert re.fullmatch(r"error 0.0\d+, tolerance 0.0\d+", note)
    assert all(done <= total for done, total, _ in shown)


def test_the_line_of_a_job_has_the_note():
    board = Board([("job", 1)], shown=True)
    with board:
        board.run(0, 100, 0)(50, 400, "error 0.1, tolerance 0.01")
        (task,) = board._lines.tasks
        assert (task.completed, task.total, task.fields["state"]) == (50, 400, RUNNING)
        assert task.fields["note"] == "error 0.1, tolerance 0.01"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ('until = "soon"', r"until: given 'soon'; accepted: a table of rtol, atol"),
        ("until = { error = 0.1 }", r"until\.error: given no such key; accepted: rtol, atol"),
        ("until = { rtol = -1 }", r"until\.rtol: given -1"),
        ('until = { of = "mean" }', r"until\.of: given 'mean'; accepted: 'grad', 'value', 'all', or any of loc, scale"),
        ("until = { start = 64, max_draws = 32 }", r"until\.max_draws: given 32"),
        ("until = {}\nn = 500", r"n: given 500, and until; accepted: one of the two"),
        ("", r"n: given nothing; accepted: .* or until = \{ rtol"),
    ],
)
def test_what_is_refused(folder, capsys, keys, why):
    (folder / "job.toml").write_text(f"{keys}\n{JOB}".replace("n = 500\nbackend", "backend"))
    assert main(["run", "job.toml"]) == 2
    assert re.search(rf"job\.toml, {why}", capsys.readouterr().err)


def test_a_number_of_draws_on_the_command_line_is_refused(folder, capsys):
    assert main(["run", "job.toml", "--n", "500"]) == 2
    assert "--n: given 500, and until" in capsys.readouterr().err
