"""What goes wrong on workers, what is refused, and how little travels."""

import pickle
import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.engine import dispatch
from mcgrad.system.made_once import MadeOnce
from mcgrad.tasks import content, kernels
from mcgrad.tasks.work import work
from tests.reliability.test_chunks import Listing
from tests.tasks.executors import Serial, numbers

N = 1 << 18
Q = mg.Normal(0.3, 1.2)
pytestmark = pytest.mark.usefixtures("short_chunks")


@pytest.fixture
def run():
    return mg.Estimator(np.sin, Q, backend="numpy")


class Theirs(Listing):
    """A backend of another package, whose chunks are a list or come one by one."""

    name = "theirs"


@pytest.mark.parametrize("made", [list, iter])
def test_a_backend_of_another_package(made, monkeypatch):
    monkeypatch.setitem(registry.BACKENDS, "theirs", Theirs(made))
    run, states = mg.Estimator(np.sin, Q, backend="theirs"), []
    right = run.run(N, 3, watch=states.append)
    assert numbers(run(N, 3, executor=Serial())) == numbers(right)
    assert numbers(run.run(N, 3, resume=states[3], executor=Serial())) == numbers(right)
    kernels._kernels.clear()
    known = {name: backend for name, backend in registry.backends().items() if name != "theirs"}
    monkeypatch.setattr(kernels, "backends", lambda: known)
    monkeypatch.setattr(dispatch, "_warned", set())
    with pytest.raises(mg.BackendError, match=r'there is no backend "theirs": a package .* \(on .*:\d+\)'):
        run(N, 4, executor=Serial())
    automatic = mg.Estimator(np.sin, Q)
    assert automatic.backend == "theirs"
    with pytest.warns(mg.BackendWarning, match='backend "theirs" failed: there is no backend "theirs"'):
        found = automatic(N, 3, executor=Serial())
    assert found.backend != "theirs"
    assert {kind.backend for kind in found.kinds} == {found.backend}


def test_a_payload_that_a_worker_has_lost_is_sent_again(run):
    calls = []

    def forgetful(task, content=None):
        calls.append(content is not None)
        if len(calls) % 3 == 0:
            kernels._held.clear()
        return work(task, content)

    assert numbers(run(N, executor=Serial(work=forgetful))) == numbers(run(N))
    assert sum(calls) >= 2


def test_all_calls_of_an_estimator_have_one_payload_and_small_tasks():
    data = {"X": np.linspace(-1.0, 1.0, 5000)}
    run, serial = mg.Estimator(lambda z, X: np.sin(z) * X[7], Q, data=data, backend="numpy"), Serial()
    for seed, loc in ((1, 0.1), (2, 0.2)):
        assert numbers(run(N, seed, loc=loc, executor=serial)) == numbers(run(N, seed, loc=loc))
    run.until(rtol=1e-2, of="value", start=N, executor=serial)
    assert len({payload.digest for payload in serial.payloads}) == 1
    assert len(serial.payloads[0].content) > 40_000
    assert max(map(len, serial.tasks)) < 1000
    assert numbers(run(N, X=2 * data["X"], executor=serial)) == numbers(run(N, X=2 * data["X"]))
    assert len({payload.digest for payload in serial.payloads}) == 2


def test_what_is_large_is_in_the_payload(run, monkeypatch):
    monkeypatch.setattr("mcgrad.tasks.remote.SMALL", 100)
    serial = Serial()
    for seed in (1, 2):
        assert numbers(run(N, seed, executor=serial)) == numbers(run(N, seed))
    assert len(serial.payloads) == 2
    assert not any(pickle.loads(task).run for task in serial.tasks)


def test_a_run_that_ends_early_cancels_its_tasks_and_leaves_an_adapter_open(run):
    serial = Serial()

    def stop(done):
        if done > N // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(N, executor=serial, progress=stop)
    assert serial.ended
    assert not serial.closed


def test_the_bar_says_how_fast_and_by_how_many_workers(run, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    for call in (lambda **given: run(N, **given), lambda **given: run.until(1e-2, **given)):
        call(executor=Serial(workers=3), progress=True)
        assert re.search(r" [1-9]\.?\d*e\+0\d draws/s, 3 workers", capsys.readouterr().err)
    run(N, progress=True)
    assert "draws/s" not in capsys.readouterr().err


def test_until_and_compare(run):
    given = {"rtol": 1e-2, "of": "value", "start": 1 << 16, "seed": 2}
    right, serial = run.until(**given), Serial()
    assert right.stopping.looks > 2
    assert numbers(run.until(**given, executor=serial)) == numbers(right)
    assert len(serial.tasks) > right.stopping.looks
    compared = [
        mg.compare(np.sin, Q, N, methods=["pathwise", "score"], backend="numpy", executor=executor)
        for executor in (None, serial)
    ]
    mine, theirs = ([numbers(row.estimate) for row in each.rows] for each in compared)
    assert mine == theirs


@pytest.mark.parametrize(
    ("options", "given"), [({"devices": [0]}, r"one with devices=\(0,\)"), ({"output": "device"}, "one with output=")]
)
def test_what_stays_on_a_device_here_refuses_an_executor(run, options, given):
    run._options = SimpleNamespace(**({"devices": None, "output": "host"} | options))
    if "devices" in options:
        run._options.devices = (0,)
    with pytest.raises(mg.ParameterError, match=f"^executor: given {given}"):
        run(N, executor=Serial())


@pytest.mark.parametrize("executor", [3, "tcp://127.0.0.1:1", object()])
def test_what_is_no_executor_is_refused(run, executor):
    with pytest.raises(mg.ParameterError, match=r"^executor: given"):
        run(N, executor=executor)


def test_functions_that_a_worker_cannot_load():
    broken = content.Content(b"", b"cno_such_module\nno_such_name\n.", "cpu", False, b"")
    with pytest.raises(mg.ParameterError, match=r"^f: given functions that far:7 cannot load .*no_such_module"):
        content.program_of(broken, "far:7")


def test_values_are_made_once_whichever_threads_want_them():
    made, kept, found, meet = [], MadeOnce(3), [], threading.Barrier(8)

    def make():
        made.append(len(made))
        return made[-1]

    def want():
        meet.wait()
        found.append(kept.get("key", make))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 8
    for key in (1, 2, 3):
        kept.get("key")
        kept.get(key, make)
    assert [kept.get(key) for key in ("key", 1, 2, 3)] == [0, None, 2, 3]
    with pytest.raises(ZeroDivisionError):
        kept.get("other", lambda: 1 / 0)
    assert kept.get("other", make) == 4
