"""Workers of pools, joblib, loky and Dask: their share of the threads, and the bits of who sent the work."""

import concurrent.futures
import multiprocessing
import sys
import types
from contextlib import closing

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import info
from mcgrad.engine import threads
from mcgrad.system import workers

METHODS = [method for method in ("spawn", "fork", "forkserver") if method in multiprocessing.get_all_start_methods()]
ESTIMATOR = mg.Estimator(lambda z: np.sum(np.sin(2 * z)), mg.Normal(np.zeros(3), 1.0), backend="cpu")
N = 300_000  # several chunks

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*os.fork.. was called:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in (threads.THREADS_VARIABLE, workers.NUMBA_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def seen(estimator=ESTIMATOR):
    """Return the share of the process that runs this, and an estimate."""
    estimate = estimator(N, 5)
    return workers.share(), [estimate.value, *estimate.grad["loc"]], estimator.threads


@pytest.fixture(scope="module")
def here():
    _, numbers, _ = seen()
    return numbers


def test_no_worker():
    assert workers.share() is None


@pytest.mark.parametrize("method", METHODS)
def test_processes_of_an_executor(method, here, monkeypatch):
    monkeypatch.setenv(workers.NUMBA_VARIABLE, "2" if method == "spawn" else "many")
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        share, numbers, used = executor.submit(seen, ESTIMATOR).result()
    assert share == (2 if method == "spawn" else 1, "a process of ProcessPoolExecutor")
    assert used <= share.threads
    assert numbers == here


def test_processes_of_a_pool(here):
    with multiprocessing.get_context(METHODS[:2][-1]).Pool(1) as pool:
        share, numbers, used = pool.apply(seen, (ESTIMATOR,))
    assert (share, used) == ((1, "a process of multiprocessing.Pool"), 1)
    assert numbers == here


def _alone(connection):
    connection.send(seen())


def test_a_process_that_is_in_no_pool_has_the_machine(here):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_alone, args=(theirs,))
    process.start()
    share, numbers, _ = ours.recv()
    process.join()
    assert share is None
    assert numbers == here


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend, here, monkeypatch):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    more = {"inner_max_num_threads": 3} if backend == "loky" else {}
    with joblib.parallel_config(backend, n_jobs=2, **more):
        found = joblib.Parallel()(joblib.delayed(seen)(ESTIMATOR) for _ in range(2))
    shares = {"loky": (3, "a process of joblib"), "multiprocessing": (1, "a process of multiprocessing.Pool")}
    assert [share for share, _, _ in found] == 2 * [shares.get(backend)]
    assert [numbers for _, numbers, _ in found] == [here, here]
    if backend == "loky":
        joblib.externals.loky.get_reusable_executor().shutdown()


def test_loky(here):
    loky = pytest.importorskip("loky", reason="loky is not installed")
    with loky.ProcessPoolExecutor(1) as executor:
        share, numbers, _ = executor.submit(seen, ESTIMATOR).result()
    assert share == (1, "a process of loky")
    assert numbers == here


def test_a_task_of_dask_has_the_threads_of_its_worker(here):
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=3, processes=False, dashboard_address=":0")
    with closing(cluster), distributed.Client(cluster) as client:
        share, numbers, _ = client.submit(seen, ESTIMATOR).result()
        assert workers.share() is None  # not in the thread of the client, though the worker is in its process
    assert share == (3, "a Dask worker")
    assert numbers == here


def test_a_task_of_ray_has_the_processors_that_it_asked_for(monkeypatch):
    worker = types.SimpleNamespace(WORKER_MODE=1, global_worker=types.SimpleNamespace(mode=0))
    monkeypatch.setitem(sys.modules, "ray._private.worker", worker)
    monkeypatch.setenv(workers.RAY_VARIABLE, "4")
    assert workers.share() is None  # of the process that sends tasks
    worker.global_worker.mode = 1
    assert workers.share() == (4, "a Ray worker")
    del worker.global_worker.mode
    assert workers.share() is None


def test_the_share_limits_the_default_alone(monkeypatch):
    monkeypatch.setattr(workers, "share", lambda: workers.Share(3, "a test"))
    monkeypatch.setattr(threads, "available_processors", lambda: 8)
    assert threads.thread_count(None) == 3
    assert threads.thread_count(5) == 5
    assert info.info()["threads"] == "3 (the share of a test)"
    monkeypatch.setattr(threads, "available_processors", lambda: 2)
    assert threads.thread_count(None) == 2
    monkeypatch.setenv(threads.THREADS_VARIABLE, "6")
    assert threads.thread_count(None) == 6
    assert info.info()["threads"] == "6 ($MCGRAD_NUM_THREADS)"


@pytest.mark.parametrize(("given", "threads"), [("", 1), ("0", 1), ("-2", 1), ("2.5", 1), ("7", 7)])
def test_numbers_in_variables(monkeypatch, given, threads):
    monkeypatch.setenv(workers.NUMBA_VARIABLE, given)
    assert workers._number(workers.NUMBA_VARIABLE) == threads


def test_the_names_of_pools_are_those_of_the_standard_library():
    """A version of Python that names them otherwise would give each process all processors."""
    import concurrent.futures.process
    import multiprocessing.pool

    for target in (multiprocessing.pool.worker, concurrent.futures.process._process_worker):
        assert target.__module__ in workers.POOLS
