"""Processes that need the same entry of the cache at once: one makes it, and the others read it."""

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from mcgrad.cache import entry, folder, limit, making
from mcgrad.cache.settings import CACHE_VARIABLE
from mcgrad.toolchain import ptx
from tests.processes import running

NAME = f"{0:032x}.cpu{limit.SUFFIX}"
LOCK = NAME + limit.LOCK

pytestmark = pytest.mark.skipif(making.fcntl is None, reason="there are no locks here")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


HOLDER = """
import os, signal, sys
from mcgrad.cache import entry, making

with making.content(sys.argv[1]) as content:
    child = os.fork() if "fork" in sys.argv else None
    if child == 0:
        signal.pause()
    print("holds" if content is None else "reads", child, flush=True)
    if sys.stdin.readline() == "keep\\n":
        entry.keep(sys.argv[1], b"made there")
"""


@pytest.fixture
def holder():
    """Return a function that starts a process which makes the entry until a line comes."""
    with ExitStack() as stack:

        def start(*more):
            command = [sys.executable, "-W", "ignore", "-c", HOLDER, NAME, *more]
            process = stack.enter_context(running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            said, child = process.stdout.readline().split()
            assert said == "holds"
            if child != "None":
                stack.callback(os.kill, int(child), signal.SIGKILL)
            return process

        yield start


@pytest.fixture
def while_waiting(monkeypatch):
    """Return a function that sets what is done at the first pause of a wait."""
    todo = []

    def pause(seconds):
        assert todo, "the wait does not end"
        todo.pop()()

    monkeypatch.setattr(making.time, "sleep", pause)
    return todo.append


def ended(process, line=""):
    """Return a function that ends a process: by a line to it, or by killing it."""

    def end():
        if line:
            process.communicate(line)
        else:
            process.kill()
            process.wait()

    return end


def test_one_process_makes_it_and_others_read_it(holder, while_waiting, cache):
    while_waiting(ended(holder(), "keep\n"))
    with making.content(NAME) as content:
        assert content == b"made there"
    assert os.listdir(cache) == [NAME]


@pytest.mark.parametrize("more", [(), ("fork",)])
def test_the_next_process_makes_it_in_place_of_one_that_was_killed(holder, while_waiting, cache, more):
    """A child that the killed one had forked, and that is alive, does not hold the lock."""
    while_waiting(ended(holder(*more)))
    with making.content(NAME) as content:
        assert content is None
        assert os.listdir(cache) == [LOCK]
        assert subprocess.run([sys.executable, "-c", TRIES, str(cache / LOCK)]).returncode == 1
    assert os.listdir(cache) == []


TRIES = """
import fcntl, sys
try:
    with open(sys.argv[1], "r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(1)
"""


def test_where_an_entry_is_not_kept_processes_do_not_queue(holder, while_waiting, cache):
    while_waiting(ended(holder(), "no\n"))
    with making.content(NAME) as content:
        assert content is None
        assert os.listdir(cache) == []
    assert os.listdir(cache) == []


def test_a_wait_ends_when_the_entry_is_there_though_the_lock_stays(holder, while_waiting):
    """As with a file server that waits for a machine that is gone."""
    holder()
    while_waiting(lambda: entry.keep(NAME, b"made here"))
    with making.content(NAME) as content:
        assert content == b"made here"


def test_a_wait_for_a_process_that_does_not_go_on_ends(holder, while_waiting, monkeypatch, cache):
    process = holder()
    while_waiting(lambda: monkeypatch.setattr(making, "PATIENCE", -1.0))
    with making.content(NAME) as content:
        assert content is None
    assert os.listdir(cache) == [LOCK]
    ended(process, "keep\n")()
    assert os.listdir(cache) == [NAME]


def test_an_interrupt_ends_a_wait(holder, while_waiting):
    holder()
    while_waiting(lambda: signal.raise_signal(signal.SIGINT))
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(KeyboardInterrupt), making.content(NAME):
        pass
    assert opened == (len(os.listdir("/proc/self/fd")) if opened else 0)
    assert not making._thread.makes


def test_an_error_in_the_making_frees_the_lock(cache):
    with pytest.raises(ZeroDivisionError), making.content(NAME):
        raise ZeroDivisionError
    assert os.listdir(cache) == []
    with making.content(NAME) as content:
        assert content is None
        assert os.listdir(cache) == [LOCK]


def _without_locks(monkeypatch):
    def lockf(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(making.fcntl, "lockf", lockf)


WITHOUT = {
    "file systems without locks": _without_locks,
    "systems without locks": lambda monkeypatch: monkeypatch.setattr(making, "fcntl", None),
    "a cache that is switched off": lambda monkeypatch: monkeypatch.setenv(limit.SIZE_VARIABLE, "0"),
    "a folder that is not used": lambda monkeypatch: monkeypatch.setattr(folder, "usable", lambda: False),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_no_lock_is_taken_in(what, monkeypatch, cache):
    WITHOUT[what](monkeypatch)
    with making.content(NAME) as content:
        assert content is None
        assert not cache.exists() or os.listdir(cache) == []


def test_a_file_in_the_place_of_the_lock_that_is_none(cache):
    cache.mkdir(mode=0o700)
    (cache / LOCK).mkdir()
    with making.content(NAME) as content:
        assert content is None


def test_a_thread_that_makes_an_entry_waits_for_no_other(cache):
    with making.content(NAME), making.content(NAME.replace("0", "1")) as content:
        assert content is None
        assert os.listdir(cache) == [LOCK]


def test_locks_of_processes_that_were_killed_go_with_other_files_that_are_left(cache):
    cache.mkdir(mode=0o700)
    for name, old in ((LOCK, True), (LOCK.replace("0", "1"), False), ("other.lock", True)):
        (cache / name).touch()
        if old:
            os.utime(cache / name, (0, 0))
    limit.clear(cache)
    assert sorted(os.listdir(cache)) == sorted([LOCK.replace("0", "1"), "other.lock"])


def test_kernels_for_gpus_are_made_by_one_process(cache, monkeypatch):
    """Two entries: one is made under its lock, the next is found."""
    monkeypatch.setattr(ptx, "_known", ptx.Recent(0))
    text = ".version 8.0\n.visible .entry kernel(\n"

    def make():
        assert os.listdir(cache) == [LOCK]
        return ptx.Ptx(text, "kernel", ptx.MACHINE_CODE)

    made = ptx._kept(NAME, (8, 0), make)
    assert os.listdir(cache) == [NAME]
    assert ptx._kept(NAME, (8, 0), None) == made


COMPILES = """
import json, sys
import numpy as np
import mcgrad as mg
from mcgrad.toolchain import compile

estimator = mg.Estimator(lambda z: np.sum(np.sin(1.5 * z)), mg.Normal(np.zeros(3), 1.0), backend="cpu")
import numba
print("ready", flush=True)
sys.stdin.readline()
value = estimator(1000).value
made = sum(sum(function.stats.cache_misses.values()) for function in compile._loaded.values())
print(json.dumps([value, made]))
"""


def test_processes_that_start_together_compile_once(cache):
    with ExitStack() as stack:
        command, pipes = [sys.executable, "-W", "error", "-c", COMPILES], {"stdin": subprocess.PIPE}
        pipes["stdout"] = subprocess.PIPE
        processes = [stack.enter_context(running(command, **pipes)) for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        found = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(made for _, made in found) == [0, 0, 1]
    assert len({value for value, _ in found}) == 1
    assert [name.endswith(".cpu.mcgrad") for name in os.listdir(cache)] == [True]
