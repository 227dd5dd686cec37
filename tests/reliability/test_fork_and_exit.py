"""Forks, interrupts and the end of the process in the middle of a run."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import mcgrad as mg
from mcgrad.backends.base import Partial
from mcgrad.backends.chunks import split
from mcgrad.engine.run import run
from mcgrad.moments import Moments
from mcgrad.system.locks import Lock
from mcgrad.toolchain import compile, ptx
from mcgrad.trace import intercept

CHUNKS = split(10**6, 0, 512, 2000.0)  # 64 and the first
SECOND = CHUNKS.head  # the first draw of the chunk after the first, which the main thread waits for before any other
Q = mg.Normal(0.3, 1.2)

forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Bound:
    """A bound kernel that does something before each chunk, given its first draw."""

    def __init__(self, before):
        self.before = before

    def shift(self, *chunk):
        return np.empty(0), self.partial(np.empty(0), *chunk)

    def partial(self, shift, seed, start, stop, omit):
        self.before(start)
        return Partial(Moments(stop - start, np.array([float(start)]), np.array([1.0])))


def averaged(before=lambda start: None, watch=None):
    found = run(Bound(before), 0, CHUNKS, lambda: 2, False, watch)
    return found.moments.count, float(found.moments.mean[0])


def in_child(work):
    """Return what a function gives in a forked child, as text; the child is killed where it hangs."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        with contextlib.suppress(BaseException):
            os.write(write, str(work()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found


@contextlib.contextmanager
def another_thread(work):
    """Do some work in a thread that waits, when it calls a function, until the context ends."""
    there, leave = threading.Event(), threading.Event()

    def wait():
        there.set()
        assert leave.wait(300)

    thread = threading.Thread(target=work, args=(wait,))
    thread.start()
    try:
        assert there.wait(300)
        yield leave.set
    finally:
        leave.set()
        thread.join()


@pytest.mark.parametrize("module", [ptx, intercept])
@forks[0]
@forks[1]
def test_a_child_takes_locks_that_another_thread_held(module):
    def hold(wait):
        with module._lock:
            wait()

    def take():
        with module._lock:
            return "taken"

    with another_thread(hold):
        assert in_child(take) == "taken"


@forks[0]
@forks[1]
def test_a_child_compiles_though_another_thread_did_so_at_the_time_of_the_fork(monkeypatch):
    """The fork waits for it: Numba's lock would stay taken in the child."""
    compiled = compile._compiled

    def f(z):
        return np.cos(np.arctan(np.sinh(z)))

    def g(z):  # another Program, and one that no other test has compiled in this process
        return np.sin(np.arctan(np.sinh(z)))

    def work():
        return mg.estimate(f, Q, 1000, backend="cpu").value

    def hold(wait):
        def slowly(*arguments):
            with global_compiler_lock:
                wait()
            return compiled(*arguments)

        monkeypatch.setattr(compile, "_compiled", slowly)
        mg.estimate(g, Q, 1000, backend="cpu")

    right = mg.estimate(f, Q, 1000, backend="numpy").value
    with another_thread(hold) as leave:
        monkeypatch.setattr(compile, "_compiled", compiled)
        threading.Timer(0.1, leave).start()
        assert float(in_child(work)) == pytest.approx(right, rel=1e-12)


FORKS_WHILE_ANOTHER_THREAD_COMPILES = """
import faulthandler, os, sys, threading, time, warnings
import numpy as np
import mcgrad as mg
from mcgrad.toolchain import compile

assert "logging" not in sys.modules  # as the one that is imported last is forked first
faulthandler.dump_traceback_later(60, exit=True)
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
compiled, compiling = compile._compiled, threading.Event()

def slowly(*arguments):
    import logging

    compiling.set()
    for i in range(1000):
        logging.getLogger(f"of Numba {i}").isEnabledFor(logging.DEBUG)
        time.sleep(0)
    return compiled(*arguments)

compile._compiled = slowly
thread = threading.Thread(target=mg.estimate, args=(np.sin, mg.Normal(0.3, 1.2), 1000), kwargs={"backend": "cpu"})
thread.start()
compiling.wait()
while thread.is_alive():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
print("done")
"""


@forks[0]
def test_a_fork_that_waits_for_a_compilation_holds_no_lock_that_the_compilation_needs():
    found = subprocess.run(
        [sys.executable, "-c", FORKS_WHILE_ANOTHER_THREAD_COMPILES], capture_output=True, text=True, timeout=300
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "done\n", "")


@forks[0]
@forks[1]
def test_a_fork_whose_wait_was_interrupted_goes_on_without_the_lock():
    """A fork ignores errors of what it calls. The other thread keeps the lock, and the child has it."""
    lock = Lock()

    def hold(wait):
        with lock:
            wait()

    def take():
        lock._after_fork()
        with lock:
            return "taken"

    with another_thread(hold):
        assert in_child(take) == "taken"
        lock._after_fork()
        assert not lock._lock.acquire(blocking=False)


@forks[0]
@forks[1]
def test_a_child_keeps_locks_that_its_own_thread_holds():
    lock, free = Lock(), []

    def other():
        taken = lock._lock.acquire(blocking=False)
        free.append(taken)

    def look():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return free

    with lock, lock:
        assert in_child(look) == "[False]"
    assert look() == [True]


@forks[0]
@forks[1]
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_child_that_is_forked_during_a_run_of_another_thread(backend):
    """With the same estimator, and with a new one."""
    estimator = mg.Estimator(np.sin, Q, backend=backend, threads=2)
    right = estimator(1_500_000).value
    other = mg.estimate(np.cos, Q, 1000, backend=backend).value

    def work():
        return estimator(1_500_000).value, mg.estimate(np.cos, Q, 1000, backend=backend).value

    with another_thread(lambda wait: estimator(1_500_000, progress=lambda done: wait())):
        assert in_child(work) == str((right, other))


@forks[0]
@forks[1]
def test_a_child_that_goes_on_with_the_run_that_forked_it():
    """The threads that have begun with chunks are not there: the child makes those chunks itself."""
    main, begun, leave, right = threading.get_ident(), threading.Event(), threading.Event(), averaged()

    def hold(start):
        if start != SECOND and threading.get_ident() != main and os.getpid() == parent:
            begun.set()
            assert leave.wait(300)

    def fork(stop, shift, total):
        nonlocal child
        if child is None and begun.wait(300):
            read, write = os.pipe()
            child = os.fork()
            if child:
                os.close(write)
                pipes.append(read)
            else:
                signal.alarm(60)
                pipes.append(write)
            leave.set()

    child, parent, pipes = None, os.getpid(), []
    found = ""
    try:
        found = averaged(hold, fork_later(fork))
    finally:
        if os.getpid() != parent:
            os.write(pipes[0], str(found).encode())
            os._exit(0)
    assert found == right
    with os.fdopen(pipes[0]) as pipe:
        assert pipe.read() == str(right)
    os.waitpid(child, 0)


def fork_later(fork):
    """Return a watch that forks once the run has handed out chunks: not after the first one."""
    seen = []

    def watch(stop, shift, total):
        seen.append(stop)
        if len(seen) > 1:
            fork(stop, shift, total)

    return watch


def test_an_interrupt_leaves_no_chunk_behind():
    """Control-C while the pool has begun with chunks, and others wait for it."""
    main, one_begun, leave = threading.get_ident(), threading.Event(), threading.Event()
    begun, ended = [], []

    def before(start):
        if start != SECOND and threading.get_ident() != main and not leave.is_set():
            begun.append("a chunk")
            one_begun.set()
            assert leave.wait(300)
            ended.append("a chunk")

    def interrupt(stop, shift, total):
        if stop > CHUNKS.head:
            assert one_begun.wait(300)
            threading.Timer(0.05, leave.set).start()  # the run waits for the chunks that have begun
            signal.raise_signal(signal.SIGINT)

    right = averaged()
    with pytest.raises(KeyboardInterrupt):
        averaged(before, interrupt)
    assert ended == begun != []
    ended.clear()
    assert averaged() == right  # by the same threads, which have nothing else to do
    assert ended == []


EXIT = """
import sys, threading
import numpy as np
import mcgrad as mg

backend, n, daemon = sys.argv[1:]
estimator = mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend=backend, threads=2)
right, runs = estimator(1_500_000).value, threading.Event()

def work():
    found = estimator(int(n), progress=lambda done: runs.set())
    print("right" if found.value == right else "wrong", flush=True)

threading.Thread(target=work, daemon=daemon == 'daemon').start()
runs.wait(300)
"""


def ended(*arguments):
    found = subprocess.run([sys.executable, "-c", EXIT, *arguments], capture_output=True, text=True, timeout=300)
    return found.returncode, found.stdout, found.stderr


def test_the_process_ends_though_a_daemon_thread_has_far_to_go():
    assert ended("cpu", str(10**14), "daemon") == (0, "", "")


def test_the_process_ends_after_the_run_of_a_thread_that_is_none():
    assert ended("numpy", "1_500_000", "none") == (0, "right\n", "")
