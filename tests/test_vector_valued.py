"""Integrands that return arrays and dicts of arrays: Jacobians and cotangents, against loops over their numbers."""

import pickle

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.gradients.methods import METHODS

Q = mg.Normal(np.array([0.3, -0.2, 0.5]), np.array([1.0, 0.7, 0.4]))
PARAMS = {"a": 1.3}
NUMPY = {"backend": "numpy"}  # which compiles nothing
WEIGHTS = np.array([1.0, 2.0, -1.0])


def numbers(z, a):
    return np.stack([z[0] * a, z[1] ** 2, np.sum(z) * a])


def nested(z, a):
    return {"first": numbers(z, a)[0], "inside": {"others": numbers(z, a)[1:]}}


def number(i):
    return lambda z, a: numbers(z, a)[i]


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_values_and_jacobians_are_those_of_the_numbers_by_themselves(backend):
    given = {"params": PARAMS, "seed": 3}
    est, flat = mg.estimate(numbers, Q, 3000, **given, backend=backend), mg.estimate(nested, Q, 3000, **given, **NUMPY)
    assert (est.value.shape, est.stderr.shape, est.grad["loc"].shape, est.grad["a"].shape) == ((3,), (3,), (3, 3), (3,))
    for i in range(3):
        one = mg.estimate(number(i), Q, 3000, **given, **NUMPY)
        for mine, right in ((est.value, one.value), (est.stderr, one.stderr)):
            assert mine[i] == pytest.approx(right, rel=1e-12)
        for path in ("loc", "scale", "a"):
            for mine, right in ((est.grad, one.grad), (est.grad_stderr, one.grad_stderr)):
                np.testing.assert_allclose(mine[path][i], right[path], rtol=1e-11, atol=1e-13)
    assert [type(x["first"]) for x in (flat.value, flat.stderr, flat.grad["a"])] == [float] * 3
    np.testing.assert_allclose(flat.value["inside"]["others"], est.value[1:], rtol=1e-12)
    np.testing.assert_allclose(flat.grad["loc"]["first"], est.grad["loc"][0], rtol=1e-12)
    np.testing.assert_allclose(flat.grad_stderr["scale"]["inside"]["others"], est.grad_stderr["scale"][1:], atol=1e-12)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.suits(numbers)])
def test_every_method_is_right_number_by_number(method):
    est = mg.estimate(numbers, Q, 40_000, params=PARAMS, method=method, seed=5)
    loc, scale = Q.params["loc"], Q.params["scale"]
    exact = {
        "loc": np.array([[1.3, 0, 0], [0, 2 * loc[1], 0], [1.3, 1.3, 1.3]]),
        "scale": np.array([[0, 0, 0], [0, 2 * scale[1], 0], [0, 0, 0]]),
        "a": np.array([loc[0], 0.0, loc.sum()]),
    }
    for path, right in exact.items():
        gap, error = np.abs(est.grad[path] - right), est.grad_stderr[path]
        assert np.all(gap < 4.5 * error + 1e-9), (path, gap / error)
    assert np.all(np.abs(est.value - [0.39, 0.04 + 0.49, 0.78]) < 4.5 * est.stderr)


@pytest.mark.parametrize("method", ["pathwise", "score+mean", "score+optimal", "measure_valued", "difference"])
def test_methods_agree_with_a_loop_over_numbers(method):
    given = {"params": PARAMS, "seed": 3, "method": method, "backend": "numpy"}
    est = mg.estimate(numbers, Q, 600, **given)
    for i in range(3) if method != "difference" else [2]:  # whose steps may be smaller for all than for one
        one = mg.estimate(number(i), Q, 600, **given)
        for path in ("loc", "scale", "a"):
            np.testing.assert_allclose(est.grad[path][i], one.grad[path], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", ["pathwise", "score+leave_one_out", "measure_valued", "difference"])
def test_a_cotangent_weighs_the_rows_of_the_jacobian(method):
    given = {"params": PARAMS, "method": method, **NUMPY}
    estimator = mg.Estimator(numbers, Q, cotangent=WEIGHTS, **given)
    whole, one = mg.Estimator(numbers, Q, **given)(4000, 7), estimator(4000, 7)
    twice = estimator(4000, 7, cotangent=2 * WEIGHTS)
    np.testing.assert_allclose(one.value, whole.value, rtol=1e-12)
    atol = 1e-6 if method == "difference" else 1e-10  # steps are chosen for what is differentiated
    for path in ("loc", "scale", "a"):
        assert np.shape(one.grad[path]) == Q.params[path].shape if path != "a" else isinstance(one.grad[path], float)
        np.testing.assert_allclose(one.grad[path], np.tensordot(WEIGHTS, whole.grad[path], 1), atol=atol)
        np.testing.assert_allclose(twice.grad[path], 2 * np.asarray(one.grad[path]), atol=atol)
    there = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(there(1000, 1).grad["loc"], estimator(1000, 1).grad["loc"])
    with pytest.raises(mg.MergeError, match="problems"):
        one.merge(estimator(4000, 7, first=4000, cotangent=2 * WEIGHTS))


def test_cotangents_of_dicts_and_those_that_do_not_fit():
    weights = {"first": 1.0, "inside": {"others": WEIGHTS[1:]}}
    given = {"params": PARAMS, **NUMPY}
    est, right = (mg.estimate(f, Q, 1000, **given, cotangent=x) for f, x in ((nested, weights), (numbers, WEIGHTS)))
    np.testing.assert_allclose(est.grad["loc"], right.grad["loc"], rtol=1e-12)
    for wrong in (1.0, WEIGHTS[:2], {"first": 1.0}, {}, "text"):
        with pytest.raises(mg.ParameterError, match="cotangent"):
            mg.Estimator(nested, Q, params=PARAMS, cotangent=wrong)
    with pytest.raises(mg.ParameterError, match="None, as at first"):
        mg.Estimator(numbers, Q, params=PARAMS)(100, cotangent=WEIGHTS)
    with pytest.raises(mg.ParameterError, match=r"shape .*\(2,\)"):
        mg.Estimator(numbers, Q, params=PARAMS, cotangent=WEIGHTS)(100, cotangent=WEIGHTS[:2])
    with pytest.raises(mg.ParameterError, match="an objective is one number"):
        mg.Estimator(mg.elbo(lambda z: -np.sum(z**2), Q), cotangent=1.0)


def test_spoiled_numbers_spoil_their_own_gradients_alone():
    def f(z):
        return np.stack([np.log(z[0]), z[1], z[0] + z[1]])

    q = mg.Normal(np.zeros(2), 1.0)
    with np.errstate(all="ignore"):
        est = mg.estimate(f, q, 500, **NUMPY, covariance=True)
        left = mg.estimate(f, q, 500, **NUMPY, nonfinite="omit")
        sums = mg.estimate(f, q, 500, **NUMPY, cotangent=np.ones(3))
    assert est.nonfinite == left.nonfinite > 100
    assert np.isnan(est.value).tolist() == [True, False, False]
    assert np.isnan(est.grad["loc"]).all(axis=1).tolist() == np.isnan(est.grad["loc"]).any(axis=1).tolist()
    assert np.isnan(est.grad["scale"]).tolist() == [True, False, False]
    assert np.isnan(est.covariance).tolist() == [[True, True, True], [True, False, False], [True, False, False]]
    assert np.isnan(sums.grad["loc"]).all()
    assert np.isnan(sums.value).tolist() == [True, False, False]
    assert np.isfinite([*left.value, *left.grad["scale"], *left.grad["loc"].flat]).all()


def test_estimates_merge_and_are_read_back(tmp_path):
    from mcgrad.results.files import is_whole, save

    estimator = mg.Estimator(nested, Q, params=PARAMS, covariance=True, **NUMPY)
    one, other, both = estimator(600, 1), estimator(400, 1, first=600), estimator(1000, 1)
    merged = one.merge(other)
    np.testing.assert_allclose(merged.value["inside"]["others"], both.value["inside"]["others"], rtol=1e-12)
    np.testing.assert_allclose(
        merged.covariance["inside"]["others"]["first"], both.covariance["inside"]["others"]["first"], rtol=1e-9
    )
    again = mg.Estimate.from_json(both.to_json())
    assert np.array_equal(again.grad["loc"]["inside"]["others"], both.grad["loc"]["inside"]["others"])
    assert again.covariance["first"]["first"] == both.covariance["first"]["first"]
    with pytest.raises(mg.MergeError, match="covariances"):
        one.merge(mg.Estimator(nested, Q, params=PARAMS, **NUMPY)(400, 1, first=600))
    save(both, tmp_path / "result")
    assert is_whole(tmp_path / "result")
    with np.load(tmp_path / "result.npz") as arrays:
        assert arrays["grad.loc.inside.others"].shape == (2, 3)
        assert arrays["value.first"] == both.value["first"]
        assert arrays["covariance.inside.others.first"].shape == (2,)
    assert str(both).count("value.inside.others[1]") == 8
    assert repr(both) == "Estimate(value of shape first: (), inside.others: (2,), n=1000, grad={loc, scale, a})"


def test_damaged_shapes_of_values_are_refused():
    fields = mg.estimate(numbers, Q, 100, params=PARAMS, **NUMPY).to_dict()
    assert fields["value_shapes"] == {"": [3]}
    for wrong in ({"": [2]}, {}, {"": [3], "b": []}, [3], {"": [-3]}):
        with pytest.raises(mg.ParameterError):
            mg.Estimate.from_dict({**fields, "value_shapes": wrong})
    with pytest.raises(mg.ParameterError, match="moments"):
        mg.Estimate.from_dict({**fields, "contracted": True})


def test_verify_compare_and_auto_look_at_all_numbers():
    def f(z, a):
        return {"sum": np.sum(z) * a, "price": np.maximum(np.sum(z) - np.linspace(-1.0, 1.0, 4), 0.0)}

    found = mg.verify(f, Q, params=PARAMS, backends=())
    assert (found.ok, found.components) == (True, 5 * 7)
    assert any("d value.price[" in check.component for check in found.gradient)
    assert mg.verify(f, Q, params=PARAMS, backends=(), cotangent={"sum": 1.0, "price": np.ones(4)}).ok

    def jumps(z):
        return np.stack([np.sum(z), np.where(z[0] > 0, 3.0, 0.0) + z[1]])

    wrong = mg.verify(jumps, Q, backends=())
    bad = {check.component for check in wrong.gradient if not check.ok}
    assert "d value[1] / d loc[0]" in bad
    assert not any("value[0]" in name for name in bad)
    assert mg.Estimator(jumps, Q, method="auto", **NUMPY).plan.method not in ("pathwise", "difference")
    compared = mg.compare(jumps, Q, 4096, methods=["pathwise", "score+mean"], **NUMPY)
    assert set(compared.biased) == {"pathwise"}
    assert (compared.components[0], len(compared.rows[0].variance)) == ("d value[0] / d loc[0]", 12)


def test_each_part_is_checked_for_jumps():
    """A smooth part hides no other whose gradient is zero for every draw."""
    q = mg.Normal(0.3, 1.2)

    def step(z, k):
        return {"smooth": z + k, "step": np.where(z > k, 1.0, 0.0)}

    with pytest.raises(mg.ParameterError, match="k: given a parameter that the integrand follows in jumps alone"):
        mg.Estimator(step, q, params={"k": 0.1}, **NUMPY)
    with pytest.warns(mg.JumpWarning, match="is zero for every draw in loc, scale"):
        mg.Estimator(step, q, params={"k": 0.1}, wrt=("loc", "scale"), **NUMPY)


def test_a_job_has_cotangents_and_covariances(tmp_path, capsys):
    (tmp_path / "model.py").write_text("def f(z):\n    return {'a': z, 'b': {'c': z[0] * z[1]}}\n")
    keys = """
        integrand = "model.py:f"
        distribution = { family = "Normal", loc = [0.3, 0.4], scale = 1.0 }
        n = 1000
        backend = "numpy"
        covariance = true
        cotangent = { a = [1.0, 2.0], b = { c = 3.0 } }
    """
    (tmp_path / "job.toml").write_text(keys)
    assert main(["run", str(tmp_path / "job.toml"), "--verify"]) == 0
    assert "value.b.c" in capsys.readouterr().out
    found = mg.Estimate.from_json((tmp_path / "results" / "job.json").read_text())
    assert found.covariance["a"]["a"].shape == (2, 2)
    z = (found.grad["loc"] - [1 + 3 * 0.4, 2 + 3 * 0.3]) / found.grad_stderr["loc"]
    assert np.abs(z).max() < 4.5
    (tmp_path / "job.toml").write_text(keys.replace("[1.0, 2.0]", "1.0"))
    assert main(["run", str(tmp_path / "job.toml")]) != 0
    assert "cotangent" in capsys.readouterr().err


def test_an_array_of_one_number_and_shapes_with_axes():
    est = mg.estimate(lambda z: z[:1] ** 2, Q, 1000, **NUMPY)
    assert (est.value.shape, est.grad["loc"].shape) == ((1,), (1, 3))
    est = mg.estimate(lambda z: np.multiply.outer(z[:2], z), Q, 1000, **NUMPY)
    assert (est.value.shape, est.grad["loc"].shape) == ((2, 3), (2, 3, 3))
    assert str(est.components[5]) == "value[1,2]"
    right = mg.estimate(lambda z: z[1] * z[2], Q, 1000, **NUMPY)
    np.testing.assert_allclose(est.grad["loc"][1, 2], right.grad["loc"], rtol=1e-10)


def test_jacobians_that_are_too_large_are_refused():
    q = mg.Normal(np.zeros(6000), 1.0)
    with pytest.raises(mg.ParameterError, match=r"6,000 numbers.*6,000 components.*36,000,000 elements"):
        mg.Estimator(lambda z: np.tanh(z), q, wrt="loc")
    assert mg.Estimator(lambda z: np.tanh(z), q, wrt="loc", cotangent=np.ones(6000), **NUMPY).wrt == ("loc",)
    with pytest.raises(mg.ParameterError, match=r"covariance: given that of 6,000 numbers, of 18,003,000 products"):
        mg.Estimator(lambda z: np.tanh(z), q, wrt=(), covariance=True, **NUMPY)


def test_objectives_take_log_joints_of_one_number():
    with pytest.raises(mg.TraceError, match="a log joint returns one number"):
        mg.estimate(mg.elbo(lambda z: -(z**2), Q), n=100)
