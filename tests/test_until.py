"""Runs that stop once their error is within a tolerance."""

import math
import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.until import UntilState, until
from mcgrad.results.stopping import LOOKS, StoppingRule

START = 64
AS_TO = {"backend": "numpy", "dtype": "float64"}


@pytest.fixture(scope="module")
def exponential():
    """Estimates E exp(z): value and gradient in loc are exp(loc + 1/2), that in scale is as large."""
    return mg.Estimator(lambda z: np.exp(z), mg.Normal(0.5, 1.0), **AS_TO)


@pytest.fixture(scope="module")
def rows():
    """Three rows, of which the last needs most draws, with a parameter that they share."""
    q = mg.Normal(np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.5, 1.0]), batch_ndim=1)
    return mg.Estimator(lambda z, *, tau: np.exp(tau * z), q, params={"tau": 1.0}, **AS_TO)


def merged(estimator, looks, start=START, seed=0, **how):
    """Return the merge of the estimates over the ranges between looks."""
    ends = [0, *(start << k for k in range(looks))]
    found = [estimator(b - a, seed, first=a, **how) for a, b in pairwise(ends)]
    for part in found[1:]:
        found[0] = found[0].merge(part)
    return found[0]


def halves(ends):
    return np.array([0.5 * (high - low) for low, high in ends])


def test_the_result_is_the_merge_of_the_ranges_between_looks_and_is_within_the_tolerance(exponential):
    est = exponential.until(0.05, start=START, seed=3)
    assert est.stopping.reached
    assert est.n == START << (est.stopping.looks - 1)
    assert est.stopping.looks > 2
    same = merged(exponential, est.stopping.looks, seed=3)
    assert est.to_dict()["moments"] == same.to_dict()["moments"]
    width = halves(est.confidence_interval().grad.values())
    assert est.stopping.error == pytest.approx(width.max(), rel=1e-12)
    assert est.stopping.tolerance == pytest.approx(0.05 * max(est.grad.values()), rel=1e-12)
    assert est.stopping.error <= est.stopping.tolerance
    before = merged(exponential, est.stopping.looks - 1, seed=3)
    wider = halves(before.confidence_interval(1 - 0.05 / LOOKS).grad.values())
    assert wider.max() > 0.05 * max(before.grad.values())  # it stops at the first look that is accurate enough


def test_intervals_are_those_of_one_look_until_the_estimate_is_merged(exponential):
    est = exponential.until(0.2, start=START)
    plain = merged(exponential, est.stopping.looks)
    assert est.confidence_interval(0.9).value == plain.confidence_interval(0.95).value
    more = est.merge(exponential(100, first=est.n))
    assert more.stopping is None
    assert (
        more.confidence_interval(0.9).value == plain.merge(exponential(100, first=est.n)).confidence_interval(0.9).value
    )


def test_intervals_cover_as_often_as_they_say(exponential):
    seeds, looks, covered = 100, set(), 0
    for seed in range(seeds):
        est = exponential.until(0.2, start=512, seed=seed)
        low, high = est.confidence_interval().grad["scale"]
        covered += low <= math.e <= high
        looks.add(est.stopping.looks)
    assert len(looks) > 1  # the error decides
    assert covered >= 0.95 * seeds - 3 * math.sqrt(0.95 * 0.05 * seeds)


@pytest.mark.parametrize("norm", ["max", "l2"])
@pytest.mark.parametrize("of", ["value", "grad", "all", ["loc"], ["value", "scale"]])
def test_each_part_is_within_its_tolerance(exponential, of, norm):
    est = exponential.until(0.1, atol=0.05, of=of, norm=norm, start=START)
    ends = est.confidence_interval()
    known = {"value": [ends.value], "grad": [*ends.grad.values()], **{name: [x] for name, x in ends.grad.items()}}
    numbers = {"value": [est.value], "grad": [*est.grad.values()], **{name: [x] for name, x in est.grad.items()}}
    measure = np.max if norm == "max" else np.linalg.norm
    parts = ["value", "grad"] if of == "all" else [of] if isinstance(of, str) else of
    ratios = {part: measure(halves(known[part])) / (0.1 * measure(np.abs(numbers[part])) + 0.05) for part in parts}
    assert est.stopping.part == max(ratios, key=ratios.get)
    assert est.stopping.error / est.stopping.tolerance == pytest.approx(max(ratios.values()), rel=1e-9)
    assert max(ratios.values()) <= 1
    assert est.stopping.rule.parts == tuple(parts)


def test_a_limit_of_draws_ends_the_run_at_a_look_and_says_so(exponential):
    with pytest.warns(
        mg.ToleranceWarning, match=r"after 512 draws .* limit max_draws=1,000; it would take about"
    ) as had:
        est = exponential.until(1e-4, start=START, max_draws=1000)
    assert had[0].filename == __file__
    assert (est.n, est.stopping.reason, est.stopping.reached) == (512, "max_draws", False)
    assert "is not within the tolerance" in str(est)


def test_a_limit_of_time_ends_the_run_at_a_look_and_says_so(exponential):
    with pytest.warns(mg.ToleranceWarning, match="max_seconds=0"):
        est = exponential.until(1e-4, start=START, max_seconds=0)
    assert (est.n, est.stopping.reason, est.stopping.looks) == (START, "max_seconds", 1)


@pytest.mark.parametrize(("limit", "looks"), [(0.9, 1), (2.0, 2), (3.9, 2), (4.0, 3), (7.9, 3)])
def test_a_run_ends_at_the_look_from_which_the_next_is_beyond_the_time(exponential, limit, looks):
    now = [0.0]

    def over(call):
        seconds = call.n / START  # so the looks are after 1, 2, 4 ... seconds
        now[0] += seconds
        return replace(exponential(call.n, call.seed, first=call.first), seconds=seconds)

    rule = StoppingRule(rtol=1e-6, start=START, max_seconds=limit)
    with pytest.warns(mg.ToleranceWarning, match=f"at the limit max_seconds={limit:g};"):
        est = until(over, exponential.looks(rule), {"": True, "loc": True, "scale": True}, clock=lambda: now[0])
    assert est.stopping.looks == looks


def test_a_gradient_of_zero_needs_an_absolute_tolerance():
    estimator = mg.Estimator(lambda z: z**2, mg.Normal(0.0, 1.0), **AS_TO)
    with pytest.warns(mg.ToleranceWarning, match=r"loc cannot be told from zero, .*rtol=0\.01: give atol="):
        estimator.until(0.01, of=["loc"], max_draws=1 << 13)
    est = estimator.until(0.01, of=["loc"], atol=0.2)
    assert est.stopping.reached
    assert abs(est.grad["loc"]) < 0.2


def test_what_never_happened_is_not_taken_for_zero_unless_the_tolerance_is_absolute():
    estimator = mg.Estimator(lambda z: np.where(z > 9, 1.0, 0.0), mg.Normal(), method="score", **AS_TO)
    with pytest.warns(mg.ToleranceWarning, match=r"grad is zero in all 4,096 draws, .*give atol="):
        assert not estimator.until(0.1, max_draws=4096).stopping.reached
    assert estimator.until(0.1, atol=0.01).stopping.reached


def test_what_no_draw_changes_is_exact_and_what_draws_leave_alone_is_accurate():
    linear = mg.Estimator(lambda z: 2 * z, mg.Normal(), **AS_TO).until(1e-9, of=["loc"], start=2)
    assert (linear.n, linear.grad["loc"], linear.stopping.error) == (2, 2.0, 0.0)
    shifted = mg.Estimator(lambda z, *, tau: 2 * z + 0 * tau, mg.Normal(), params={"tau": 1.0}, **AS_TO)
    assert shifted.until(1e-9, of=["tau"]).stopping.reached  # exactly zero, without an absolute tolerance
    constant = mg.Estimator(lambda z: np.sign(z) ** 2, mg.Normal(), wrt=(), **AS_TO).until(1e-9, of="value")
    assert (constant.n, constant.value, constant.stopping.reached) == (4096, 1.0, True)


def test_components_that_are_not_finite_end_the_run():
    f, q = (lambda z: np.log(z)), mg.Normal(1.0, 1.0)
    with pytest.warns(mg.ToleranceWarning, match='not finite, which more draws do not change; see nonfinite="omit"'):
        est = mg.Estimator(f, q, **AS_TO).until(0.1)
    assert (est.stopping.reason, est.stopping.looks) == ("nonfinite", 1)
    assert not est.stopping.reached
    assert mg.Estimator(f, q, nonfinite="omit", **AS_TO).until(0.5, of="value", start=START).stopping.reached
    with pytest.raises(mg.NonFiniteError):
        mg.Estimator(f, q, nonfinite="raise", **AS_TO).until(0.1)


def test_groups_of_draws_are_whole():
    estimator = mg.Estimator(
        lambda z: np.exp(z), mg.Normal(0.5, 0.2), method="score", baseline="leave_one_out", k=5, **AS_TO
    )
    est = estimator.until(0.5)
    assert est.n == 1024 * 5
    with pytest.raises(mg.ParameterError, match=r"^start: given 64; accepted: a multiple of 5"):
        estimator.until(0.5, start=64)
    assert estimator.until(0.5, start=640, seed=1).n % 640 == 0


def test_new_parameters_first_draws_and_a_cotangent():
    estimator = mg.Estimator(lambda z: np.stack([z, z**2]), mg.Normal(1.0, 0.5), cotangent=[1.0, 0.0], **AS_TO)
    est = estimator.until(0.1, start=START, first=128, cotangent=[0.0, 1.0], loc=2.0, of="all")
    assert est.grad["loc"] == pytest.approx(4.0, abs=4 * est.grad_stderr["loc"])
    assert est.ranges == ((128, 128 + est.n),)
    assert est.value == pytest.approx(estimator(est.n, first=128, loc=2.0).value, rel=1e-12)


def test_a_batch_goes_on_until_its_least_accurate_row(rows):
    est = rows.until(0.1, of="all", start=START)
    assert est.stopping.part.endswith("of row 2")
    same = merged(rows, est.stopping.looks)
    assert np.array_equal(est.moments.means, same.moments.means)
    ends = est.confidence_interval()
    for (low, high), x in [(ends.value, est.value), (ends.grad["loc"], est.grad["loc"])]:
        assert (0.5 * (high - low) <= 0.1 * np.maximum(np.abs(x), est.grad["scale"])).all()
    assert rows.until(0.1, of=["tau"], start=START).stopping.part == "tau"
    assert rows.until(0.5, of="value", rows=[4, 5, 6], start=START, tau=0.5).rows.tolist() == [4, 5, 6]


def test_what_a_batch_lacks(rows):
    q = mg.Normal(np.zeros(3), 1.0, batch_ndim=1)
    without = mg.Estimator(lambda z, *, w: w * z, q, params={"w": 1.0}, errors=False, **AS_TO)
    with pytest.raises(mg.ParameterError, match=r"^of: given 'grad', .*no errors; accepted: .*errors=True"):
        without.until(0.1)
    with pytest.raises(mg.ParameterError, match=r"^max_draws: .*4,096.* to 8,589,934,592"):
        rows.until(0.1, max_draws=1 << 40)


def test_common_noise(rows):
    q = mg.Normal(np.array([0.5, 0.6]), 0.5, batch_ndim=1)
    estimator = mg.Estimator(lambda z: np.exp(z), q, common_noise=True, **AS_TO)
    est = estimator.until(0.1, of="value", start=START)
    assert est.differences.mean.tolist() == merged(estimator, est.stopping.looks).differences.mean.tolist()


@pytest.mark.parametrize("kind", ["one", "batch"])
def test_files_and_pickles_hold_how_a_run_ended(exponential, rows, kind):
    est = {"one": exponential, "batch": rows}[kind].until(0.5, of="all", start=START, max_seconds=100)
    for again in (type(est).from_json(est.to_json()), pickle.loads(pickle.dumps(est))):
        assert again.stopping == est.stopping
        assert again.to_json() == est.to_json()
    plain = {"one": exponential, "batch": rows}[kind](START)
    assert "stopping" not in plain.to_dict()
    assert type(est).from_json(plain.to_json()).stopping is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("reason", "tired"), ("looks", 0), ("error", -1.0), ("part", 3), ("rule", {"rtol": -1.0}), ("tolerance", "one")],
)
def test_a_damaged_record_is_refused(exponential, field, value):
    fields = exponential.until(0.5, start=START).to_dict()
    fields["stopping"][field] = value
    with pytest.raises(mg.ParameterError, match=rf"^stopping\.{field}"):
        mg.Estimate.from_dict(fields)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rtol": 0.0}, r"^rtol, atol: given 0 and 0"),
        ({"rtol": -1}, r"^rtol: given -1"),
        ({"rtol": math.nan}, r"^rtol: given nan"),
        ({"atol": "small"}, r"^atol: given 'small'"),
        ({"of": "mean"}, r"^of: given 'mean'; accepted: 'grad', 'value', 'all', or any of loc, scale"),
        ({"of": []}, r"^of: given \[\]; accepted: 'value', 'grad', 'all'"),
        ({"norm": "l1"}, r"^norm: given 'l1'; accepted: 'max' or 'l2'"),
        ({"confidence": 1.0}, r"^confidence: given 1.0"),
        ({"start": 1}, r"^start: given 1; "),
        ({"max_draws": 1000}, r"^max_draws: given 1,000; accepted: from 4,096, the first look \(start=\)"),
        ({"max_seconds": -1}, r"^max_seconds: given -1"),
        ({"seed": -1}, r"^seed: given -1"),
        ({"first": -1}, r"^first: given -1"),
        ({"rows": [1]}, r"^rows: given \[1\] without a batch"),
        ({"loc": "far"}, r"^loc: given 'far'"),
    ],
)
def test_what_is_refused(exponential, given, message):
    with pytest.raises(mg.ParameterError, match=message):
        exponential.until(**given)


def test_without_a_gradient_there_is_the_value(exponential):
    estimator = mg.Estimator(lambda z: np.exp(z), mg.Normal(), wrt=(), **AS_TO)
    with pytest.raises(mg.ParameterError, match=r"^of: given 'grad'; accepted: 'value', as there is no gradient"):
        estimator.until(0.1)
    assert estimator.until(0.1, of="value").stopping.reached


def test_progress_counts_the_draws_of_all_looks(exponential, rows, capsys):
    counts = []
    est = exponential.until(0.1, start=START, progress=counts.append)
    assert counts == sorted(counts)
    assert {START, 2 * START, est.n} <= {*counts}
    counts.clear()
    of_rows = rows.until(0.5, start=START, progress=counts.append)
    assert counts[-1] == 3 * of_rows.n
    exponential.until(0.1, start=START, progress=True)
    assert "tolerance" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["one", "batch"])
def test_a_run_goes_on_from_any_state_with_the_same_bits(exponential, rows, kind):
    estimator, states = {"one": exponential, "batch": rows}[kind], []
    rule = StoppingRule(rtol=0.02, of="value", start=1 << 12)
    est = estimator.run_until(rule, 5, watch=states.append)
    assert len(states) > est.stopping.looks
    for state in states[:: max(len(states) // 6, 1)]:
        again = estimator.run_until(rule, 5, resume=state)
        assert again.to_dict()["moments"] == est.to_dict()["moments"]
        assert again.stopping == est.stopping
    with pytest.raises(mg.ParameterError, match=r"^resume: given look 2; accepted: a look"):
        estimator.run_until(rule, 5, resume=UntilState(estimator(START), 2, None))


@pytest.fixture(scope="module")
def points():
    return mg.Estimator(lambda z: np.exp(z), mg.Normal(0.5, 1.0), sampler="sobol", replicates=12, **AS_TO)


def test_looks_at_a_point_set_are_at_more_points_of_the_same_replicates(points):
    est = points.until(0.005, seed=3)
    assert (est.stopping.rule.start, est.stopping.looks > 1, est.stopping.reached) == (12 * 512, True, True)
    assert est.n == 12 * 512 << (est.stopping.looks - 1)
    assert est.ranges == ((0, est.n),)
    whole = points(est.n, 3)
    assert est.value == pytest.approx(whole.value, rel=1e-14)
    assert est.stderr == pytest.approx(whole.stderr, rel=1e-9)
    assert est.stopping.error == pytest.approx(halves(whole.confidence_interval(0.975).grad.values()).max(), rel=1e-9)


def test_a_run_over_points_goes_on_from_any_state_and_reports_its_draws(points):
    rule, states, counts = StoppingRule(rtol=0.02, start=12 * 64), [], []
    est = points.run_until(rule, 5, watch=states.append)
    for state in states[:: max(len(states) // 4, 1)]:
        assert (
            points.run_until(rule, 5, resume=state).to_json().split("seconds")[0] == est.to_json().split("seconds")[0]
        )
    assert points.until(0.02, start=12 * 64, seed=5, progress=counts.append).value == est.value
    assert counts == sorted(counts)
    assert counts[-1] == est.n


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": 100}, r"^start: given 100; accepted: 96 or 192: 12 replicates"),
        ({"first": 6144}, r"^first: given 6,144 with sampler 'sobol'; accepted: 0"),
    ],
)
def test_what_a_point_set_refuses(points, given, message):
    with pytest.raises(mg.ParameterError, match=message):
        points.until(0.1, **given)


def test_a_batch_of_points_and_one_without_rows():
    rows = mg.Normal(np.zeros((2, 1)), 1.0, batch_ndim=1)
    made = mg.Estimator(lambda z: np.exp(z[0]), rows, sampler="sobol", backend="numpy")
    with pytest.raises(mg.ParameterError, match=r"^sampler: given 'sobol' for a batch that runs until .* 'philox'"):
        made.until(0.1)
    with pytest.raises(mg.MergeError, match=r"of a batch over the same replicates: .* \(first_replicate=\)"):
        made(64).merge(made(64, first=64))
    assert made(64).merge(made(64, first_replicate=16)).n == 128
    none = mg.Normal(np.zeros((0, 1)), 1.0, batch_ndim=1)
    est = mg.Estimator(lambda z: np.exp(z[0]), none, backend="numpy").until(0.1, of="all")
    assert est.stopping.reached
    assert (est.value.shape, est.n) == ((0,), 4096)
