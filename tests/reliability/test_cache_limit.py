"""The cache folder stays within its limit: entries that were not used for longest go first, and only entries go."""

import os
import time

import pytest

import mcgrad as mg
from mcgrad.cache import entry, limit, warning
from mcgrad.cache.limit import DAY, DEFAULT, HOUR, SIZE_VARIABLE
from mcgrad.cache.settings import CACHE_VARIABLE
from mcgrad.cli import main
from mcgrad.system import atomic


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(warning, "_said", set())
    return tmp_path


def name(i):
    return entry.file_name(f"{i:032x}", "cpu")


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_what_was_not_used_for_longest_goes_first(path, monkeypatch):
    monkeypatch.setenv(SIZE_VARIABLE, "10kB")
    others = ["rates.json", "notes.txt", "mcgrad.py", "x.mcgrad"]
    for other in others:
        (path / other).write_bytes(bytes(50_000))
    for i in range(9):
        assert entry.keep(name(i), bytes(950))
        age(path / name(i), (20 - i) * DAY)
    assert entry.find(name(0)) is not None  # in use again
    assert entry.find(name(1)) is not None
    for i in range(9, 12):
        assert entry.keep(name(i), bytes(950))
    left = [i for i in range(12) if (path / name(i)).exists()]
    assert left[:2] == [0, 1]
    assert left[2:] == list(range(14 - len(left), 12))
    assert sum((path / name(i)).stat().st_size for i in left) <= 10_000
    assert all((path / other).exists() for other in others)


def test_the_limit_holds_whatever_is_written(path, monkeypatch):
    monkeypatch.setenv(SIZE_VARIABLE, "10k")
    for i in range(50):
        assert entry.keep(name(i), bytes(500 + 13 * i))
        assert sum(kept.size for kept in limit.entries(path)) <= 10_000
        assert (path / name(i)).exists()


def test_the_folder_is_looked_through_rarely(path, monkeypatch):
    looks = []
    entries = limit.entries
    monkeypatch.setattr(limit, "entries", lambda folder: looks.append(folder) or entries(folder))
    for i in range(30):
        assert entry.keep(name(i), bytes(500))
    assert len(looks) == 1


def test_use_is_noted_once_a_day(path):
    assert entry.keep(name(0), b"content")
    age(path / name(0), DAY / 2)
    before = (path / name(0)).stat().st_mtime
    entry.find(name(0))
    assert (path / name(0)).stat().st_mtime == before
    age(path / name(0), 2 * DAY)
    entry.find(name(0))
    assert (path / name(0)).stat().st_mtime > before


def test_what_killed_processes_left_goes_after_an_hour(path, monkeypatch):
    old, new = (path / f"{atomic.PREFIX}{x}{atomic.SUFFIX}" for x in ("0123", "4567"))
    for file in (old, new):
        file.write_bytes(b"half of an ent")
    age(old, 2 * HOUR)
    monkeypatch.setattr(limit, "_room", {})
    assert entry.keep(name(0), b"content")
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        *[("", DEFAULT), ("5000", 5000), ("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), (".5k", 500), ("0", 0)],
        *[("9" * 400, 10**18), ("1e9", 10**9), ("2.5E2 MB", 250_000_000), ("1e400", 10**18)],
    ],
)
def test_how_a_size_is_given(monkeypatch, given, size):
    monkeypatch.setenv(SIZE_VARIABLE, given)
    assert limit.size_limit() == size


@pytest.mark.parametrize("given", ["much", "-1", "1e-9", "5 XB", "nan"])
def test_a_size_that_is_none(monkeypatch, given):
    monkeypatch.setenv(SIZE_VARIABLE, given)
    with pytest.warns(mg.CacheWarning, match=f'{SIZE_VARIABLE}: given "{given}"; accepted'):
        assert limit.size_limit() == DEFAULT


def test_no_room_at_all_keeps_nothing(path, monkeypatch):
    monkeypatch.setenv(SIZE_VARIABLE, "0")
    assert not entry.keep(name(0), b"content")
    assert os.listdir(path) == []


def test_entries_that_another_process_removes_meanwhile(path, monkeypatch):
    monkeypatch.setenv(SIZE_VARIABLE, "2k")
    for i in range(3):
        entry.keep(name(i), bytes(400))
    found = limit.entries(path)
    for kept in found:
        kept.path.unlink()
    assert limit._shrink(found, sum(kept.size for kept in found), 0) == 0


def test_info_and_clear(path, capsys):
    entry.keep(name(0), bytes(2_000_000))
    (path / "__pycache__").mkdir()
    digest = "mcgrad_0123456789abcdef01234567"
    old = [path / f"{digest}.py", path / "__pycache__" / f"{digest}.chunk-15.py311.1.nbc"]
    old += [path / f"{digest}.89abcdef.sm_90.{suffix}" for suffix in ("ptx", "cubin")]
    theirs = [path / file for file in ("notes.txt", "rates.json", "mcgrad.toml", "mcgrad_job.py", "mcgrad_0123.py")]
    for file in [*old, *theirs]:
        file.write_text("")
    assert main(["cache", "info"]) == 0
    printed = capsys.readouterr().out
    for part in (str(path), "yes", "private", "2.0 MB", "1000 MB", time.strftime("%Y-")):
        assert part in printed
    assert main(["cache", "clear"]) == 0
    assert f"removed 5 files, 2.0 MB, from {path}" in capsys.readouterr().out
    assert sorted(path.iterdir()) == sorted(theirs)


def test_info_says_why_a_folder_is_not_used(path, capsys):
    if not hasattr(os, "getuid"):
        pytest.skip("files have no owners here")
    path.chmod(0o777)
    assert main(["cache", "info"]) == 0
    assert "no: " in (printed := capsys.readouterr().out)
    assert "chmod go-w" in printed
