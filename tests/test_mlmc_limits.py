"""Multilevel runs that end at a limit, that no number of draws would end, or that go on from an earlier one."""

import math

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.multilevel_limits import Limits
from mcgrad.results.multilevel_rule import MultilevelRule
from tests.test_mlmc import AS_TO, calls, increments  # noqa: F401 - a fixture


def test_limits_are_said(calls):  # noqa: F811
    with pytest.warns(mg.ToleranceWarning, match=r"bias .* is not within .* max_level; more than 2 levels"):
        est = calls(rtol=0.002, of="vol", max_level=2, seed=1)
    assert (est.reason, len(est.levels)) == ("max_level", 3)
    with pytest.warns(mg.ToleranceWarning, match=r"at the limit max_draws; more draws are needed"):
        est = calls(rtol=0.002, of="value", max_draws=5000, seed=1)
    assert not est.reached
    assert max(level.n for level in est.levels) == 5000

    def odd(z, *, level):
        return np.log(z)

    with pytest.warns(mg.ToleranceWarning, match="not all that was asked for is finite"):
        assert math.isnan(mg.mlmc(odd, mg.Normal(0.0, 1.0), **AS_TO).value)
    with pytest.raises(mg.NonFiniteError):
        mg.mlmc(odd, mg.Normal(0.0, 1.0), nonfinite="raise", **AS_TO)


def centred(z, *, level, a):
    """Of mean zero at all levels."""
    return a * np.sum(z) / np.sqrt(2.0**level)


def test_a_mean_of_zero_is_said_at_once_and_at_the_limit():
    levels = mg.Multilevel(centred, increments, params={"a": 1.0}, wrt=[], **AS_TO)
    with pytest.warns(mg.ToleranceWarning) as said:
        est = levels(rtol=0.01, max_draws=200_000, seed=1)
    early, late = (str(each.message) for each in said)
    assert "draws value cannot be told from zero, and rtol=0.01 is relative to it" in early
    assert "give atol=" in early
    assert "at the limit max_draws; value cannot be told from zero" in late
    assert est.reason == "max_draws"
    assert levels(rtol=0.01, atol=0.01, seed=1).reached


@pytest.mark.parametrize("how", [{"of": "value"}, {"of": "all"}, {"sampler": "sobol", "replicates": 4}], ids=str)
def test_an_event_that_no_draw_has_met_is_not_reached(how):
    def rare(z, *, level, a):
        return np.where(np.sum(z) / np.sqrt(2.0**level) > 8.0, a * z[0], 0.0)

    with pytest.warns(mg.ToleranceWarning, match=r"is zero in all [\d,]+ draws, by chance or exactly, at the limit"):
        est = mg.mlmc(rare, increments, rtol=0.5, params={"a": 1.0}, max_draws=20_000, **how, **AS_TO)
    assert all(10_000 < level.n <= 20_000 for level in est.levels)
    assert (est.value, est.stderr, est.reached) == (0.0, 0.0, False)


def test_what_no_draw_changes_is_exact():
    def f(z, *, level, a):
        return np.sum(z) / np.sqrt(2.0**level) + 1.0 + 0.0 * a

    assert mg.mlmc(f, increments, rtol=0.1, params={"a": 1.0}, **AS_TO).reached


def test_a_limit_of_cost_is_kept_and_the_error_is_that_of_the_draws():
    levels = mg.Multilevel(centred, increments, params={"a": 1.0}, wrt=[], **AS_TO)
    with pytest.warns(mg.ToleranceWarning) as said:
        est = levels(rtol=0.01, max_cost=3e6, seed=1)
    assert "at the limit max_cost; value cannot be told from zero" in str(said[-1].message)
    assert 0.95 * 3e6 < est.cost <= 3e6
    assert est.stderr == pytest.approx(1 / math.sqrt(est.levels[0].n), rel=0.02)
    assert abs(est.value) < 4.5 * est.stderr
    with pytest.warns(mg.ToleranceWarning, match="at the limit max_cost"):
        least = levels(rtol=0.01, max_cost=1.0, seed=1)
    assert [level.n for level in least.levels] == [1024] * 3
    again = mg.MultilevelEstimate.from_json(est.to_json())
    assert (again.reason, again.rule.max_cost) == ("max_cost", 3e6)
    fields = est.to_dict()
    for name in ("max_cost", "max_seconds"):  # as files of earlier versions
        del fields["rule"][name]
    assert mg.MultilevelEstimate.from_dict(fields).rule.max_cost is None


def test_a_limit_of_cost_allows_no_further_level(calls):  # noqa: F811
    with pytest.warns(mg.ToleranceWarning, match="at the limit max_cost; more draws are needed: give max_cost="):
        est = calls(rtol=0.002, of="vol", max_cost=2e6, seed=1)
    assert est.cost < 2e6
    assert not est.reached


def test_a_limit_of_time_is_what_the_speed_so_far_allows():
    """A second for each 1,000 of cost."""
    seconds = [0.0]
    limits = Limits(MultilevelRule(max_seconds=10.0), lambda: seconds[0])
    limits.begin(500.0)  # of an earlier run
    done, costs = np.array([1000, 500]), np.array([1.0, 2.0])
    seconds[0] = 1.5
    assert limits.room(2000.0) == {"max_seconds": pytest.approx(8500.0)}
    wanted, reason = limits.fitted(np.array([3000, 500]), done, costs, False)
    assert (wanted.tolist(), reason) == ([3000, 500], "")
    wanted, reason = limits.fitted(np.array([18_000, 500]), done, costs, False)
    assert (wanted.tolist(), reason) == ([9500, 500], "")
    wanted, reason = limits.fitted(np.array([18_000, 500]), done, costs, True)  # points come all or none
    assert (wanted.tolist(), reason) == ([1000, 500], "max_seconds")
    assert limits.refuse(2000.0, 9000.0) == "max_seconds"
    assert limits.refuse(2000.0, 8000.0) == ""
    seconds[0] = 11.0
    assert limits.fitted(np.array([1001, 500]), done, costs, False)[1] == "max_seconds"


def test_a_run_goes_on_from_an_earlier_one(calls):  # noqa: F811
    first = calls(rtol=0.1, seed=1)
    done = []
    est = calls(rtol=0.03, seed=1, resume=mg.MultilevelEstimate.from_json(first.to_json()), progress=done.append)
    assert est.reached
    assert min(done) > first.n  # those of the earlier run are not made again
    for i, level in enumerate(est.levels):
        assert level.estimate.ranges == ((0, level.n),)
        whole = calls.program(i).estimator(level.n)(level.n, level.estimate.seed)
        assert np.allclose(level.mean, whole.flat(["spot", "vol"]), rtol=1e-12)
    assert calls(rtol=0.1, seed=1, resume=first).mean.tolist() == first.mean.tolist()
    for resume, changes, message in [
        (3, {}, r"^resume: given 3; accepted: a MultilevelEstimate"),
        (first, {"seed": 2}, r"^resume: given an estimate of seed 1; accepted: one of seed 2"),
        (first, {"vol": 0.3}, r"^resume, levels\[0\]: given another integrand"),
    ]:
        with pytest.raises(mg.ParameterError, match=message):
            calls(**{"rtol": 0.1, "seed": 1, "resume": resume, **changes})
