"""Multilevel Monte Carlo: sums of levels with known means, rates, and the allocation of draws."""

import copy
import json
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import ndtr

import mcgrad as mg
from mcgrad.engine.allocation import allocation
from mcgrad.inputs.coupling import Coupling
from mcgrad.noise import philox
from mcgrad.results.rates import bias, falling

AS_TO = {"backend": "numpy", "dtype": "float64"}
SPOT, RATE, VOL = 1.0, 0.05, 0.2
MARKET = {"spot": SPOT, "vol": VOL}
LOC = 0.3


def increments(level):
    return mg.Normal(np.zeros(2**level), 1.0)


def euler(z, *, level, spot, vol):
    """The discounted payoff of a call, by 2^level steps of Euler's scheme."""
    h = 1.0 / 2**level
    end = spot * np.prod(1.0 + RATE * h + vol * np.sqrt(h) * z)
    return np.exp(-RATE) * np.maximum(end - 1.0, 0.0)


def milstein(z, *, level, spot, vol):
    h = 1.0 / 2**level
    w = np.sqrt(h) * z
    end = spot * np.prod(1.0 + RATE * h + vol * w + 0.5 * vol**2 * (w**2 - h))
    return np.exp(-RATE) * np.maximum(end - 1.0, 0.0)


def black_scholes():
    """Value, delta and vega of the call."""
    d = (math.log(SPOT) + RATE + 0.5 * VOL**2) / VOL
    density = math.exp(-0.5 * d**2) / math.sqrt(2 * math.pi)
    return np.array([SPOT * ndtr(d) - math.exp(-RATE) * ndtr(d - VOL), ndtr(d), SPOT * density])


def nested(z, *, level, k):
    """max(E[k x + y | x], 0), the inner mean over 2^level draws."""
    return np.maximum(k * z["x"] + np.mean(z["y"]), 0.0)


def inner(level):
    return mg.Joint(x=mg.Normal(LOC, 1.0), y=mg.Normal(np.zeros(2**level), 1.0))


def halves(z):
    return {"x": z["x"], "y": z["y"][::2]}, {"x": z["x"], "y": z["y"][1::2]}


def nested_mean(level):
    """E f at a level and its derivatives in k and x.loc, at k = 1; level -1 is nothing."""
    if level < 0:
        return np.zeros(3)
    s = math.sqrt(1 + 0.5**level)
    density, below = math.exp(-0.5 * (LOC / s) ** 2) / math.sqrt(2 * math.pi), ndtr(LOC / s)
    value = LOC * below + s * density
    return np.array([value, LOC * below + density / s, below])


@pytest.fixture(scope="module")
def calls():
    return mg.Multilevel(euler, increments, params=MARKET, **AS_TO)


@pytest.fixture(scope="module")
def smooth():
    return mg.Multilevel(milstein, increments, params=MARKET, wrt="vol", **AS_TO)


def test_the_mean_of_each_level_is_the_difference_of_two_closed_forms():
    wrt = ["k", "x.loc"]
    levels = mg.Multilevel(nested, inner, params={"k": 1.0}, wrt=wrt, coarsen=halves, **AS_TO)
    est = levels(rtol=0.02, seed=5, start=8192)
    assert est.reached
    assert [str(component) for component in est.components] == ["value", "x.loc", "k"]
    for i, level in enumerate(est.levels):
        exact = (nested_mean(i) - nested_mean(i - 1))[[0, 2, 1]]
        assert (np.abs(level.mean - exact) < 4.5 * level.stderr).all()
        assert np.allclose([*level.estimate.flat(["x.loc", "k"])], level.mean)
    total = nested_mean(len(est.levels) - 1)
    assert abs(est.value - total[0]) < 4.5 * est.stderr
    assert abs(est.grad["k"] - total[1]) < 4.5 * est.grad_stderr["k"]
    assert abs(est.grad["x"]["loc"] - total[2]) < 4.5 * est.grad_stderr["x"]["loc"]


def test_errors_against_black_scholes_are_within_the_tolerance_and_as_large_as_they_say(calls):
    seeds, exact, ratios, scores = 20, black_scholes(), [], []
    tolerances = 0.03 * np.array([exact[0], exact[1:].max(), exact[1:].max()])
    for seed in range(seeds):
        est = calls(rtol=0.03, seed=seed)
        assert est.reached
        error = est.mean - exact
        ratios.append(error / tolerances)
        scores.append(np.maximum(np.abs(error) - est.biases, 0.0) / est.noise)
    mean_square = np.mean(np.square(ratios), axis=0)
    assert (mean_square < 1 + 4 * math.sqrt(2 / seeds)).all()
    assert mean_square.max() > 0.1  # no more draws than were asked for
    assert (np.mean(np.square(scores), axis=0) < 1 + 4 * math.sqrt(2 / seeds)).all()


def test_intervals_have_the_bias_at_either_end(calls):
    est = calls(rtol=0.05, seed=1)
    low, high = est.confidence_interval().value
    assert (low + high) / 2 == pytest.approx(est.value)
    assert (high - low) / 2 == pytest.approx(1.96 * est.stderr + est.bias, rel=2e-3)
    assert set(est.confidence_interval().grad) == {"spot", "vol"}


@pytest.mark.parametrize(("scheme", "strong"), [("calls", 1.0), ("smooth", 2.0)])
def test_rates_are_those_of_the_schemes(scheme, strong, request):
    """Weak order 1, variances of order 1 (Euler) and 2 (Milstein), costs that double."""
    est = request.getfixturevalue(scheme)(rtol=0.5, start=2**15, min_level=5, seed=2)
    assert [level.n for level in est.levels] == [2**15] * 6
    assert abs(est.alpha["value"].value - 1.0) < 0.1 + 3 * est.alpha["value"].stderr
    assert abs(est.beta["value"].value - strong) < 0.35
    assert abs(est.gamma - 1.0) < 0.15


def test_the_cost_of_an_error_is_as_its_inverse_square_where_one_level_alone_costs_more_and_more(smooth):
    scaled, alone = [], []
    for rtol in (0.04, 0.01, 0.0025):
        est = smooth(rtol=rtol, of="value", seed=3, start=64)
        assert est.reached
        last = est.levels[-1]
        draws = float(last.fine.variance[0]) / (0.75 * (rtol * est.value) ** 2)
        scaled.append(est.cost * rtol**2)
        alone.append(draws * last.cost * rtol**2)
    assert max(scaled) < 2 * min(scaled)
    assert alone[2] > 4 * alone[0]
    assert est.cost < 0.2 * alone[2] / rtol**2


@pytest.mark.parametrize(("levels", "components"), [(2, 1), (4, 3), (6, 5), (5, 4)])
def test_allocations_have_the_least_cost(levels, components):
    random = np.random.default_rng(levels)
    variances = np.exp(random.normal(0, 2, (levels, components))) * 2.0 ** -np.arange(levels)[:, None]
    costs, targets = 2.0 ** np.arange(levels), np.exp(random.normal(0, 1, components)) / 100
    n = allocation(variances, costs, targets)
    assert ((variances / n[:, None]).sum(axis=0) / targets).max() == pytest.approx(1.0)
    limit = {"type": "ineq", "fun": lambda x: np.log(targets) - np.log((variances / np.exp(x)[:, None]).sum(axis=0))}
    best = minimize(lambda x: np.log(np.exp(x) @ costs), np.log(n) + 0.3, constraints=[limit], method="SLSQP")
    assert n @ costs == pytest.approx(math.exp(best.fun), rel=3e-3)


def bridged(z, *, level, spot, vol):
    """Milstein's scheme on a path of which the coarse path has the first half of the coordinates."""
    h = 1.0 / 2**level
    path = mg.paths.brownian(z, np.arange(1, 2**level + 1) * h)
    w = path - np.concatenate([np.zeros(1), path[:-1]])
    end = spot * np.prod(1.0 + RATE * h + vol * w + 0.5 * vol**2 * (w**2 - h))
    return np.exp(-RATE) * np.maximum(end - 1.0, 0.0)


def test_points_reach_the_same_error_at_less_cost():
    given = {"params": MARKET, "coarsen": lambda z: z[: len(z) // 2], "dtype": "float64", "backend": "numpy"}
    asked = {"rtol": 0.003, "of": "all", "start": 256, "seed": 3}
    points = mg.Multilevel(bridged, increments, sampler="sobol", **given)(**asked)
    assert points.reached
    doublings = [level.n / 256 for level in points.levels]
    assert all(math.log2(x).is_integer() for x in doublings)
    assert len(set(doublings)) > 1
    assert (np.abs(points.mean - black_scholes()) < 4.5 * points.noise + points.biases).all()
    errors = np.array([level.stderr for level in points.levels])
    assert np.allclose(points.noise, np.sqrt(np.square(errors).sum(axis=0)))
    low, high = points.confidence_interval().value
    assert 1.96 < ((high - low) / 2 - points.bias) / points.stderr < 2.14  # t of 15 degrees of freedom, or more
    draws = sum(np.square(errors[i]) @ [1, 0, 0] for i in range(len(errors)))
    alone = sum(np.sqrt(level.spread[0] * level.cost) for level in points.levels) ** 2 / draws
    assert points.cost < 0.5 * alone  # what independent draws cost at the least for the same error of the value
    assert str(mg.MultilevelEstimate.from_json(points.to_json())) == str(points)


def test_allocations_of_one_component_are_by_the_root_of_variance_over_cost():
    n = allocation(np.array([[4.0], [1.0], [0.0]]), np.array([1.0, 4.0, 8.0]), np.array([0.1]))
    assert np.allclose(n, [4 * 2 / 0.1, 4 * 0.5 / 0.1, 0.0])
    assert (allocation(np.zeros((2, 1)), np.ones(2), np.zeros(1)) == 0).all()
    assert np.isinf(allocation(np.ones((2, 1)), np.ones(2), np.zeros(1))).all()


def test_rates_and_bias_of_exact_powers():
    decay = 2.0 ** (-1.5 * np.arange(6))
    exact = np.array([3.0, -0.2])
    means = decay[:, None] * exact
    nothing = np.zeros((6, 2))
    assert falling(np.abs(means[:, 0]), nothing[:, 0]).value == pytest.approx(1.5)
    left = np.abs(exact) * 2.0 ** (-1.5 * np.arange(6, 60))[:, None]
    assert np.allclose(bias(means, nothing, 1.5), left.sum(axis=0))
    means[5] = 0.0  # by chance: the levels before count
    assert (bias(means, nothing, 1.5) > 0.5 * left.sum(axis=0)).all()


def test_a_rate_is_of_the_levels_that_are_not_noise():
    """Sizes that stay at the level of their noise would make a plain fit flat."""
    random = np.random.default_rng(1)
    errors = np.full(12, 1e-3)
    sizes = np.abs(2.0 ** -np.arange(12.0) + errors * random.normal(size=12))
    rate = falling(sizes, errors)
    assert abs(rate.value - 1.0) < 0.2
    assert 0.5 <= rate.low < rate.value


def test_default_coarsening_keeps_the_path():
    random = np.random.default_rng(0)

    def end(z, *, level):
        return np.sum(z["w"], axis=0) / np.sqrt(len(z["w"])) + z["x"]

    def q(level, unit=1.0):
        return mg.Joint(w=mg.Normal(np.zeros((3 * 4**level, 2)), unit), x=mg.Normal(0.5, 1.0))

    z = {"w": random.normal(size=(48, 2)), "x": random.normal()}
    assert np.allclose(Coupling(end, q).difference(2)(z), 0.0)
    assert np.abs(Coupling(end, q).difference(0)({"w": z["w"][:3], "x": 1.0}) - 1.0).min() > 0.01

    def total(z, *, level):
        return np.sum(z)

    scaled = Coupling(total, lambda level: mg.Normal(np.zeros(2**level), np.sqrt(0.5**level)))
    assert np.allclose(scaled.difference(3)(random.normal(size=8)), 0.0)  # increments, in their own unit
    unscaled = Coupling(total, increments)
    assert np.abs(unscaled.difference(3)(random.normal(size=8))) > 0.01


def test_levels_of_one_distribution():
    """Partial sums of exp's series: E exp(a z) = exp(a^2 / 2)."""

    def series(z, *, level, a):
        return sum((a * z) ** j / math.factorial(j) for j in range(2 * level + 2))

    est = mg.mlmc(series, mg.Normal(0.0, 1.0), rtol=0.01, params={"a": 0.5}, alpha=2.0, seed=4, **AS_TO)
    exact = math.exp(0.125)
    assert est.reached
    assert abs(est.value - exact) < 4 * est.stderr + est.bias
    assert abs(est.grad["a"] - 0.5 * exact) < 4 * est.grad_stderr["a"] + est.grad_bias["a"]


def test_values_that_are_dicts_of_arrays_and_parameters_that_are_arrays():
    def f(z, *, level, a):
        x = z * (1.0 + 0.5**level)
        return {"m": a * np.sum(x), "v": a[0] * x[:2] ** 2}

    given = {"params": {"a": np.array([1.0, 2.0])}, **AS_TO}
    est = mg.mlmc(f, mg.Normal(np.ones(3), 0.1), rtol=0.02, **given)
    assert est.value["m"].shape == (2,)
    assert est.grad["a"]["v"].shape == est.grad_stderr["a"]["v"].shape == est.grad_bias["a"]["v"].shape == (2, 2)
    assert np.abs(est.value["m"] - [3.0, 6.0]).max() < 0.02 * 6
    whole = mg.mlmc(f, mg.Normal(np.ones(3), 0.1), rtol=0.02, cotangent={"m": [1.0, 0.0], "v": [0.0, 0.0]}, **given)
    assert whole.grad["a"] == pytest.approx([3.0, 0.0], abs=0.1)


@pytest.mark.parametrize(
    "how",
    [
        {"method": "score", "wrt": "x.loc", "baseline": "mean"},
        {"method": "score", "wrt": "x.loc", "baseline": "leave_one_out", "k": 4},
        {"antithetic": True},
        {"control": "linear"},
    ],
    ids=str,
)
def test_ways_to_estimate_a_gradient(how):
    est = mg.mlmc(nested, inner, rtol=0.05, params={"k": 1.0}, coarsen=halves, seed=7, **AS_TO, **how)
    exact = nested_mean(len(est.levels) - 1)
    assert abs(est.value - exact[0]) < 4.5 * est.stderr
    if "wrt" in how:
        assert abs(est.grad["x"]["loc"] - exact[2]) < 4.5 * est.grad_stderr["x"]["loc"]
    else:
        assert abs(est.grad["k"] - exact[1]) < 4.5 * est.grad_stderr["k"]


def test_bits_depend_on_no_threads_and_no_executor():
    def run(threads, **how):
        levels = mg.Multilevel(euler, increments, params=MARKET, wrt="vol", backend="cpu", threads=threads)
        found = levels(rtol=0.01, of="value", alpha=1.0, bias_share=0.8, seed=9, max_level=2, **how)
        return [(level.n, *level.mean, *level.stderr) for level in found.levels]

    one = run(1)
    assert max(n for n, *_ in one) > 10**5
    assert run(3) == one
    with ThreadPoolExecutor(2) as pool:
        assert run(1, executor=pool, require_same=True) == one


def test_a_multilevel_is_called_again_at_new_parameters(calls):
    again = calls(rtol=0.05, vol=0.3, seed=1)
    fresh = mg.mlmc(euler, increments, rtol=0.05, params={"spot": SPOT, "vol": 0.3}, seed=1, **AS_TO)
    assert (again.mean == fresh.mean).all()
    assert again.value != calls(rtol=0.05, seed=1).value
    assert len({level.estimate.seed for level in again.levels}) == len(again.levels)
    assert "program (float64)" in calls.explain(1)


def test_pickles_hold_functions_of_any_kind():
    levels = mg.Multilevel(
        lambda z, *, level, a: a * np.sum(z) ** 2 / 2**level,
        lambda level: mg.Normal(np.zeros(2**level), 1.0),
        params={"a": 2.0},
        cost=lambda level: 2.0**level,
        coarsen=lambda z: (z[::2] + z[1::2]) / np.sqrt(2.0),
        **AS_TO,
    )
    found = levels(rtol=0.1)
    for same in (pickle.loads(pickle.dumps(levels)), copy.deepcopy(levels)):
        assert (same(rtol=0.1).mean == found.mean).all()
    assert (pickle.loads(pickle.dumps(found)).errors == found.errors).all()
    assert [level.cost for level in found.levels] == [1.0, 2.0, 4.0]


def test_pilots_interpret_a_few_draws_at_once(calls, monkeypatch):
    program = calls.program(2)
    whole = program.pilot({}, 11, 1000)
    monkeypatch.setattr("mcgrad.engine.level_runs.NUMBERS", 100)
    parts = program.pilot({}, 11, 1000)
    for name in ("mean", "variance", "kurtosis"):
        assert np.allclose(getattr(whole, name), getattr(parts, name), rtol=1e-10)
    draws = np.array([Coupling(euler, increments).difference(2)(z, **MARKET) for z in increments(2).sample(1000, 11)])
    centred = draws - draws.mean()
    assert whole.variance[0] == pytest.approx(draws.var(ddof=1))
    assert whole.kurtosis[0] == pytest.approx(np.mean(centred**4) / np.mean(centred**2) ** 2)


def test_files(calls):
    est = calls(rtol=0.05, seed=1)
    same = mg.MultilevelEstimate.from_json(est.to_json())
    assert str(same) == str(est)
    assert same.to_dict().keys() == est.to_dict().keys()
    assert (same.biases == est.biases).all()
    fields = json.loads(est.to_json())
    fields["levels"][1]["cost"] = 1.0
    with pytest.raises(mg.ParameterError, match=r"^digest: "):
        mg.MultilevelEstimate.from_dict(fields)
    fields = est.to_dict()
    for change, name in [
        ({"format": "mcgrad.Estimate/1"}, "format"),
        ({"reason": "done"}, "reason"),
        ({"levels": []}, "levels"),
        ({"seed": -1}, "seed"),
        ({"rule": {}}, "rule"),
        ({"levels": [fields["levels"][0], {**fields["levels"][1], "cost": 0.0}]}, r"levels\[1\].cost"),
    ]:
        with pytest.raises(mg.ParameterError, match=f"^{name}: "):
            mg.MultilevelEstimate.from_dict({**fields, **change})


def test_it_prints_its_components_its_levels_and_how_it_ended(calls):
    text = str(calls(rtol=0.05, seed=1))
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["value", "spot", "vol"]
    assert "cost of one" in text
    assert "alpha" in text
    assert "is within the tolerance" in text


def test_progress_counts_the_draws_of_all_levels(calls, capsys):
    seen = []
    est = calls(rtol=0.02, seed=1, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == est.n
    assert len(seen) > len(est.levels)
    assert calls(rtol=0.02, seed=1, progress=True).mean.tolist() == est.mean.tolist()
    assert f"{est.n:,}/" in capsys.readouterr().err


def test_a_plot(calls, tmp_path):
    pytest.importorskip("matplotlib")
    figure = calls(rtol=0.05, seed=1).plot(tmp_path / "levels.png")
    means, *_, costs = figure.axes
    assert [text.get_text().partition(":")[0] for text in means.get_legend().get_texts()] == ["value", "spot", "vol"]
    assert costs.get_ylabel() == "cost"
    assert (tmp_path / "levels.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("coarsen", "said"),
    [
        (lambda z: z[::2] + z[1::2], "the levels do not add up: coarsen= does not make draws of the level before"),
        (lambda z: z[::2] * (-1.0) ** np.arange(len(z) // 2), "nearly the variance of independent draws"),
    ],
)
def test_levels_that_are_not_coupled_are_said(coarsen, said):
    def payoff(z, *, level):
        return np.maximum(np.sum(z) / np.sqrt(2.0**level), 0.0)

    with pytest.warns(mg.MultilevelWarning, match=said):
        mg.mlmc(payoff, increments, atol=2.0, coarsen=coarsen, min_level=3, **AS_TO)


@pytest.mark.parametrize(("seed", "sampler", "start"), [(15, "philox", 1024), (5, "sobol", 64)])
def test_a_level_that_met_no_event_gets_more_draws(seed, sampler, start):
    """None of the first draws of level 0 meets an event of one draw in 500, which is half of the mean."""

    def f(z, *, level, k):
        rare = np.where(z["u"] < 0.002, 500.0, 0.0)
        return k * (1.0 + rare + (z["x"] * 2.0**-level if level else 0.0))

    q = mg.Joint(u=mg.Uniform(0.0, 1.0), x=mg.Normal(0.0, 1.0))
    run = mg.Multilevel(f, q, params={"k": 1.0}, sampler=sampler, backend="numpy")
    assert run(rtol=1.0, start=start, seed=seed).levels[0].variance[0] == 0
    est = run(rtol=0.015, start=start, seed=seed)
    assert abs(est.value - 2.0) < 4 * est.stderr
    assert abs(est.grad["k"] - 2.0) < 4 * est.grad_stderr["k"]


def test_heavy_tails_are_said():
    def digital(z, *, level):
        h = 0.5**level
        return np.where(np.prod(1.0 + 0.2 * np.sqrt(h) * z) > 1.4, 1.0, 0.0)

    with pytest.warns(mg.MultilevelWarning, match=r"^value: its standard error .* a kurtosis of \d+ at level \d"):
        mg.mlmc(digital, increments, atol=0.05, rtol=0.0, start=64, **AS_TO)


def test_errors_of_a_level_name_the_line_of_f():
    def nothing(z, *, level):
        np.sum(z)

    def late(z, *, level):
        return np.sum(z) if level == 0 else np.sum(np.linalg.eig(np.outer(z, z))[0])

    with pytest.raises(mg.TraceError, match=r"nothing returns None.*\n.*test_mlmc.py.*\n *def nothing"):
        mg.mlmc(nothing, increments)
    with pytest.raises(mg.TraceError, match=r"eig.*\n.*test_mlmc.py.*\n *return np.sum\(z\) if level == 0"):
        mg.mlmc(late, increments)


def test_a_rule_names_a_parameter_that_there_is_not(calls):
    with pytest.raises(mg.ParameterError, match=r"^of: given 'rate'; accepted: .*vol"):
        calls(of="rate")
    assert replace(calls(rtol=0.05).rule, rtol=0.1).rtol == 0.1


def test_the_seeds_of_levels_are_those_of_the_contract(calls):
    """Words 1 and 0 of Philox in stream 10 * 2^16, component 0, group l."""
    est = calls(rtol=0.5, seed=3)
    words = [philox.words(3, 10 << 16, 0, np.array([level], np.uint64), 4) for level in range(len(est.levels))]
    assert [level.estimate.seed for level in est.levels] == [int(w[1][0]) << 32 | int(w[0][0]) for w in words]
