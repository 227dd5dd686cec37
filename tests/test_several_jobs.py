"""Several jobs: the others run where one fails, each has a line, and the next are prepared while one runs."""

import re
import threading
from collections import Counter

import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.cli.board import Board
from mcgrad.cli.prepare import AHEAD, in_turn

from .job_files import JOB, job_folder, read, results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return job_folder(tmp_path, monkeypatch)


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
    assert future.result(timeout=300) == item == 0
    for _ in range(1 + AHEAD):
        assert ready.acquire(timeout=300)
    assert list(begun) == [0, 1, 2]
    assert threading.get_ident() not in begun.values()
    assert [future.result(timeout=300) for _, future in turns] == list(range(1, 10))


def test_an_error_in_preparing_is_that_jobs_own():
    turns = in_turn([1.0, 0.0, 2.0], lambda x: 1 / x)
    assert [type(future.exception(timeout=300)) for _, future in turns] == [type(None), ZeroDivisionError, type(None)]


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
