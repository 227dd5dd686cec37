"""Estimates on a Dask cluster: the bits of threads, whatever happens to workers."""

import asyncio
import os
import re
import signal
import tracemalloc
from contextlib import ExitStack

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.tasks import dask_workers, remote
from tests.job_files import JOB, job_folder

from .clusters import local_cluster, scheduler_and_workers, worker
from .problems import CASES, LONG, N, bits, estimator, in_short_tasks, normal, wave

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install dask[distributed]")


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(2) as found:
        yield found


@pytest.fixture
def client(cluster):
    return cluster[0]


class At:
    """A `progress` that calls a function once, when a run has reported a few times."""

    def __init__(self, act, report=3):
        self.act, self.report, self.reports = act, report, []

    def __call__(self, done):
        self.reports.append(done)
        if len(self.reports) == self.report:
            self.act()


def tasks_on(client):
    """Return how many tasks of the scheduler are to be worked out yet."""
    states = ("processing", "queued", "waiting", "no-worker")
    return client.run_on_scheduler(
        lambda dask_scheduler: sum(task.state in states for task in dask_scheduler.tasks.values())
    )


def until_workers_are(client, number):
    """Wait until the scheduler knows that others have gone."""
    while len(client.nthreads()) != number:
        pass


@pytest.mark.parametrize("case", CASES)
def test_the_bits_of_threads(client, case):
    run = estimator(**CASES[case])
    found, right = run(N, seed=3, executor=client), run(N, seed=3)
    assert bits(found) == bits(right)


def test_batches_and_runs_that_stop(client):
    rows = mg.Estimator(wave, mg.Normal(np.zeros((5, 3)), 1.2, batch_ndim=1), params={"a": 0.7}, backend="numpy")
    found, right = rows(30_000, executor=client), rows(30_000)
    assert found.value.tobytes() == right.value.tobytes()
    assert found.grad_stderr["loc"].tobytes() == right.grad_stderr["loc"].tobytes()
    run = estimator()
    found, right = (run.until(rtol=3e-3, start=1 << 16, **options) for options in ({"executor": client}, {}))
    assert bits(found) == bits(right)
    assert found.stopping.looks == right.stopping.looks > 2


def test_the_executor_of_a_client_is_the_client(client):
    assert bits(estimator()(N, executor=client.get_executor())) == bits(estimator()(N))


def test_a_worker_that_is_killed_changes_no_bit(client, monkeypatch):
    in_short_tasks(monkeypatch)
    pids = client.run(os.getpid)
    first = min(pids.values())
    kill = At(lambda: os.kill(first, signal.SIGKILL))
    run = estimator()
    assert bits(run(LONG, executor=client, progress=kill)) == bits(run(LONG))
    assert len(kill.reports) > 10
    client.wait_for_workers(2)
    assert first not in client.run(os.getpid).values()


def test_workers_that_all_start_again_are_sent_the_payload_again(client, monkeypatch):
    in_short_tasks(monkeypatch)
    run = estimator()
    assert bits(run(LONG, executor=client, progress=At(client.restart))) == bits(run(LONG))


def test_a_worker_that_goes_while_it_is_asked_for_its_versions_is_not_named():
    class Client:
        def nthreads(self):
            return {"tcp://a:1": 1}

        def run(self, function, workers, on_error):
            return {"tcp://a:1": ConnectionResetError(104, "Connection reset by peer")}

    dask_workers.check_workers(Client())


def test_a_worker_that_is_added_works(client, cluster, monkeypatch):
    in_short_tasks(monkeypatch)

    def add():
        cluster[1].scale(3)
        client.wait_for_workers(3)

    run = estimator()
    executed = lambda dask_worker: dask_worker.state.executed_count  # noqa: E731
    try:
        assert bits(run(LONG, executor=client, progress=At(add))) == bits(run(LONG))
        assert min(client.run(executed).values()) > 0
    finally:
        cluster[1].scale(2)
        until_workers_are(client, 2)


def test_a_lost_scheduler_is_an_error_and_the_run_goes_on_without_it(tmp_path, monkeypatch):
    in_short_tasks(monkeypatch)
    run, states = estimator(), []
    file = tmp_path / "scheduler.json"
    with (
        scheduler_and_workers(file, 2, os.environ) as scheduler,
        distributed.Client(scheduler_file=str(file), timeout=300) as client,
    ):

        def watch(state):
            states.append(state)
            if len(states) == 4:
                scheduler.kill()

        with pytest.raises(mg.ExecutorError, match=r"connection to the scheduler is lost.*checkpoint"):
            run.run(LONG, 3, watch=watch, executor=client)
        with pytest.raises(mg.ExecutorError, match="cannot be used: its client is closed"):
            run(LONG, executor=client)
    assert LONG > states[-1].stop > 0
    assert bits(run.run(LONG, 3, resume=states[-1])) == bits(run(LONG, seed=3))


SHIMS = {
    "no Numba": "import sys; sys.modules['numba'] = None",
    "no mcgrad": "import sys; sys.modules['mcgrad'] = None",
    "mcgrad 0.0.7": "import mcgrad; mcgrad.__version__ = '0.0.7'",
}


def shimmed(folder, code):
    """Return an environment whose Pythons run some code as they start."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_workers_that_cannot_do_tasks_are_all_named_before_anything_runs(client, cluster, tmp_path):
    reports, good = [], len(client.nthreads())
    with ExitStack() as stack:
        for i, code in enumerate(SHIMS.values()):
            stack.enter_context(worker(cluster[1].scheduler_address, shimmed(tmp_path / str(i), code)))
        client.wait_for_workers(good + 3)
        with pytest.raises(mg.ExecutorError, match="3 workers cannot do tasks") as caught:
            estimator()(N, executor=client, progress=reports.append)
        addresses = client.nthreads()
    assert reports == []
    assert all(f": {reason}" in str(caught.value) for reason in SHIMS)
    assert sum(address in str(caught.value) for address in addresses) == 3
    until_workers_are(client, good)


def test_a_worker_that_joins_without_mcgrad_is_named_by_its_first_task(client, cluster, tmp_path, monkeypatch):
    in_short_tasks(monkeypatch)
    environment, good = shimmed(tmp_path / "shim", SHIMS["no mcgrad"]), len(client.nthreads())
    with ExitStack() as stack:

        def add():
            stack.enter_context(worker(cluster[1].scheduler_address, environment))
            client.wait_for_workers(good + 1)

        with pytest.raises(mg.ExecutorError, match=r"cannot do tasks.*no mcgrad"):
            estimator()(LONG, executor=client, progress=At(add))
    until_workers_are(client, good)


def test_data_is_sent_once_to_each_worker(client, monkeypatch):
    in_short_tasks(monkeypatch)
    X = np.random.default_rng(0).normal(size=(1_250_000, 10))  # 100 MB
    run = mg.Estimator(
        lambda z, X: np.sum(np.tanh(X[:40] @ z)) + 0 * X[-1, -1],
        mg.Normal(np.zeros(10), 1.0),
        data={"X": X},
        backend="numpy",
    )
    received = lambda dask_worker: sum(x["total"] for x in dask_worker.transfer_incoming_log)  # noqa: E731
    before = client.run(received)
    found = run(20_000, executor=client)
    after = client.run(received)
    assert bits(found) == bits(run(20_000))
    taken = [after[address] - before[address] for address in after]
    assert max(taken) < 1.1 * X.nbytes
    assert bits(run(20_000, seed=1, executor=client)) == bits(run(20_000, seed=1))
    assert client.run(received) == after


def test_each_payload_of_a_call_is_scattered(client, monkeypatch):
    monkeypatch.setattr(remote, "SMALL", 0)  # no run is small enough to travel in its tasks
    run = estimator()
    found, right = (run.until(rtol=3e-3, start=1 << 16, **options) for options in ({"executor": client}, {}))
    assert bits(found) == bits(right)
    assert found.stopping.looks > 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_run_of_1e15_draws_begins_at_once_and_leaves_nothing_behind_when_it_ends(client, error):
    def stop():
        raise error

    run = estimator()
    run(N, executor=client)
    tracemalloc.start()
    try:
        with pytest.raises(error):
            run(10**15, executor=client, progress=At(stop))
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()
    while tasks_on(client):  # those that had begun end by themselves
        pass


def test_what_a_task_raises_is_raised_here(client):
    run = mg.Estimator(lambda z: np.log(z), mg.Normal(0.0, 1.0), nonfinite="raise", backend="numpy")
    with pytest.raises(mg.NonFiniteError):
        run(N, executor=client)


def test_estimates_inside_tasks_leave_their_threads_to_the_tasks_that_they_wait_for(client):
    def inner(seed):
        from distributed import get_client

        from tests.executors.problems import N, bits, estimator

        return bits(estimator()(N, seed=seed, executor=get_client()))

    futures = [client.submit(inner, seed, pure=False) for seed in range(3)]  # more than there are threads
    assert client.gather(futures) == [bits(estimator()(N, seed=seed)) for seed in range(3)]


def test_what_is_no_client_is_refused(client, cluster):
    with pytest.raises(mg.ParameterError, match=r"executor: .*LocalCluster.*; accepted: .*Client\(cluster\)"):
        mg.estimate(wave, normal(), n=100, params={"a": 1.0}, executor=cluster[1])

    async def asynchronous():
        async with distributed.Client(cluster[1].scheduler_address, asynchronous=True) as other:
            mg.estimate(wave, normal(), n=100, params={"a": 1.0}, executor=other)

    with pytest.raises(mg.ParameterError, match=r"executor: .*asynchronous"):
        asyncio.run(asynchronous())


def test_a_closed_client_is_an_error(cluster):
    other = distributed.Client(cluster[1])
    other.close()
    with pytest.raises(mg.ExecutorError, match="cannot be used: its client is closed"):
        estimator()(N, executor=other)


def test_jobs_of_the_command_line_run_on_a_scheduler(cluster, tmp_path, monkeypatch, capsys):
    job_folder(tmp_path, monkeypatch)
    (tmp_path / "job.toml").write_text(JOB.replace("n = 500", "n = 2_000_000"))
    assert main(["run", "job.toml"]) == 0
    capsys.readouterr()
    assert main(["run", "job.toml", "--scheduler", cluster[1].scheduler_address, "--out", "there"]) == 0
    assert re.search(r"numpy, 2 workers of the Dask scheduler tcp://\S+, float64", capsys.readouterr().out)
    here, there = (mg.Estimate.from_json((tmp_path / at / "job.json").read_text()) for at in ("results", "there"))
    assert bits(here) == bits(there)
