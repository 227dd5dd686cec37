"""What has been computed is printed and written somewhere, whatever becomes of the place that it was meant for."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import mcgrad as mg
from mcgrad.cli import main, run
from mcgrad.jobs import checkpoint
from mcgrad.jobs.checkpoint import CheckpointWriter
from mcgrad.jobs.output_lock import locked, path_for
from mcgrad.results.files import save, save_elsewhere
from tests.reliability.test_results import make
from tests.test_checkpoint import IDENTITY, STATE, Clock

MODEL = """
import numpy as np

def f(z):
    return np.sin(z)
"""
JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3}
n = 500
backend = "numpy"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def blocked(monkeypatch, *refused):
    """Let nothing be written below some folders, as on a full disk."""
    fsync = os.fsync

    def fails(handle):
        if any(Path(os.readlink(f"/proc/self/fd/{handle}")).is_relative_to(top.resolve()) for top in refused):
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the names of open files")
def test_a_full_disk_at_the_end_costs_no_result(folder, tmp_path_factory, capsys, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    monkeypatch.setattr("tempfile.tempdir", str(other))
    blocked(monkeypatch, folder)
    monkeypatch.chdir(folder)
    assert main(["run", str(folder / "job.toml")]) == 1
    printed = capsys.readouterr()
    assert re.search("^value +[0-9.]+ ", printed.out, re.MULTILINE)
    found = re.search(
        r"job: the results cannot be written to results/job \(No space left on device\); they are in (.*)", printed.err
    )
    assert found
    assert found[1].startswith(str(other))
    assert mg.Estimate.from_json(Path(found[1]).read_bytes()).n == 500
    assert len(list(other.rglob("*"))) == 3
    assert not [path for path in folder.rglob("*") if path.suffix in (".tmp", ".json", ".npz")]


def test_the_checkpoint_of_a_result_that_is_elsewhere_has_all_draws(folder, capsys, monkeypatch):
    (folder / "model.py").write_text(MODEL + "import os\nos.makedirs('results/job.npz/sub', exist_ok=True)\n")
    assert main(["run", "job.toml", "--checkpoint", "0"]) == 1
    shutil.rmtree(folder / "results/job.npz")
    (folder / "model.py").write_text(MODEL)
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "resumed at draw 500 of 500" in capsys.readouterr().out
    assert not (folder / "results/.job.checkpoint.json").exists()


def test_a_disk_that_fills_up_between_two_files_leaves_the_earlier_two(tmp_path, monkeypatch):
    save(make(), tmp_path / "x")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    fsync, calls = os.fsync, []

    def fails(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        save(make(seed=3), tmp_path / "x")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_batch_goes_on_and_says_where_a_result_is(folder, capsys):
    (folder / "job.toml").write_text(JOB + '[[job]]\nname = "a"\n[[job]]\nname = "b"\n')
    (folder / "model.py").write_text(MODEL + 'import os\nos.makedirs("results/a.npz/sub")\n')  # as late as possible
    assert main(["run", "job.toml"]) == 1
    printed = capsys.readouterr()
    assert "2 jobs: 1 written elsewhere, 1 done" in printed.out
    path = re.search(r"they are in (.*)", printed.err)[1]
    assert path.startswith(str(folder / "results" / "mcgrad-a-"))
    assert re.search(rf"^a +written elsewhere +job\.toml, \[\[job\]\] 1 +{path}$", printed.out, re.MULTILINE)
    assert mg.Estimate.from_json(Path(path).read_bytes()).n == 500


def test_standard_output_is_the_last_resort(folder):
    """Files of no size can be written, wherever they are; the pipe is none."""
    code = (
        "import resource, signal, sys\nfrom mcgrad.cli import main\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nsys.exit(main(['run', 'job.toml']))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    assert "standard output has them, as JSON" in done.stderr
    text = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    assert mg.Estimate.from_json(text).n == 500
    assert not [path for path in folder.rglob("*") if path.suffix in (".tmp", ".json", ".npz")]


def test_json_on_a_terminal_is_not_broken_into_lines(monkeypatch, capsys):
    from mcgrad.cli.board import Board

    monkeypatch.setenv("COLUMNS", "40")
    text = make().to_json()
    Board([("a", 10)], False).say(text)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    board = Board([("a", 10)], True)
    with board._lines.console.capture() as caught:
        board.say(text)
    assert caught.get() == f"{text}\n"


def test_the_result_is_written_though_the_comparison_raises(folder, capsys, monkeypatch):
    def fails(*args, **options):
        raise MemoryError("no memory for the reference")

    monkeypatch.setattr(run, "REFERENCE", "another")  # so that numpy's result is compared, too
    monkeypatch.setattr(run, "_compare", fails)
    assert main(["run", "job.toml"]) == 1
    printed = capsys.readouterr()
    assert "wrote results/job.json" in printed.out
    assert "job: the comparison with the reference failed: MemoryError: no memory for the reference" in printed.err
    assert mg.Estimate.from_json((folder / "results/job.json").read_bytes()).n == 500
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(run, "verified", fails)
    assert main(["run", "job.toml", "--resume", "--verify"]) == 1
    assert "job: the verification failed: MemoryError" in capsys.readouterr().err


def test_the_result_is_written_though_printing_raises(folder, monkeypatch):
    from mcgrad.cli.board import Board

    say = Board.say

    def fails(self, text="", style=None):
        if text.lstrip().startswith("estimate"):
            raise RuntimeError("the terminal has gone")
        say(self, text, style)

    monkeypatch.setattr(Board, "say", fails)
    assert main(["run", "job.toml"]) == 2
    assert mg.Estimate.from_json((folder / "results/job.json").read_bytes()).n == 500


def test_a_folder_that_was_removed_meanwhile_is_made_again(folder):
    assert save(make(), folder / "gone" / "x")[0].exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the names of open files")
def test_places_that_cannot_be_written_leave_no_empty_folders(tmp_path, monkeypatch):
    home, current, temporary = (tmp_path / name for name in ("home", "current", "temporary"))
    for place in (home, current, temporary):
        place.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    blocked(monkeypatch, home, current)
    path = save_elsewhere(partial(save, make()), home / "x")
    assert path.name == "x.json"
    assert path.parent.parent == temporary
    assert path.parent.stat().st_mode & 0o077 == 0
    assert os.listdir(home) == os.listdir(current) == []
    blocked(monkeypatch, tmp_path)
    assert save_elsewhere(partial(save, make()), home / "x") is None
    assert len(os.listdir(temporary)) == 1


def test_checkpoints_are_written_again_once_there_is_space(tmp_path):
    clock, warnings, place = Clock(), [], tmp_path / "later"
    writer = CheckpointWriter(place / "c.json", IDENTITY, 2.0, warnings.append, clock)
    for second in range(20):
        clock.now = float(second)
        if second == 10:
            place.mkdir()
        writer(STATE)
    assert writer.written == STATE.stop
    assert checkpoint.read(place / "c.json", IDENTITY).stop == STATE.stop
    assert len(warnings) == 1


# Two runs at once


def held(folder, stem, then="sys.stdin.read()"):
    """Start a process that holds the lock of results, and return it once it does."""
    code = (
        "import sys, os, pathlib\nfrom mcgrad.jobs.output_lock import locked\n"
        f"with locked(pathlib.Path({str(stem)!r}), 'out', print):\n    print('held', flush=True)\n    {then}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_of_two_runs_with_one_output_the_second_is_refused_and_names_the_first(folder, capsys):
    (folder / "results").mkdir()
    (folder / "job.toml").write_text(JOB + '[[job]]\nname = "a"\n[[job]]\nname = "b"\n')
    with held(folder, "results/a") as process:
        assert main(["run", "job.toml"]) == 1
        printed = capsys.readouterr()
        assert f"results/a, which another run writes to (process {process.pid} on " in printed.err
        assert ", since 20" in printed.err
        assert "2 jobs: 1 failed, 1 done" in printed.out
        assert sorted(os.listdir(folder / "results")) == [".a.lock", "b.json", "b.npz"]
        process.kill()
        process.communicate()
    assert path_for(folder / "results/a").exists()  # which locks nothing any more
    assert main(["run", "job.toml"]) == 0
    assert not path_for(folder / "results/a").exists()


def test_a_lock_ends_with_its_process_and_with_its_context(tmp_path):
    stem = tmp_path / "x"
    again = locked(stem, "out", pytest.fail)
    with locked(stem, "out", pytest.fail), pytest.raises(mg.ParameterError, match=f"process {os.getpid()} on"), again:
        pass
    with pytest.raises(KeyError), locked(stem, "out", pytest.fail):
        raise KeyError
    assert os.listdir(tmp_path) == []
    with held(tmp_path, stem) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with locked(stem, "out", pytest.fail):
        assert json.loads(path_for(stem).read_text())["process"] == str(os.getpid())


@pytest.mark.parametrize("content", [b"a = 1\n", b'{"packages": []}', b"\xff", b"[" * 5000, b"3", b"{}"])
def test_a_file_that_is_no_lock_stays_and_locks(tmp_path, content):
    path_for(tmp_path / "x").write_bytes(content)
    again = locked(tmp_path / "x", "out", pytest.fail)
    with (
        locked(tmp_path / "x", "out", pytest.fail),
        pytest.raises(mg.ParameterError, match=r"another run writes to \(it does not say which\)"),
        again,
    ):
        pass
    assert path_for(tmp_path / "x").read_bytes() == content


@pytest.mark.parametrize("content", ["", "\0\0", '{"proc', '{"process": "1"', '{"process": "1", "machine": "a"}'])
def test_a_lock_that_was_left_behind_is_no_obstacle(tmp_path, content):
    path_for(tmp_path / "x").write_text(content)
    with locked(tmp_path / "x", "out", pytest.fail):
        assert json.loads(path_for(tmp_path / "x").read_text())["process"] == str(os.getpid())
    assert os.listdir(tmp_path) == []


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path):
    """Whenever one opens the file that another one is about to remove."""
    code = (
        "import os, pathlib\nfrom mcgrad import ParameterError\nfrom mcgrad.jobs.output_lock import locked\ntaken = 0\n"
        "while taken < 300:\n    try:\n        with locked(pathlib.Path('x'), 'out', print):\n"
        "            os.close(os.open('alone', os.O_CREAT | os.O_EXCL))\n            os.unlink('alone')\n"
        "            taken += 1\n    except ParameterError:\n        pass\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == []


def test_a_lock_file_that_is_damaged_or_a_link(tmp_path):
    stem, victim = tmp_path / "x", tmp_path / "victim"
    with held(tmp_path, stem) as process:
        path_for(stem).write_bytes(b"\xff")
        with pytest.raises(mg.ParameterError, match="it does not say which"), locked(stem, "out", pytest.fail):
            pass
        process.communicate("")
    path_for(stem).unlink()
    victim.write_text("mine")
    path_for(stem).symlink_to(victim)
    warnings = []
    with locked(stem, "out", warnings.append):
        assert victim.read_text() == "mine"
    assert "cannot be locked" in warnings[0]
    assert victim.read_text() == "mine"


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    import fcntl

    def fails(*args):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", fails)
    warnings = []
    with locked(tmp_path / "x", "out", warnings.append):
        pass
    assert "(Function not implemented)" in warnings[0]
