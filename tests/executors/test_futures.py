"""Estimates on executors of concurrent.futures: the bits of threads, and clear errors in place of waiting for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from threading import Event

import pytest

import mcgrad as mg
from mcgrad.tasks import futures, kernels

from .problems import CASES, LONG, N, bits, estimator, in_short_tasks

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=SPAWN) as executor:
        yield executor


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize("case", CASES)
def test_the_bits_of_threads(processes, case):
    run = estimator(**CASES[case])
    assert bits(run(N, seed=3, executor=processes)) == bits(run(N, seed=3))


def test_threads_of_a_pool(threads):
    assert bits(estimator()(N, executor=threads)) == bits(estimator()(N))


def killing(executor):
    """Return a function that kills a process of an executor as soon as there is one: idle ones end by themselves."""
    killed = []

    def kill(done):
        if not killed and executor._processes:
            killed.append(next(iter(executor._processes)))
            os.kill(killed[0], signal.SIGKILL)

    return kill


def test_loky(monkeypatch):
    loky = pytest.importorskip("loky", reason="loky is not installed: pip install loky")
    in_short_tasks(monkeypatch)
    executor, run = loky.get_reusable_executor(2), estimator()

    with pytest.raises(mg.ExecutorError, match="2 workers: a worker process has ended"):
        run(10**12, executor=executor, progress=killing(executor))
    executor = loky.get_reusable_executor(2)
    assert bits(run(LONG, executor=executor)) == bits(run(LONG))
    executor.shutdown()


def test_joblib_runs_estimates_in_its_workers():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed: pip install joblib")
    run = estimator(backend="numpy")
    found = joblib.Parallel(n_jobs=2)(
        joblib.delayed(lambda seed: bits(run(1000, seed=seed)))(seed) for seed in range(3)
    )
    assert found == [bits(run(1000, seed=seed)) for seed in range(3)]


def counted(monkeypatch):
    """Return the contents that tasks carry, and which of the tasks were submitted again, as a worker had no payload."""
    contents, again = [], []
    submit_to_pool, submit = ProcessPoolExecutor.submit, futures.FuturesAdapter.submit

    def spy(self, payload, task, number, missed_by):
        again.append(missed_by is not None)
        return submit(self, payload, task, number, missed_by)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", lambda *args: contents.append(args[3]) or submit_to_pool(*args))
    monkeypatch.setattr(futures.FuturesAdapter, "submit", spy)
    return contents, again


def test_a_payload_is_sent_once(monkeypatch):
    in_short_tasks(monkeypatch)
    contents, again = counted(monkeypatch)
    run = estimator(backend="numpy")
    with ProcessPoolExecutor(1, mp_context=SPAWN) as executor:
        run(LONG, executor=executor)
        run(LONG, seed=1, executor=executor)
    assert len(contents) > 40
    assert [i for i, content in enumerate(contents) if content] == [0]
    assert not any(again)


def test_a_payload_is_sent_to_as_many_as_there_are_workers_and_to_those_that_miss_it(processes, monkeypatch):
    """Which worker takes a task is the pool's choice: one may take both first tasks, the other miss the payload."""
    in_short_tasks(monkeypatch)
    contents, again = counted(monkeypatch)
    run = estimator(nonfinite="omit")  # a payload of its own
    run(LONG, executor=processes)
    assert [bool(content) for content in contents] == [i < 2 or missed for i, missed in enumerate(again)]


def test_a_pool_whose_worker_dies_is_an_error():
    with ProcessPoolExecutor(2, mp_context=SPAWN) as executor:
        run = estimator(backend="numpy")
        run(N, executor=executor)
        with pytest.raises(mg.ExecutorError, match=r"2 workers: a worker process has ended.*checkpoint"):
            run(10**12, executor=executor, progress=killing(executor))
        with pytest.raises(mg.ExecutorError, match="a worker process has ended"):
            run(N, executor=executor)


def test_an_executor_that_is_shut_down_is_an_error(threads):
    threads.shutdown()
    with pytest.raises(mg.ExecutorError, match="ThreadPoolExecutor of 2 workers: it is shut down"):
        estimator()(N, executor=threads)


@pytest.mark.parametrize("given", [4, "tcp://127.0.0.1:8786", ThreadPoolExecutor, os])
def test_what_is_no_executor_is_refused(given):
    with pytest.raises(mg.ParameterError, match=r"executor: given .*; accepted: a concurrent.futures.Executor"):
        estimator()(N, executor=given)


def test_a_thread_of_the_pool_itself_is_refused(threads, monkeypatch):
    future = threads.submit(lambda: estimator()(N, executor=threads))
    with pytest.raises(mg.ParameterError, match="this is one of its threads"):
        future.result()

    begin = Event()
    other = threads.submit(lambda: begin.wait() and futures.FuturesAdapter(threads))
    monkeypatch.setattr(threads, "_threads", set())  # as it is before the executor lists the thread that it has started
    begin.set()
    with pytest.raises(mg.ParameterError, match="this is one of its threads"):
        other.result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python's, of a fork with threads
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_an_executor_of_the_process_that_forked_this_one_is_refused(kind, request):
    executor = request.getfixturevalue(kind)
    executor.submit(os.getpid).result()
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            estimator(backend="numpy")(N, executor=executor)
        except mg.ParameterError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as found:
        assert "of the process that forked this one" in found.read()
    os.wait()


@pytest.mark.parametrize("kind", ["processes", "threads"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_runs_any_more_when_a_run_ends_by_an_exception(kind, error, request, monkeypatch):
    executor, running = request.getfixturevalue(kind), []
    adapter = futures.FuturesAdapter(executor)
    submit = executor.submit
    monkeypatch.setattr(executor, "submit", lambda *args: running.append(submit(*args)) or running[-1])

    def stop(done):
        if len(running) > 2:
            raise error

    with pytest.raises(error):
        estimator()(10**15, executor=adapter, progress=stop)
    assert len(running) < 20
    assert all(future.done() for future in running)


def test_a_worker_that_has_forgotten_a_payload_is_sent_it_again(threads, monkeypatch):
    """A pool of one thread stands for a worker: the payloads that it holds are those of this process."""
    run, right = estimator(), bits(estimator()(LONG))
    adapter = futures.FuturesAdapter(threads)
    adapter._threads = False
    in_short_tasks(monkeypatch)

    def forget(done):
        kernels._held.clear()

    assert bits(run(LONG, executor=adapter, progress=forget)) == right


INTERRUPTED = """
import multiprocessing, os, signal, sys, threading
from concurrent.futures import ProcessPoolExecutor
import mcgrad as mg

def interrupt(done):
    os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        try:
            run = mg.Estimator(lambda z: z**2, mg.Normal(0.3, 1.2), backend="numpy")
            run(10**15, executor=executor, progress=interrupt)
        except (KeyboardInterrupt, mg.ExecutorError) as error:
            print("ended")
    print("left", len(multiprocessing.active_children()))
"""


def test_an_interrupt_of_the_whole_group_ends_the_program(tmp_path):
    """As Ctrl-C in a terminal, which reaches the workers, too."""
    (tmp_path / "program.py").write_text(INTERRUPTED)
    found = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert (found.returncode, found.stdout) == (0, "ended\nleft 0\n"), found.stderr
