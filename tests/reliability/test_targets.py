"""Results are written over earlier results, and over nothing else that is there."""

import json
import os
import shutil
import time

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.jobs.targets import refuse_others
from mcgrad.results.files import save
from mcgrad.system.atomic import remove_stale
from tests.reliability.test_results import make

JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3}
n = 100
backend = "numpy"
data = {DATA}
out = "study"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("def f(z, *, x=1.0):\n    return (x * z).sum()\n")
    (tmp_path / "job.toml").write_text(JOB.replace("{DATA}", "{}"))
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


OTHERS = {  # what somebody else's file may hold
    "study.json": [
        b'{"n": 3}',
        b"{}",
        b"[]",
        b"not JSON",
        b'{"runs": [{"format": "mcgrad.Estimate/1"}]}',
        b"\xff\xfe",
        b"[" * 9999,
    ],
    "study.npz": [b"not a zip file", b"PK\x03\x04"],
}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, all_ in OTHERS.items() for content in all_])
def test_a_file_of_somebody_else_is_refused_before_anything_runs(folder, capsys, name, content):
    (folder / "model.py").write_text("raise AssertionError('runs')\ndef f(z):\n    return z\n")
    (folder / name).write_bytes(content)
    before = contents(folder)
    assert main(["run", "job.toml"]) == 2
    assert f"job.toml, out: given {name}, which mcgrad did not write; accepted: " in capsys.readouterr().err
    assert contents(folder) == before
    assert main(["run", "job.toml", "--resume"]) == 2
    assert contents(folder) == before
    (folder / "model.py").write_text("def f(z):\n    return z\n")
    assert main(["run", "job.toml", "--force"]) == 0
    assert mg.Estimate.from_json((folder / "study.json").read_bytes()).n == 100


@pytest.mark.parametrize(
    "entries", [{"x": np.ones(3)}, {"value": 1.0, "n": 3}, {"format": "theirs", "value": 1.0}, {"format": np.ones(999)}]
)
def test_an_npz_file_of_somebody_else_is_refused(folder, entries):
    np.savez(folder / "study.npz", **entries)
    before = contents(folder)
    assert main(["run", "job.toml"]) == 2
    save(make(), folder / "beside")
    shutil.copy(folder / "beside.json", folder / "study.json")  # it is not damaged: so what is beside it says nothing
    assert main(["run", "job.toml"]) == 2
    assert {**contents(folder), **before} == contents(folder)


def test_earlier_results_are_written_over(folder, tmp_path):
    stem = folder / "study"
    for spoil in (
        lambda: None,
        lambda: (folder / "study.json").write_bytes((folder / "study.json").read_bytes()[:99]),
        lambda: (folder / "study.json").write_bytes(b"\xff"),  # the NPZ file is there to tell
        lambda: (folder / "study.npz").write_bytes((folder / "study.npz").read_bytes()[:99]),
        lambda: (folder / "study.json").write_text(json.dumps(make().to_dict(), indent=2, sort_keys=True)),
        lambda: (folder / "study.json").write_bytes(b""),
        lambda: (folder / "study.npz").write_bytes(b""),
        lambda: np.savez(folder / "study.npz", value=1.0, stderr=1.0, n=3, nonfinite=0, seed=0),  # of earlier versions
    ):
        save(make(), stem)
        spoil()
        assert main(["run", "job.toml"]) == 0
        assert mg.Estimate.from_json((folder / "study.json").read_bytes()).n == 100


def test_what_is_no_regular_file_is_refused_with_force_too(folder, capsys):
    (folder / "study.npz").mkdir()
    assert main(["run", "job.toml", "--force"]) == 2
    assert "study.npz, which is a folder" in capsys.readouterr().err
    (folder / "study.npz").rmdir()
    os.mkfifo(folder / "study.json")
    assert main(["run", "job.toml", "--force"]) == 2
    assert "study.json, which is no regular file" in capsys.readouterr().err


def test_links_are_judged_by_where_they_lead_and_replaced(folder, capsys):
    (folder / "theirs.json").write_text("{}")
    (folder / "study.json").symlink_to(folder / "theirs.json")
    assert main(["run", "job.toml"]) == 2
    assert "which mcgrad did not write" in capsys.readouterr().err
    for target, why in (("gone.json", "a link that leads nowhere"), (".", "a link to what is no regular file")):
        (folder / "study.json").unlink()
        (folder / "study.json").symlink_to(folder / target)
        assert main(["run", "job.toml"]) == 2
        assert why in capsys.readouterr().err
    ours, _ = save(make(), folder / "ours")
    before = ours.read_bytes()
    (folder / "study.json").unlink()
    (folder / "study.json").symlink_to(ours)
    assert main(["run", "job.toml"]) == 0
    assert ours.read_bytes() == before
    assert not (folder / "study.json").is_symlink()


def test_a_result_that_was_made_read_only_is_kept(folder, capsys):
    assert main(["run", "job.toml"]) == 0
    (folder / "study.json").chmod(0o444)
    before = contents(folder)
    assert main(["run", "job.toml"]) == 2
    assert "study.json, which is read-only" in capsys.readouterr().err
    assert contents(folder) == before
    assert main(["run", "job.toml", "--force"]) == 0


NAMES = ("study.npz:x", "link.npz:x", "hard.npz:x", "./sub/../study.npz:x")


@pytest.mark.parametrize(
    "data",
    [*(f'{{x = "{name}"}}' for name in NAMES), '{x = {file = "study.npz", entry = "x"}}', '{y = {x = "study.npz:x"}}'],
)
def test_what_a_job_reads_is_never_written_over(folder, capsys, data):
    """Not even where it looks like a result, as one that is the input of another."""
    np.savez(folder / "study.npz", x=np.ones(3), value=1.0, stderr=1.0, n=3, nonfinite=0, seed=0)
    (folder / "sub").mkdir()
    (folder / "link.npz").symlink_to("study.npz")
    os.link(folder / "study.npz", folder / "hard.npz")
    (folder / "job.toml").write_text(JOB.replace("{DATA}", data))
    before = contents(folder)
    for options in ([], ["--force"], ["--resume"], ["--out", "."]):
        assert main(["run", "job.toml", *options]) == 2
        assert "study.npz, which job (job.toml) reads" in capsys.readouterr().err
    assert contents(folder) == before


def test_what_another_job_of_the_batch_reads_is_never_written_over(folder, capsys):
    (folder / "job.toml").write_text(JOB.replace("{DATA}", "{}"))
    (folder / "other.toml").write_text(JOB.replace("{DATA}", '{x = "study.npz:x"}').replace('out = "study"', ""))
    np.savez(folder / "study.npz", x=np.ones(3))
    before = (folder / "study.npz").read_bytes()
    assert main(["run", "job.toml", "other.toml", "--force"]) == 1
    printed = capsys.readouterr()
    assert "job.toml, out: given study.npz, which other (other.toml) reads" in printed.err
    assert "2 jobs: 1 failed, 1 done" in printed.out
    assert (folder / "study.npz").read_bytes() == before
    (folder / "job.toml").write_text(JOB.replace("{DATA}", "{}"))
    (folder / "study.npz").unlink()  # nor is it made for the other: whether it were there would depend on the order
    assert main(["run", "job.toml", "other.toml"]) == 2
    assert not (folder / "study.npz").exists()


def test_a_job_that_is_complete_may_be_read_by_the_next(folder, capsys):
    (folder / "other.toml").write_text(JOB.replace("{DATA}", '{x = "study.npz:grad.loc"}').replace('out = "study"', ""))
    for file in ("job.toml", "other.toml"):
        assert main(["run", file]) == 0
    assert main(["run", "job.toml", "other.toml", "--resume"]) == 0
    assert "2 jobs: 2 complete already" in capsys.readouterr().out
    assert main(["run", "job.toml", "other.toml"]) == 1


def test_a_file_that_appears_while_the_job_runs_is_kept(folder, capsys):
    (folder / "model.py").write_text(
        "from pathlib import Path\nPath('study.json').write_text('mine')\ndef f(z):\n    return z\n"
    )
    assert main(["run", "job.toml"]) == 1
    printed = capsys.readouterr()
    assert "study.json, which mcgrad did not write" in printed.err
    assert (folder / "study.json").read_text() == "mine"
    found = next(folder.glob("mcgrad-study-*/study.json"))
    assert f"they are in {found}" in printed.err
    assert mg.Estimate.from_json(found.read_bytes()).n == 100


def test_a_place_for_checkpoints_that_is_taken_is_refused(folder, capsys):
    place = folder / ".study.checkpoint.json"
    place.write_text('{"mine": true}')
    assert main(["run", "job.toml"]) == 2
    assert "which mcgrad did not write; accepted: another path, or --force" in capsys.readouterr().err
    assert place.read_text() == '{"mine": true}'
    place.write_text("")  # as of a damaged one
    assert main(["run", "job.toml"]) == 0
    assert not place.exists()
    place.mkdir()
    assert main(["run", "--force", "job.toml"]) == 2
    assert "which is a folder; accepted: a path whose checkpoint can be written" in capsys.readouterr().err


def test_refusals_leave_the_other_jobs(folder, capsys):
    jobs = '[[job]]\nname = "a"\nout = "study"\n[[job]]\nname = "b"\nout = "free"\n'
    (folder / "job.toml").write_text(JOB.replace("{DATA}", "{}").replace('out = "study"', jobs))
    (folder / "study.json").write_text("mine")
    assert main(["run", "job.toml"]) == 1
    assert "2 jobs: 1 failed, 1 done" in capsys.readouterr().out
    assert (folder / "free.json").exists()


def test_paths_may_start_at_a_home(folder, monkeypatch, capsys):
    """Where no shell has replaced ~: in a job file, and after --out=."""
    home = folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    np.save(home / "x.npy", 2.0)
    np.savez(home / "study.npz", x=2.0)
    job = JOB.replace('"study"', '"~/study"')
    (folder / "job.toml").write_text(job.replace("{DATA}", '{x = "~/study.npz:x"}'))
    assert main(["run", "--force", "job.toml"]) == 2
    assert "which job (job.toml) reads" in capsys.readouterr().err
    (home / "study.npz").unlink()
    (folder / "job.toml").write_text(job.replace("{DATA}", '{x = "~/x.npy"}'))
    assert main(["run", "job.toml"]) == main(["run", "job.toml", "--out=~/new"]) == 0
    assert (home / "study.json").exists()
    assert (home / "new/study.json").exists()
    (folder / "job.toml").write_text(JOB.replace("{DATA}", "{}").replace('"study"', '"~nosuch/~study"'))
    assert main(["run", "job.toml"]) == 0
    assert (folder / "~nosuch/~study.json").exists()


def test_a_large_file_is_not_read_as_a_whole(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.write(b"[")
        file.truncate(1 << 40)
    with pytest.raises(mg.ParameterError, match="which mcgrad did not write"):
        refuse_others(tmp_path / "x", "out", False)


# Files that were never complete

OURS = [".mcgrad-0123456789abcdef.tmp", ".study.json.123.tmp", ".study.npz.1.tmp", "..study.checkpoint.json.77.tmp"]
THEIRS = [".other.json.123.tmp", "study.json.123.tmp", ".study.json.x.tmp", ".mcgrad-x", "x.tmp"]


def test_what_killed_runs_have_left_is_removed_a_day_later(folder):
    save(make(), folder / "study")
    for name in (*OURS, *THEIRS, ".mcgrad-young.tmp"):
        (folder / name).write_text("a part")
        if name != ".mcgrad-young.tmp":
            os.utime(folder / name, times=(time.time() - 90_000,) * 2)
    (folder / ".mcgrad-folder.tmp").mkdir()
    (folder / ".mcgrad-link.tmp").symlink_to("job.toml")
    assert main(["run", "job.toml", "--resume"]) == 0
    left = set(os.listdir(folder))
    assert left.isdisjoint(OURS)
    assert left >= {".mcgrad-young.tmp", ".mcgrad-folder.tmp", ".mcgrad-link.tmp", *THEIRS}


def test_leftovers_of_another_process_with_this_number_disturb_nothing(folder):
    """As in containers, where every run is process 1."""
    for name in (f".study.json.{os.getpid()}.tmp", f".study.npz.{os.getpid()}.tmp"):
        (folder / name).mkdir()
    assert main(["run", "job.toml"]) == 0
    remove_stale(folder / "gone", 0.0)
