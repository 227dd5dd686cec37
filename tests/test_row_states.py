"""Runs over the rows of a batch that go on from a state have the bits of runs that never stopped."""

from dataclasses import replace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import Partial
from mcgrad.engine import row_averager
from mcgrad.engine.call import RowState, RunState
from mcgrad.moments import Moments

RNG = np.random.default_rng(3)


def wave(z, a):
    return a * np.sum(np.cos(z) + z[..., :1] * z)


def made(loc, threads=None, f=wave, **options):
    return mg.Estimator(f, mg.Normal(loc, 0.7, batch_ndim=1), params={"a": 1.5}, threads=threads, **options)


LOC = RNG.normal(size=(20_000, 3))
CASES = {
    "ranges of rows": ({"loc": LOC, "dtype": "float32", "backend": "cpu"}, 60, 5, False),
    "groups of draws": ({"loc": LOC[:5], "backend": "numpy", "method": "score+leave_one_out"}, 160, 80, False),
    "baselines of a pilot": ({"loc": LOC[:5], "backend": "numpy", "method": "score+mean"}, 40, 0, False),
    "second derivatives": ({"loc": LOC[:5], "backend": "numpy", "hessian": "diag"}, 40, 0, False),
    "long rows": ({"loc": LOC[:3], "dtype": "float32", "backend": "cpu"}, 2_500_000, 8, True),
    "not finite": (
        {"loc": LOC[:6], "backend": "numpy", "nonfinite": "omit", "f": lambda z, a: a * np.log(z[0])},
        50,
        1,
        False,
    ),
    "common noise": ({"loc": LOC[:4], "backend": "numpy", "common_noise": True}, 200_000, 9, False),
}


def numbers(est):
    m, together = est.moments, [x for x in (est.total, est.differences) if x is not None]
    arrays = [m.counts, m.means, m.norms, m.totals, m.variances, est.nonfinite, est.rows]
    return [x.tobytes() for x in arrays + [x.mean for x in together] + [x.norm for x in together]]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(case, monkeypatch):
    monkeypatch.setattr(row_averager, "MANY", 4)
    options, n, first, long = CASES[case]
    run, other = made(threads=2, **options), made(threads=1, **options)
    rows = None if "common_noise" in options else np.arange(len(options["loc"]))[::-1] + 7
    states = []
    right = run.run(n, 5, first=first, rows=rows, watch=states.append)
    assert numbers(right) == numbers(run(n, 5, first=first, rows=rows))
    assert len(states) > 2
    assert all(run.resumes(state, n, first, rows) for state in states)
    assert any(isinstance(state, RowState) and state.row is not None for state in states) == long
    for state in states[:: max(len(states) // 4, 1)]:
        found = other.run(n, 5, first=first, rows=rows, resume=state)
        assert numbers(found) == numbers(right)
        assert found.seconds > state.seconds


def test_states_at_other_places_are_refused():
    run, states = made(loc=LOC[:3], backend="numpy"), []
    run.run(40, watch=states.append)
    assert states[-1].place == "row 3"
    begun = replace(states[0], row=RunState(16, np.zeros(0), (Partial(Moments.of(np.zeros((8, 0)))),), 0.0, "numpy"))
    with pytest.raises(mg.ParameterError, match=r"^resume: given draw 16 of row 1; accepted: a draw at which a chunk"):
        run.run(40, resume=begun)
    with pytest.raises(mg.ParameterError, match=r"^resume: given row 3; accepted: "):
        mg.Estimator(np.sin, mg.Normal(), backend="numpy").run(40, resume=states[-1])


def test_progress_counts_rows():
    for options in ({}, {"common_noise": True}):
        seen = []
        made(LOC[:3], backend="numpy", **options)(40, progress=seen.append)
        assert seen[-1] == 3
        assert seen == sorted(seen)
