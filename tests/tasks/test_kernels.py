"""What a worker keeps of payloads."""

from mcgrad.tasks import kernels
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
    assert len({*serial.payloads}) == 1
    run(1_000_000, executor=serial, loc=0.5)
    assert len(made) == 2


def test_a_payload_that_is_held_has_its_values_once():
    run, serial = estimator("scalar", "float64", "numpy"), Serial()
    run(1_000_000, executor=serial)
    held = kernels.held(serial.payloads[0].digest, None)
    assert held.content.fixed == b""
    assert held.size == len(serial.payloads[0].content)
