"""Estimates: shaped like the parameters, exact in files, merged only where that makes sense, readable."""

import json
import math
import pickle

import numpy as np
import pytest
from scipy.stats import t as student_t

from mcgrad.errors import MergeError, ParameterError
from mcgrad.moments import Moments
from mcgrad.results import format
from mcgrad.results.components import Components
from mcgrad.results.estimate import Estimate
from mcgrad.results.interval import ends, relative_error

SHAPES = {"a.loc": (2, 2), "a.scale": (), "tau": (1,)}
X = np.random.default_rng(0).standard_normal((7, 1000)) + np.arange(7)[:, None]


def make(first=0, stop=1000, x=X, shapes=SHAPES, **changes):
    given = {"seed": 3, "dtype": "float32", "backend": "cpu", "seconds": 0.25, "problem": "p"}
    moments, ranges = Moments.of(x[:, first:stop]), ((first, stop),)
    return Estimate(moments, Components(shapes), **{**given, "ranges": ranges, **changes})


def test_results_have_the_shapes_of_the_parameters():
    est = make()
    mean, error = X.mean(axis=1), X.std(axis=1, ddof=1) / math.sqrt(1000)
    assert (est.value, est.stderr) == (pytest.approx(mean[0]), pytest.approx(error[0]))
    np.testing.assert_allclose(est.grad["a"]["loc"], mean[1:5].reshape(2, 2))
    np.testing.assert_allclose(est.grad_stderr["a"]["loc"], error[1:5].reshape(2, 2))
    assert type(est.grad["a"]["scale"]) is float
    assert est.grad["tau"].shape == (1,)
    assert (est.n, est.first, est.ranges, est.draws_per_second) == (1000, 0, ((0, 1000),), 4000.0)
    assert make(x=X[:1], shapes={}).grad == {}


def test_estimates_do_not_change():
    est = make()
    with pytest.raises(AttributeError, match="cannot assign"):
        est.n = 3
    before = est.to_json()
    for given in (est.grad, est.grad_stderr, est.confidence_interval().grad):
        given["a"]["loc"] *= 2 if isinstance(given["a"]["loc"], np.ndarray) else 1
        given["tau"] = None
    est.grad["tau"] += 1.0
    assert est.to_json() == before
    np.testing.assert_array_equal(est.grad["a"]["loc"], Estimate.from_json(before).grad["a"]["loc"])


def test_confidence_interval_covers_what_it_should():
    est = make()
    z = student_t.ppf(0.95, 999)
    interval = est.confidence_interval(0.9)
    assert interval.level == 0.9
    assert interval.value == pytest.approx((est.value - z * est.stderr, est.value + z * est.stderr))
    low, high = interval.grad["a"]["loc"]
    np.testing.assert_allclose(high - low, 2 * z * est.grad_stderr["a"]["loc"])
    np.testing.assert_allclose((high + low) / 2, est.grad["a"]["loc"])
    assert est.confidence_interval().value[1] == pytest.approx(est.value + 1.962341461 * est.stderr)


def test_the_interval_covers_as_often_as_it_says():
    x = np.random.default_rng(1).standard_normal((2000, 400))
    estimates = [make(x=row[None], shapes={}, stop=400) for row in x]
    covered = sum(low <= 0 <= high for low, high in (est.confidence_interval(0.8).value for est in estimates))
    assert abs(covered - 1600) / math.sqrt(2000 * 0.8 * 0.2) < 4  # false alarm: 6e-5


@pytest.mark.parametrize("n", [2, 3, 5])
def test_intervals_of_few_normal_draws_cover_as_often_as_they_say(n):
    """The number that covers is binomial; a normal interval of 2 draws covers in 71%."""
    x = np.random.default_rng(n).standard_normal((4000, n))
    found = [make(x=row[None], shapes={}, stop=n).confidence_interval().value for row in x]
    covered = sum(low <= 0 <= high for low, high in found)
    assert abs(covered - 3800) / math.sqrt(4000 * 0.95 * 0.05) < 4.5


def test_intervals_by_degrees_of_freedom_that_differ_from_row_to_row_of_a_batch():
    degrees, error = np.array([1, 2, 30, 10**12, 0]), np.ones((5, 3))
    low, high = ends(0.95, degrees, {"loc": 0 * error}, {"loc": error})["loc"]
    np.testing.assert_allclose(high[:, 2], [12.706205, 4.302653, 2.042272, 1.959964, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(low, -high)


def test_the_relative_error_of_a_standard_error():
    """By the moments of the deviation of 4000 samples of 3 draws, whose own errors are about 1%."""
    deviations = np.random.default_rng(3).standard_normal((4000, 3)).std(axis=1, ddof=1)
    assert relative_error(2) == pytest.approx(deviations.std() / deviations.mean(), rel=0.05)
    assert relative_error(1) == pytest.approx(math.sqrt(math.pi / 2 - 1))
    assert relative_error(10**4) == pytest.approx(math.sqrt(0.5e-4), rel=1e-3)


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, math.nan, True, "0.95", None])
def test_levels_that_are_refused(level):
    with pytest.raises(ParameterError, match=r"level: given .*; accepted: a number between 0 and 1"):
        make().confidence_interval(level)


def test_merged_ranges_are_one_range():
    whole, parts = make(), [make(0, 300), make(300, 450), make(450, 1000)]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert (merged.n, merged.ranges, merged.seconds) == (1000, ((0, 1000),), 0.75)
    assert (merged.value, merged.stderr) == (pytest.approx(whole.value), pytest.approx(whole.stderr))
    np.testing.assert_allclose(merged.grad["a"]["loc"], whole.grad["a"]["loc"], rtol=1e-12)
    assert parts[0].merge(parts[2]).ranges == ((0, 300), (450, 1000))
    assert parts[0].merge(parts[2]).to_json() == parts[2].merge(parts[0]).to_json()
    assert make(0, 10, backend="numpy").merge(make(10, 20)).backend == "cpu+numpy"
    assert make(0, 10, nonfinite=2).merge(make(10, 20, nonfinite=1)).nonfinite == 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make(400, 600), "both estimates hold the draws 400 to 499"),
        (lambda: make(0, 1000), "both estimates hold the draws 0 to 499"),
        (lambda: make(500, 600, seed=4), "different seeds: 3 and 4"),
        (lambda: make(500, 600, dtype="float64"), "different dtypes: float32 and float64"),
        (lambda: make(500, 600, problem="q"), "different problems"),
        (lambda: make(500, 600, omitted=True), "different treatments of non-finite draws: False and True"),
        (lambda: make(500, 600, shapes={"tau": (6,)}), "different parameters"),
        (lambda: 3, "other: given 3; accepted: an Estimate"),
    ],
)
def test_merges_that_are_refused(other, message):
    with pytest.raises(MergeError, match=message):
        make(0, 500).merge(other())


def test_overlap_is_found_in_a_gap_too():
    gap = make(0, 100).merge(make(200, 300))
    assert gap.merge(make(100, 200)).ranges == ((0, 300),)
    with pytest.raises(MergeError, match="hold the draws 200 to 219"):
        gap.merge(make(120, 220))


def spoiled():
    x = X.copy()
    x[0, 5], x[2, 7], x[6, 999] = np.nan, np.inf, -np.inf
    return make(x=x, nonfinite=3)


def test_spoiled_components_are_nan_and_the_others_are_not():
    est = spoiled()
    assert math.isnan(est.value)
    assert math.isnan(est.stderr)
    assert np.isnan(est.grad["a"]["loc"]).tolist() == [[False, True], [False, False]]
    assert np.isnan(est.grad_stderr["a"]["loc"]).tolist() == [[False, True], [False, False]]
    assert np.isnan(est.grad["tau"]).all()


@pytest.mark.parametrize("est", [make(first=10), spoiled(), make(0, 5).merge(make(90, 95)), make(x=X[:1], shapes={})])
def test_files_are_exact(est):
    text = est.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    for again in (
        Estimate.from_json(text),
        Estimate.from_dict(est.to_dict()),
        pickle.loads(pickle.dumps(est)),
    ):
        assert again.to_json() == text
        assert str(again) == str(est)
        np.testing.assert_array_equal(again.moments.m2, est.moments.m2)
        np.testing.assert_equal(again.grad, est.grad)
        assert again.merge(shifted(est)).n == 2 * est.n


def shifted(est):
    """Return `est` as if it came from later draws."""
    fields = est.to_dict()
    fields["ranges"] = [[start + 10_000, stop + 10_000] for start, stop in fields["ranges"]]
    return Estimate.from_dict(fields)


def test_large_seeds_and_awkward_floats_survive():
    x = np.array([[0.1, 1e-320, -0.0], [1e308, 1e-308, 2**0.5]])
    moments = Moments(3, x[:, 0], x[:, 2])
    est = Estimate(moments, Components({"a": ()}), ((0, 3),), 2**64 - 1, "float64", "cpu", seconds=0.1)
    again = Estimate.from_json(est.to_json())
    assert again.moments.m2.tobytes() == est.moments.m2.tobytes()
    assert again.seed == 2**64 - 1


@pytest.mark.parametrize(
    "change",
    [{"format": "other"}, {"moments": {}}, {"shapes": {"a": [3]}}, {"ranges": 3}, {"seconds": None}],
)
def test_files_that_are_refused(change):
    with pytest.raises(ParameterError):
        Estimate.from_dict({**make().to_dict(), **change})
    with pytest.raises(ParameterError, match="format"):
        Estimate.from_dict([])


def test_the_table_reads_well():
    x = np.array([[1.0, 1.5, 2.0, 1.5], [-0.02, 0.0, 0.02, 0.0], [5.0] * 4])
    est = make(stop=4, x=x, shapes={"loc": (2,)}, seconds=0.002)
    assert str(est).splitlines() == [
        "        estimate  std. error       95% interval",
        "value       1.50        0.20       [0.85, 2.15]",
        "loc[0]    0.0000      0.0082  [-0.0260, 0.0260]",
        "loc[1]         5           0",
        "",
        "4 draws, float32, cpu, 2 ms (2e+03 draws/s), seed 3",
        "Standard errors of 4 draws have 3 degrees of freedom: their own relative error is 42%.",
    ]
    assert repr(est) == "Estimate(value=1.5, stderr=0.2, n=4, grad={loc})"


def test_a_long_table_leaves_out_the_middle():
    x = np.random.default_rng(0).standard_normal((102, 50))
    lines = str(make(x=x, stop=50, shapes={"loc": (), "scale_tril": (10, 10)})).splitlines()
    assert len(lines) == 24
    assert [line.split()[0] for line in lines[1:5]] == ["value", "loc", "scale_tril[0,0]", "scale_tril[0,1]"]
    assert lines[11] == "... 82 more"
    assert lines[21].startswith("scale_tril[9,9]")


def test_the_table_says_why_there_is_nan():
    assert str(spoiled()).splitlines()[-1] == (
        "3 draws had a value or gradient that is not finite; the components affected are NaN. "
        'nonfinite="omit" leaves such draws out.'
    )
    assert str(make(nonfinite=1, omitted=True)).splitlines()[-1] == (
        "1 draw had a value or gradient that is not finite and was left out: the estimate is of the other draws only."
    )


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e-5, 1.0, 1e8, 1e200, 1.7e308])
@pytest.mark.parametrize("mean", [0.0, -1.0, 1e6])
def test_any_magnitude_prints(scale, mean):
    with np.errstate(over="ignore"):
        moments = Moments(100, np.array([mean * scale]), np.array([scale]) ** 2 * 99)
    est = Estimate(moments, Components({}), ((0, 100),), seed=0, dtype="float64", backend="cpu", seconds=0.0)
    assert "value" in str(est)
    assert max(map(len, str(est).splitlines())) < 120


@pytest.mark.parametrize(
    ("mean", "error", "printed"),
    [
        (0.0, 0.0, ["0", "0"]),
        (-0.0, 0.0, ["0", "0"]),
        (1.0, 0.0, ["1", "0"]),
        (-2.5, 0.0, ["-2.5", "0"]),
        (1 / 3, 0.0, ["0.3333333333", "0"]),
        (1e-300, 0.0, ["1e-300", "0"]),
        (0.0, 0.25, ["0.00", "0.25", "[-0.49,", "0.49]"]),
        (-0.0001, 0.25, ["0.00", "0.25", "[-0.49,", "0.49]"]),
        (1.0, 1e-18, ["1", "1e-18"]),  # less than the last digit of the estimate
        (1e15, 0.03, ["1000000000000000", "0.03"]),
        (6.1e-9, 5e-11, ["6.100e-09", "5.0e-11", "[6.002e-09,", "6.198e-09]"]),
        (2e-7, 5e-5, ["0.000000", "0.000050", "[-0.000098,", "0.000098]"]),
        (math.nan, math.nan, ["nan", "nan"]),
        (3.0, math.inf, ["3", "inf"]),
    ],
)
def test_numbers_print_plainly(mean, error, printed):
    x = np.array([[mean], [0.5]])
    _, row, _ = format.lines(x[:, 0], np.array([error, 0.1]), 10**6, Components({"a": ()}))
    assert row.split()[1:] == printed


def test_names_from_a_file_print_without_commands_for_the_terminal():
    est = make(x=X[:2], shapes={"a\x1b]0;title\x07": ()}, choice="as\x1b[2J")
    again = Estimate.from_json(est.to_json())
    assert str(again) == str(est)
    assert "\x1b" not in str(est)
    assert r"a\x1b]0;title\x07" in str(est)
    assert r"(as\x1b[2J)" in str(est)
