"""Second derivatives: closed forms, the way that is chosen, and refusals where a kink would make a silent zero."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import norm

import mcgrad as mg
from mcgrad import tree
from mcgrad.cli import main
from mcgrad.engine.per_draw import PerDraw
from mcgrad.results.files import is_whole, save

SPOT, VOL, STRIKE = 100.0, 0.2, 105.0
D2 = np.log(SPOT / STRIKE) / VOL - VOL / 2
D1 = D2 + VOL
MARKET = {"spot": SPOT, "vol": VOL}
CALL = {  # gamma, vanna, volga of Black and Scholes, one year, no interest
    "spot": {"spot": norm.pdf(D1) / (SPOT * VOL), "vol": -norm.pdf(D1) * D2 / VOL},
    "vol": {"spot": -norm.pdf(D1) * D2 / VOL, "vol": SPOT * norm.pdf(D1) * D1 * D2 / VOL},
}


def price(z, spot, vol):
    return spot * np.exp(vol * z - 0.5 * vol**2)


def call(z, *, spot, vol):
    return np.maximum(price(z, spot, vol) - STRIKE, 0.0)


def worst_z(found, want, error):
    """The largest deviation in standard errors; of exact numbers (no error) they have to be equal but for rounding."""
    found, want, error = (tree.flatten(x) for x in (found, want, error))
    assert found.keys() == want.keys()
    return max(np.max(np.abs(found[path] - want[path]) / (error[path] + 1e-9)) for path in found)


def agrees(est, want):
    assert worst_z(est.hessian, want, est.hessian_stderr) < 4.5


# --- smooth integrands -----------------------------------------------------------------------------------------------
def test_smooth_integrands_are_differentiated_twice_along_draws():
    a, loc, scale = 0.7, 0.3, 0.8
    est = mg.estimate(lambda z, *, a: np.exp(a * z), mg.Normal(loc, scale), 200_000, params={"a": a}, hessian="full")
    value = np.exp(a * loc + 0.5 * (a * scale) ** 2)
    slope, own = loc + a * scale**2, {"loc": a, "scale": a**2 * scale}
    exact = {
        "loc": {"loc": a**2 * value, "scale": a**3 * scale * value, "a": (1 + a * slope) * value},
        "scale": {"scale": (a**2 + own["scale"] ** 2) * value, "a": (2 * a * scale + own["scale"] * slope) * value},
        "a": {"a": (scale**2 + slope**2) * value},
    }
    agrees(est, {x: {y: exact[x].get(y) or exact[y][x] for y in exact} for x in exact})
    assert est.hessian_method == "pathwise twice"


def quadratic(z, *, A, b):
    return 0.5 * z @ A @ z + np.sum(b * z)


def test_blocks_diagonals_and_products_are_those_of_the_hessian():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 3))
    q, v = mg.Normal(np.zeros(3), np.ones(3)), {"loc": np.array([1.0, -2.0, 0.5]), "b": np.array([0.0, 1.0, 2.0])}
    given = {"params": {"b": np.ones(3)}, "data": {"A": A}}
    full = mg.estimate(quadratic, q, 4000, hessian="full", **given)
    assert full.hessian["loc"]["loc"] == pytest.approx((A + A.T) / 2, abs=1e-12)
    assert full.hessian["loc"]["b"] == pytest.approx(np.eye(3))
    assert full.hessian["b"]["scale"] == pytest.approx(full.hessian["scale"]["b"].T)
    diag = mg.estimate(quadratic, q, 4000, hessian="diag", **given)
    for path in ("loc", "scale", "b"):
        assert diag.hessian[path] == pytest.approx(np.diagonal(full.hessian[path][path]), abs=1e-12)
    estimator = mg.Estimator(quadratic, q, hvp={**v, "scale": np.zeros(3)}, **given)
    for direction in (v, {"scale": np.arange(3.0)}, {"loc": np.zeros(3)}):
        product = estimator(4000, hvp=direction).hvp
        for path, found in product.items():
            want = sum(full.hessian[path][other] @ x for other, x in direction.items())
            assert found == pytest.approx(want, abs=1e-12)


def test_some_parameters_and_pairs_of_them():
    estimator = mg.Estimator(call, mg.Normal(0.0, 1.0), params=MARKET, hessian=[("spot", "vol"), "vol"])
    found = estimator(1000).hessian
    assert {x: [*found[x]] for x in found} == {"vol": ["vol", "spot"], "spot": ["vol"]}
    assert found["spot"]["vol"] == found["vol"]["spot"]


def test_triangular_factors_have_zeros_above_the_diagonal():
    q = mg.MultivariateNormal(np.zeros(2), np.array([[1.0, 0.0], [0.5, 2.0]]))
    est = mg.estimate(lambda z: np.sum(z**2) + z[0] * z[1], q, 2000, wrt="scale_tril", hessian="full")
    found = est.hessian["scale_tril"]["scale_tril"]
    assert not found[0, 1].any()
    assert not found[:, :, 0, 1].any()
    assert found[1, 0, 0, 0] == pytest.approx(1.0, abs=0.2)  # E z0 z1 = l00 l10
    assert mg.estimate(lambda z: z @ z, q, 2000, hessian="diag").hessian["scale_tril"][0, 1] == 0.0


def test_values_with_several_numbers_have_a_hessian_each():
    f = lambda z: {"a": z**2, "b": np.exp(z)}  # noqa: E731
    est = mg.estimate(f, mg.Normal(np.zeros(2), np.ones(2)), 50_000, hessian=["loc"])
    assert est.hessian["loc"]["loc"]["a"].shape == (2, 2, 2)
    assert est.hessian["loc"]["loc"]["a"][0] == pytest.approx(np.diag([2.0, 0.0]))
    z = (est.hessian["loc"]["loc"]["b"][1, 1, 1] - np.exp(0.5)) / est.hessian_stderr["loc"]["loc"]["b"][1, 1, 1]
    assert abs(z) < 4.5
    est = mg.estimate(
        f, mg.Normal(np.zeros(2), np.ones(2)), 1000, hessian="full", cotangent={"a": [1.0, 2.0], "b": [0.0, 0.0]}
    )
    assert est.hessian["loc"]["loc"] == pytest.approx(np.diag([2.0, 4.0]))


def test_an_elbo_has_the_hessian_of_its_closed_form():
    y = np.array([0.8, 1.9, 1.1])
    q = mg.Normal(0.9, 0.5)
    log_joint = lambda z, *, y: -0.5 * z**2 - 0.5 * np.sum((y - z) ** 2)  # noqa: E731
    exact = {"loc": {"loc": -4.0, "scale": 0.0}, "scale": {"loc": 0.0, "scale": -4.0 - 1 / 0.5**2}}
    for method in ("pathwise", "stl", "score"):
        est = mg.estimate(mg.elbo(log_joint, q), n=50_000, data={"y": y}, method=method, hessian="full")
        agrees(est, exact)


# --- kinks and jumps -------------------------------------------------------------------------------------------------
def test_a_call_has_its_gamma_vanna_and_volga_by_differences_of_the_pathwise_gradient():
    est = mg.estimate(call, mg.Normal(0.0, 1.0), 400_000, params=MARKET, wrt=[*MARKET], hessian="full")
    agrees(est, CALL)
    assert est.hessian_method == "pathwise, then difference"


def test_a_kink_in_the_draw_is_differentiated_by_a_score_and_along_draws():
    q = mg.Normal(0.3, 1.2)
    est = mg.estimate(np.abs, q, 200_000, hessian="full")
    density = 2 * norm.pdf(0.0, 0.3, 1.2)
    by = -0.3 / 1.2  # of the density at zero, the kink moves with loc by 1, with scale by this
    agrees(
        est, {"loc": {"loc": density, "scale": density * by}, "scale": {"loc": density * by, "scale": density * by**2}}
    )
    assert est.hessian_method == "score, then pathwise"


def test_an_array_with_kinks_has_all_its_second_derivatives_by_every_way():
    """Gammas of calls at several strikes, by a normal price with a score, and in a parameter of f by differences."""
    strikes, loc, scale = np.array([-0.2, 0.3, 0.9]), 0.3, 1.2

    def calls(z, *, a, k):
        return np.maximum(a * z - k, 0.0)

    given = {"params": {"a": 1.0}, "data": {"k": strikes}, "wrt": ["loc", "a"]}
    est = mg.estimate(calls, mg.Normal(loc, scale), 100_000, hessian="full", **given)
    density = norm.pdf(strikes, loc, scale)
    exact = {"loc": {"loc": density}, "a": {"a": strikes**2 * density}}
    tail = norm.sf(strikes, loc, scale) + strikes * density
    exact["loc"]["a"] = exact["a"]["loc"] = tail
    assert {*est.hessian_method.values()} == {"score, then pathwise", "pathwise, then difference"}
    agrees(est, exact)
    twice = mg.estimate(calls, mg.Normal(loc, scale), 100_000, hessian=["loc"], hessian_method="score", **given)
    agrees(twice, {"loc": {"loc": density}})
    v = {"loc": 2.0, "a": -1.0}
    product = mg.estimate(calls, mg.Normal(loc, scale), 100_000, hvp=v, **given)
    want = {a: 2.0 * exact[a]["loc"] - exact[a]["a"] for a in ("loc", "a")}
    assert worst_z(product.hvp, want, product.hvp_stderr) < 4.5
    weights = np.array([1.0, -2.0, 0.5])
    one = mg.estimate(calls, mg.Normal(loc, scale), 100_000, hessian="diag", cotangent=weights, **given)
    agrees(one, {"loc": weights @ density, "a": weights @ (strikes**2 * density)})


def test_a_jump_is_differentiated_by_scores_alone():
    q, at = mg.Normal(0.3, 1.2), (0.3 - 0.5) / 1.2
    est = mg.estimate(lambda z: z > 0.5, q, 200_000, method="score", hessian="full")
    mixed = norm.pdf(at) * (at**2 - 1) / 1.2**2
    scale2 = norm.pdf(at) * (2 * at - at**3) / 1.2**2
    agrees(est, {"loc": {"loc": -at * norm.pdf(at) / 1.44, "scale": mixed}, "scale": {"loc": mixed, "scale": scale2}})
    assert est.hessian_method == "score twice"


@pytest.mark.filterwarnings("ignore::mcgrad.errors.JumpWarning")
def test_a_pathwise_gradient_that_is_zero_as_the_value_jumps_is_not_differentiated():
    q, at = mg.Normal(0.3, 1.2), (0.3 - 0.5) / 1.2
    digital = lambda z, *, a: a * (z > 0.5)  # noqa: E731
    est = mg.estimate(digital, q, 200_000, params={"a": 2.0}, hessian=["loc", "a"])
    assert est.hessian_method["loc, loc"] == "score twice"
    slope, bend = norm.pdf(at) / 1.2, -at * norm.pdf(at) / 1.44
    agrees(est, {"loc": {"loc": 2 * bend, "a": slope}, "a": {"loc": slope, "a": 0.0}})
    both = mg.estimate(lambda z: {"jumps": z > 0.5, "smooth": z**2}, q, 200_000, hessian=["loc"])
    found, error = (x["loc"]["loc"] for x in (both.hessian, both.hessian_stderr))
    assert abs(found["jumps"] - bend) < 4.5 * error["jumps"]
    assert abs(found["smooth"] - 2.0) < 4.5 * error["smooth"]
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: .* follows loc in jumps alone"):
        mg.Estimator(lambda z: z > 0.5, q, hessian=["loc"], hessian_method="pathwise")


def test_a_jump_beside_what_is_smooth_is_differentiated_by_scores():
    """The pathwise gradient, of which the jump is no part, is smooth."""
    q, at = mg.Normal(0.3, 1.2), 0.3 / 1.2
    bend = -at * norm.pdf(at) / 1.44
    f = lambda z, *, a: a * z**2 + (z > 0.0)  # noqa: E731
    est = mg.estimate(f, q, 200_000, params={"a": 0.5}, hessian=["loc", "a"], backend="numpy")
    assert est.hessian_method["loc, loc"] == "score twice"
    assert est.hessian_method["loc, a"] == "pathwise twice"  # by the derivative in a, which does not move the jump
    agrees(est, {"loc": {"loc": 1.0 + bend, "a": 2 * 0.3}, "a": {"loc": 2 * 0.3, "a": 0.0}})
    sawtooth = mg.estimate(lambda z: z - np.floor(z), q, 200_000, hessian=["loc"], backend="numpy")
    agrees(sawtooth, {"loc": {"loc": 0.0}})  # but for exp(-2 pi**2 1.2**2)
    assert sawtooth.hessian_method == "score twice"
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: .* the value jumps at File "):
        mg.Estimator(f, q, params={"a": 0.5}, hessian=["loc"], hessian_method="pathwise")


def test_discrete_draws_have_the_second_derivatives_of_scores():
    est = mg.estimate(lambda z: z**2, mg.Poisson(2.0), 200_000, method="score+mean", hessian="full")
    agrees(est, {"rate": {"rate": 2.0}})


def test_families_with_one_derivative_of_their_draws_are_served_by_scores():
    est = mg.estimate(lambda z: z**2, mg.Gamma(2.0, 1.5), 200_000, hessian="full")  # a (a + 1) / b^2
    mixed = -2 * 5 / 1.5**3
    agrees(
        est,
        {
            "concentration": {"concentration": 2 / 1.5**2, "rate": mixed},
            "rate": {"concentration": mixed, "rate": 36 / 1.5**4},
        },
    )
    assert est.hessian_method["concentration, concentration"] == "score, then pathwise"
    assert est.hessian_method["rate, rate"] == "pathwise twice"


def looped(z, *, s):
    def step(x, e):
        return np.maximum(x + s * e, 0.5), None

    return mg.scan(step, 1.0, z)[0] ** 2


KINKS = {
    "maximum": lambda z, *, s: np.maximum(s * z[0] - 1.0, 0.0),
    "absolute": lambda z, *, s: np.abs(s * z[0] - 0.5),
    "largest": lambda z, *, s: np.max(s * z),
    "where": lambda z, *, s: np.where(s * z[0] > 0.0, s * z[0], 0.0),  # continuous at 0
    "sorted": lambda z, *, s: np.sort(s * z)[0],
    "interpolated": lambda z, *, s: np.interp(s * z[0], [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
    "clipped": lambda z, *, s: np.clip(s * z[0], -1.0, 1.0),
    "looped": looped,
}


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_never_differentiated_twice_along_draws(name):
    given = {"params": {"s": 0.8}, "wrt": "s", "hessian": "full", "backend": "numpy"}
    q = mg.Normal(np.array([0.1, 0.2]), 1.0)
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: given 'pathwise' .*jumps at .*accepted: None"):
        mg.Estimator(KINKS[name], q, hessian_method="pathwise", **given)
    assert mg.Estimator(KINKS[name], q, **given).derived.components.second.method == "pathwise, then difference"


def test_looking_for_kinks_takes_few_of_many_second_derivatives(monkeypatch):
    sizes, once = [], PerDraw.__init__

    def counted(self, program, *args):
        sizes.append(sum(out.var.size for out in program.outputs))
        once(self, program, *args)

    monkeypatch.setattr(PerDraw, "__init__", counted)
    q = mg.Normal(np.linspace(0.5, 1.0, 40), 0.3)
    mg.Estimator(np.linalg.norm, q, hessian=["loc"], backend="numpy")  # of which ranges prove nothing
    assert sizes
    assert max(sizes) <= 40  # the draws; a block has 1600


def test_a_mixture_has_the_second_derivatives_of_its_density():
    q = mg.MixtureSameFamily(mg.Normal(np.array([-1.0, 1.0]), np.array([0.5, 1.0])), logits=np.array([0.2, 0.0]))
    est = mg.estimate(lambda z: z**2, q, 200_000, hessian=["logits", ("logits", "components.loc")])
    p = 1 / (1 + np.exp(-0.2))
    gap, bend = (1 + 0.25) - (1 + 1.0), p * (1 - p) * (1 - 2 * p)  # of the two second moments; of p in its logit
    exact = gap * bend * np.array([[1.0, -1.0], [-1.0, 1.0]])
    z = (est.hessian["logits"]["logits"] - exact) / est.hessian_stderr["logits"]["logits"]
    assert np.max(np.abs(z)) < 4.5
    exact = p * (1 - p) * np.array([[1.0, -1.0], [-1.0, 1.0]]) * 2 * np.array([-1.0, 1.0])
    blocks, errors = (x["logits"]["components"]["loc"] for x in (est.hessian, est.hessian_stderr))
    assert np.max(np.abs(blocks - exact) / errors) < 4.5


def of_magnitude(loc, scale):
    """Second derivatives of E |z| = |loc| + scale exp(-|loc| / scale) of a Laplace distribution, loc > 0."""
    near = np.exp(-loc / scale)
    return near / scale, -near * loc / scale**2, near * loc**2 / scale**3


def test_a_density_that_bends_has_scores_that_jump():
    """The derivative of the score in the location of a Laplace distribution lacks its jump from -1 to 1."""
    loc, scale = np.array([0.3, 0.8]), np.array([0.5, 1.1])
    for q in (mg.Laplace(0.3, 0.5), mg.Joint(x=mg.Laplace(0.3, 0.5), y=mg.Normal(0.0, 1.0))):
        f = (lambda z: np.abs(z["x"])) if q.parts else np.abs
        est = mg.estimate(f, q, 100_000, hessian="full", backend="numpy")
        found, error = ((x["x"] if q.parts else x) for x in (est.hessian, est.hessian_stderr))
        if q.parts:
            found, error = ({a: x[a]["x"] for a in x} for x in (found, error))
        wanted = of_magnitude(0.3, 0.5)
        for (a, b), exact in zip([("loc", "loc"), ("loc", "scale"), ("scale", "scale")], wanted, strict=True):
            assert abs(found[a][b] - exact) < 4.5 * error[a][b]
        assert "score twice" not in est.hessian_method.values()
    q = mg.MixtureSameFamily(mg.Laplace(loc, scale), np.array([0.4, 0.6]))
    est = mg.estimate(np.abs, q, 100_000, hessian=["components.loc"], backend="numpy")
    found, error = (x["components"]["loc"]["components"]["loc"] for x in (est.hessian, est.hessian_stderr))
    exact = np.diag([0.4, 0.6] * of_magnitude(loc, scale)[0])
    assert np.all(np.abs(found - exact) < 4.5 * error + 1e-9)
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: .* the score in loc jumps as loc moves"):
        mg.Estimator(np.abs, mg.Laplace(0.3, 0.5), hessian=["loc"], hessian_method="score")


@pytest.mark.filterwarnings("ignore::mcgrad.errors.JumpWarning")
def test_a_jump_under_a_density_that_bends_is_differentiated_by_a_score_and_a_difference():
    q, beyond = mg.Laplace(0.3, 0.8), 0.5 * np.exp(-0.2 / 0.8) / 0.8**2
    for f, exact in ((lambda z: z > 0.5, beyond), (lambda z: z**2 + (z > 0.5), 2.0 + beyond)):
        est = mg.estimate(f, q, 100_000, hessian=["loc"], backend="numpy")
        assert est.hessian_method == "score, then difference"
        agrees(est, {"loc": {"loc": exact}})


def test_the_score_in_the_peak_of_a_triangle_jumps_where_draws_cross_it():
    low, high, peak, k = 0.3, 0.9, 0.6, 0.5
    q = mg.Triangular(low, high, peak)
    est = mg.estimate(lambda z: np.maximum(z - k, 0.0), q, 100_000, hessian=["peak", ("peak", "high")], backend="numpy")
    below = (k - low) ** 3 / (3 * (high - low) * (peak - low) ** 2)  # less d E max(k - z, 0) / d peak
    wanted = {"peak": {"peak": 2 * below / (peak - low), "high": below / (high - low)}}
    for b, exact in wanted["peak"].items():
        assert abs(est.hessian["peak"][b] - exact) < 4.5 * est.hessian_stderr["peak"][b]


def test_a_kink_in_a_transform_is_found():
    q = mg.Reparameterized(lambda eps, *, a: np.maximum(a * eps, 0.0), params={"a": 0.5}, noise=mg.noise.normal())
    with pytest.raises(mg.ParameterError, match=r"test_second_derivatives.py.*np.maximum\(a \* eps"):
        mg.Estimator(np.exp, q, hessian="full", hessian_method="pathwise", backend="numpy")


def test_a_jump_that_is_zero_at_the_parameters_given_is_found():
    """Of another value of loc it is not: the gradient at z = loc is zero."""
    est = mg.Estimator(lambda z: z > 0.3, mg.Normal(0.3, 1.0), method="score", hessian="full", backend="numpy")
    assert est.derived.components.second.method == "score twice"


def test_errors_name_what_serves():
    digital = lambda z, *, k: z > k  # noqa: E731
    with pytest.raises(mg.ParameterError, match=r"^hessian: .* for which nothing serves .* noise.*mg.vibrato"):
        mg.Estimator(
            digital, mg.Normal(0.0, 1.0), params={"k": 0.3}, wrt="k", method={"k": "difference"}, hessian="full"
        )
    for option, value, said in (
        ("hessian", "scale2", "scale2"),
        ("hessian", [("loc",)], "pairs of names"),
        ("hvp", {"loc": np.zeros(3)}, "shape"),
        ("hvp", {"tau": 1.0}, "no parameter"),
        ("hessian_method", "exact", "'pathwise' or"),
    ):
        with pytest.raises(mg.ParameterError, match=rf"^{option}.*{said}"):
            mg.Estimator(np.square, mg.Normal(0.0, 1.0), **{option: value})
    with pytest.raises(mg.ParameterError, match=r"^hessian: given an estimate that was made without"):
        mg.estimate(np.square, mg.Normal(0.0, 1.0), 100).hessian  # noqa: B018


def test_a_direction_is_by_parameter():
    with pytest.raises(mg.ParameterError, match=r"^hvp: given 1.0; accepted: a dict of numbers or arrays by parameter"):
        mg.Estimator(call, mg.Normal(0.0, 1.0), params=MARKET, wrt=[*MARKET], hvp=1.0)


# --- with all else ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def estimator():
    return mg.Estimator(call, mg.Normal(0.0, 1.0), params=MARKET, wrt=[*MARKET], hessian="full", dtype="float32")


def test_results_merge_travel_and_print(estimator, tmp_path):
    whole, parts = estimator(40_000), [estimator(20_000, first=first) for first in (0, 20_000)]
    merged = parts[0].merge(parts[1])
    assert worst_z(merged.hessian, whole.hessian, whole.hessian_stderr) < 1e-3
    read = mg.Estimate.from_json(whole.to_json())
    assert (read.hessian, read.hessian_stderr, read.hessian_method) == (
        whole.hessian,
        whole.hessian_stderr,
        whole.hessian_method,
    )
    again = pickle.loads(pickle.dumps(estimator))(40_000)
    assert again.hessian == whole.hessian
    save(whole, tmp_path / "greeks")
    assert is_whole(tmp_path / "greeks")
    assert np.load(tmp_path / "greeks.npz")["hessian.spot.vol"] == whole.hessian["spot"]["vol"]
    assert "d2 / d spot d vol" in str(whole)
    assert "second derivatives by pathwise, then difference" in str(whole)
    assert "pathwise twice does not serve" in estimator.explain()
    low, high = whole.confidence_interval(0.99).second["spot"]["vol"]
    assert low < whole.hessian["spot"]["vol"] < high
    first = mg.estimate(call, mg.Normal(0.0, 1.0), 1000, params=MARKET, wrt=[*MARKET], dtype="float32")
    with pytest.raises(mg.MergeError, match="second derivatives"):
        whole.merge(first)


def test_a_run_stops_at_a_tolerance_of_second_derivatives(estimator):
    est = estimator.until(rtol=0.2, of="hessian", max_draws=1 << 19)
    assert est.stopping.part == "hessian"
    assert est.stopping.reached
    with pytest.raises(mg.ParameterError, match=r"^of: given 'hvp'"):
        estimator.until(of="hvp")


def test_results_are_written_into_arrays_of_the_user():
    q, arrays = mg.Normal(np.zeros(2), np.ones(2)), {"loc": {"scale": np.zeros((2, 2))}}
    estimator = mg.Estimator(lambda z: np.sum(np.exp(z)), q, hessian="full", backend="numpy")
    est = estimator(1000, out={"hessian_stderr": arrays})
    assert np.array_equal(arrays["loc"]["scale"], est.hessian_stderr["loc"]["scale"])
    with pytest.raises(mg.ParameterError, match=r"^out.hvp.loc: given no result"):
        estimator(1000, out={"hvp": {"loc": np.zeros(2)}})


def test_an_executor_has_the_bits_of_threads():
    estimator = mg.Estimator(np.abs, mg.Normal(0.3, 1.2), hessian="full", backend="numpy")
    with ThreadPoolExecutor(2) as pool:
        assert estimator(300_000, executor=pool).to_dict()["moments"] == estimator(300_000).to_dict()["moments"]


def test_a_job_has_second_derivatives(tmp_path, capsys):
    (tmp_path / "model.py").write_text("import numpy as np\nf = lambda z, *, a: np.abs(a * z)\n")
    (tmp_path / "job.toml").write_text(
        'integrand = "model.py:f"\nparams = { a = 0.7 }\nhessian = [["a", "loc"], "a"]\nn = 20_000\nbackend = "numpy"\n'
        'distribution = { family = "Normal", loc = 0.3, scale = 1.2 }\nout = "results/kink"\n'
    )
    assert main(["run", str(tmp_path / "job.toml")]) == 0
    est = mg.Estimate.from_json((tmp_path / "results/kink.json").read_bytes())
    assert "d2 / d loc d a" in capsys.readouterr().out
    text = (tmp_path / "job.toml").read_text().replace('hessian = [["a", "loc"], "a"]', "hvp = { loc = 2.0 }")
    (tmp_path / "job.toml").write_text(text.replace("results/kink", "results/product"))
    assert main(["run", str(tmp_path / "job.toml")]) == 0
    product = mg.Estimate.from_json((tmp_path / "results/product.json").read_bytes()).hvp
    assert product["a"] == pytest.approx(2 * est.hessian["a"]["loc"])
    exact = 2 * norm.cdf(0.3 / 1.2) - 1  # of |z|: a moves it, and so does loc
    assert abs(est.hessian["a"]["loc"] - exact) < 4.5 * est.hessian_stderr["a"]["loc"]


@pytest.mark.parametrize(
    "options",
    [
        {"antithetic": True},
        {"sampler": "sobol"},
        {"control": "linear"},
        {"covariance": True},
        {"proposal": mg.Normal(0.5, 1.2)},
        {"nonfinite": "omit"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_second_derivatives_go_with_what_reduces_variance(options):
    est = mg.estimate(call, mg.Normal(0.0, 1.0), 1 << 16, params=MARKET, wrt=[*MARKET], hessian="full", **options)
    agrees(est, CALL)


def test_backends_agree_on_second_derivatives(estimator):
    given = {"params": MARKET, "wrt": [*MARKET], "hessian": "full", "dtype": "float32"}
    reference = mg.Estimator(call, mg.Normal(0.0, 1.0), backend="numpy", **given)(4000)
    compiled = mg.Estimator(call, mg.Normal(0.0, 1.0), backend="cpu", **given)(4000)
    assert worst_z(compiled.hessian, reference.hessian, reference.hessian_stderr) < 0.01
