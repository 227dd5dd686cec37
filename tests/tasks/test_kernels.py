"""What a worker keeps of payloads."""

import numpy as np

import mcgrad as mg
from mcgrad.tasks import kernels, remote
from mcgrad.tasks.runs import RunOfDraws
from tests.estimators import estimator
from tests.tasks.executors import Serial


def test_runs_of_other_seeds_have_one_bound_kernel(monkeypatch):
    made, bound = [], RunOfDraws._bound
    monkeypatch.setattr(RunOfDraws, "_bound", lambda *args: made.append(args) or bound(*args))
    run, serial = estimator("scalar", "float64", "numpy"), Serial()
    for seed in range(3):
        run(1_000_000, seed, executor=serial)
    assert len(made) == 1
    assert len({payload.digest for payload in serial.payloads}) == 1
    run(1_000_000, executor=serial, loc=0.5)
    assert len(made) == 2


def test_a_payload_that_is_held_has_its_values_once():
    run, serial = estimator("scalar", "float64", "numpy"), Serial()
    run(1_000_000, executor=serial)
    held = kernels.held(serial.payloads[0].digest, None)
    assert held.content.fixed == b""
    assert held.size == len(serial.payloads[0].content)


def test_a_payload_that_workers_have_is_not_made_again(monkeypatch):
    made, to_bytes = [], remote.to_bytes
    monkeypatch.setattr(remote, "to_bytes", lambda values: made.extend(map(str, values)) or to_bytes(values))
    run = mg.Estimator(lambda z, X: np.sum(X * z), mg.Normal(0.3, 1.2), data={"X": np.arange(3.0)}, backend="numpy")
    serial = Serial()
    right = [run(1_000_000, seed).value for seed in range(3)]
    assert [run(1_000_000, seed, executor=serial).value for seed in range(3)] == right
    assert sum("X" in name for name in made) == 1
    assert len({payload.digest for payload in serial.payloads}) == 1
    kernels._held.clear()
    assert run(1_000_000, 0, executor=serial).value == right[0]
    assert sum("X" in name for name in made) == 2
    other = run(1_000_000, 0, X=np.arange(3.0) + 1, executor=serial)
    assert other.value == run(1_000_000, 0, X=np.arange(3.0) + 1).value != right[0]


def test_data_that_is_filled_anew_in_place_is_sent_again():
    run = mg.Estimator(lambda z, X: np.sum(X * z), mg.Normal(0.3, 1.2), data={"X": np.arange(3.0)}, backend="numpy")
    X, serial = np.arange(3.0), Serial()
    for seed in range(2):
        X += 1.0
        assert run(1_000_000, seed, X=X, executor=serial).value == run(1_000_000, seed, X=X).value
    base = np.arange(3.0)
    view = base[:]
    view.flags.writeable = False
    for seed in range(2):
        base += 1.0
        assert run(1_000_000, seed, X=view, executor=serial).value == run(1_000_000, seed, X=view).value
