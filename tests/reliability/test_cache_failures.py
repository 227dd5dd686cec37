"""What goes wrong in the cache folder costs an entry of the cache, never the run."""

import errno
import os
import subprocess
import sys
import warnings

import pytest

import mcgrad as mg
from mcgrad.cache import entry, folder, limit, settings, warning
from mcgrad.cache.settings import CACHE_VARIABLE, cache_folder
from mcgrad.system import atomic

NAME = entry.file_name("0123456789abcdef" * 2, "cpu")


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(warning, "_said", set())
    return tmp_path


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failure_to_write_costs_the_entry_alone(path, monkeypatch, call, code):
    """Once, with one warning and nothing left behind; what was there before stays."""
    assert entry.keep(NAME, b"old")

    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, fail)
        if call == "open":  # reading has to work
            patch.setattr(folder, "usable", lambda: True)
        with pytest.warns(mg.CacheWarning, match=f"not written.*{os.strerror(code)}") as given:
            assert [entry.keep(NAME, b"new") for _ in range(2)] == [False, False]
    assert len(given) == 1
    assert os.listdir(path) == [NAME]
    assert entry.find(NAME) == b"old"
    assert entry.keep(NAME, b"new")
    assert entry.find(NAME) == b"new"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS], ids=errno.errorcode.get)
def test_a_folder_that_may_only_be_read_is_used_without_a_word(monkeypatch, code):
    assert entry.keep(NAME, b"old")

    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "replace", fail)
    monkeypatch.setattr(os, "utime", fail)
    assert not entry.keep(NAME, b"new")
    assert entry.find(NAME) == b"old"


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
def test_a_failure_to_read_is_a_miss(path, monkeypatch, code):
    assert entry.keep(NAME, b"content")

    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "fdopen", fail)
        with pytest.warns(mg.CacheWarning, match=f"cannot be read.*{os.strerror(code)}"):
            assert entry.find(NAME) is None
    assert entry.keep(NAME, b"content")
    assert entry.find(NAME) == b"content"


@pytest.mark.parametrize("call", ["scandir", "listdir", "utime"])
def test_a_folder_that_cannot_be_looked_through(path, monkeypatch, call):
    """Entries are still written and found; what stays is more than the limit."""

    def fail(*args, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    monkeypatch.setattr(limit, "_room", {})
    monkeypatch.setattr(limit, "DAY", -1.0)  # use is noted each time
    assert entry.keep(NAME, b"content")
    assert entry.find(NAME) == b"content"
    assert isinstance(folder.names(), list)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_looked_at(monkeypatch, code):
    """No call of the system on any path works: the cache is not used, and nothing is raised."""

    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        for call in ("stat", "lstat", "open", "mkdir"):
            patch.setattr(os, call, fail)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            done = entry.keep(NAME, b"content"), entry.find(NAME), folder.exists(NAME), folder.names()
    assert done == (False, None, False, [])
    assert [str(each.message) for each in given] == [str(given[0].message)]


def test_a_working_folder_that_was_removed(monkeypatch, tmp_path):
    settings._absolute.cache_clear()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv(CACHE_VARIABLE, "cache")
    with pytest.warns(mg.CacheWarning, match="or the working folder, is not there"):
        assert not entry.keep(NAME, b"content")
    settings._absolute.cache_clear()


def test_what_may_not_be_read_now_stays(path, monkeypatch):
    """As where a process has too many files open."""
    assert entry.keep(NAME, b"content")

    def fail(*args, **options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "open", fail)
        with pytest.warns(mg.CacheWarning, match="cannot be read"):
            assert entry.find(NAME) is None
    assert entry.find(NAME) == b"content"


RUN = """
import resource, sys
import numpy as np
import mcgrad as mg
if sys.argv[1] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
from mcgrad.toolchain import compile
print(mg.estimate(lambda z: np.cos(z) * 1.625, mg.Normal(), 1000, backend="cpu").value)
print(sum(sum(function.stats.cache_hits.values()) for function in compile._loaded.values()))
"""


def test_a_full_disk_costs_no_run_and_no_later_one(path):
    """Each of the processes estimates the same; the first keeps nothing, the third finds what the second kept."""
    pytest.importorskip("resource")

    def run(how):
        done = subprocess.run([sys.executable, "-c", RUN, how], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return *done.stdout.split(), done.stderr.count("CacheWarning"), len(os.listdir(path))

    value, *first = run("full")
    assert first == ["0", 1, 0]
    assert run("") == (value, "0", 0, 1)
    assert run("") == (value, "1", 0, 1)


@pytest.mark.parametrize("name", ["~nosuchuser/cache", "~nosuchuser"])
def test_a_home_that_is_not_there(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, name)
    with pytest.warns(mg.CacheWarning, match="names no folder, as its home"):
        assert not entry.keep(NAME, b"content")
    assert os.listdir(tmp_path) == []


def test_a_file_where_the_folder_should_be(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("a user's")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.warns(mg.CacheWarning, match="file is not a folder: have MCGRAD_CACHE_DIR name one"):
        assert not entry.keep(NAME, b"content")
    assert (tmp_path / "file").read_text() == "a user's"


@pytest.mark.parametrize("shared", ["private", "group", "all"])
def test_a_file_system_without_permissions(tmp_path, monkeypatch, shared):
    """As drivers of object stores have none: the folder is made, and used in the same process."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "above/cache"))
    monkeypatch.setenv("MCGRAD_CACHE_MODE", shared)

    def chmod(*given, **more):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "chmod", chmod)
    assert entry.keep(NAME, b"content")
    assert entry.find(NAME) == b"content"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder in which no folder can be made")
def test_a_folder_that_cannot_be_made(monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, "/proc/nosuch/cache")
    with pytest.warns(mg.CacheWarning, match=f"not written: /proc/nosuch/cache .*{CACHE_VARIABLE} may name") as given:
        assert [entry.keep(NAME, b"content") for _ in range(2)] == [False, False]
    assert len(given) == 1
    assert entry.find(NAME) is None


NO_HOME = """
import os, pwd
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
import mcgrad as mg
print(mg.estimate(lambda z: z * z, mg.Normal(), 100, backend="numpy").n)
from mcgrad.cli.info import info
print(info()["cache"])
"""


def test_a_user_without_a_home(tmp_path):
    """As an arbitrary user number in a container is: nothing is made in the working folder."""
    dropped = (CACHE_VARIABLE, "HOME", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("100\nnot used: ~")
    assert os.listdir(tmp_path) == []


def test_a_relative_folder_stays_where_it_was(monkeypatch, tmp_path):
    """Though the working folder changes, as in a user's file."""
    settings._absolute.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, "kept")
    assert entry.keep(NAME, b"content")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert entry.find(NAME) == b"content"
    assert cache_folder() == tmp_path / "kept"
    settings._absolute.cache_clear()
