"""A compiled estimator called again: parameters, seeds and selections change nothing but what they should."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from tests.estimators import PROBLEMS, estimator

N = 500


def same(a, b, rtol=1e-12):
    np.testing.assert_allclose(a.value, b.value, rtol=rtol)
    for x, y in zip(tree.flatten(a.grad).values(), tree.flatten(b.grad).values(), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("changed", [(), ("loc",), ("scale", "tau"), ("loc", "scale", "tau")])
def test_any_subset_of_parameters_may_change(changed, backend):
    new = {"loc": np.full(7, 0.2), "scale": np.full(7, 0.3), "tau": 2.5}
    problem = PROBLEMS["product"]
    called = estimator("product", backend=backend)(N, 1, **{name: new[name] for name in changed})
    q = problem["q"].with_params(**{name: new[name] for name in changed if name != "tau"})
    params = {"tau": new["tau"]} if "tau" in changed else problem["params"]
    same(called, mg.estimate(problem["f"], q, N, params=params, data=problem["data"], seed=1, backend=backend))


def test_a_call_with_changes_leaves_nothing_behind():
    run = estimator("scalar")
    before = run(N)
    run(N, loc=5.0, scale=0.1)
    after = run(N)
    assert after.to_dict() == {**before.to_dict(), "seconds": after.seconds}


def test_values_are_taken_not_references():
    w, loc = np.ones(3), np.zeros(3)
    run = mg.Estimator(lambda z, *, w: w @ z**2, mg.Normal(loc, 1.0), params={"w": w}, backend="numpy")
    before = run(N)
    w[:], loc[:] = 5.0, 5.0
    same(run(N), before)


@pytest.mark.parametrize(
    ("wrt", "paths"),
    [
        (None, ["a.loc", "a.scale", "b.inner.low", "b.inner.high", "tau"]),
        ((), []),
        ("tau", ["tau"]),
        ("a", ["a.loc", "a.scale"]),
        (["b.inner.high", "a.loc"], ["a.loc", "b.inner.high"]),
        (("b", "tau"), ["b.inner.low", "b.inner.high", "tau"]),
    ],
)
def test_wrt_selects_and_changes_no_number(wrt, paths):
    def f(z, *, tau):
        return tau * np.sum(z["a"]) * z["b"]["inner"]

    q = mg.Joint(a=mg.Normal(np.zeros(2), 1.0), b=mg.Joint(inner=mg.Uniform(0.0, 2.0)))
    every = mg.estimate(f, q, N, params={"tau": 0.5}, backend="numpy")
    some = mg.estimate(f, q, N, params={"tau": 0.5}, wrt=wrt, backend="numpy")
    assert (some.value, some.stderr) == (every.value, every.stderr)
    flat, all_ = tree.flatten(some.grad), tree.flatten(every.grad)
    assert list(flat) == paths
    for path in paths:
        np.testing.assert_allclose(flat[path], all_[path], rtol=1e-12)


def test_parts_of_a_joint_change_as_dicts():
    q = mg.Joint(a=mg.Normal(0.0, 1.0), b=mg.Normal(1.0, 1.0))
    run = mg.Estimator(lambda z: z["a"] * z["b"], q, backend="numpy")
    changed = run(N, a={"loc": 2.0})
    want = mg.estimate(lambda z: z["a"] * z["b"], q.with_params(a={"loc": 2.0}), N, backend="numpy")
    same(changed, want)
    with pytest.raises(mg.ParameterError, match=r"a\.scale: given -1.0"):
        run(N, a={"scale": -1.0})
    with pytest.raises(mg.ParameterError, match=r"a\.mu: given no parameter's name"):
        run(N, a={"mu": 0.0})


def test_integers_and_booleans_in_data_index_and_select():
    group, keep, x = np.array([2, 0, 0, 1]), np.array([True, False, True, True]), np.arange(4)

    def f(z, *, group, keep, x):
        return np.sum((z[group] * x)[keep])

    loc = np.array([0.5, -1.0, 2.0])
    est = mg.estimate(f, mg.Normal(loc, 0.1), N, data={"group": group, "keep": keep, "x": x}, backend="numpy")
    np.testing.assert_allclose(est.grad["loc"], [2.0, 3.0, 0.0])


@pytest.mark.parametrize(
    ("loc", "given", "dtype"),
    [
        (0.0, {}, "float64"),
        (np.float32(0.0), {}, "float32"),
        (np.float32(0.0), {"params": {"a": 2.0}}, "float32"),
        (np.float32(0.0), {"params": {"a": np.float64(2.0)}}, "float64"),
        (np.float32(0.0), {"params": {"a": 2.0}, "data": {"x": np.ones(2)}}, "float64"),
        (np.float32(0.0), {"params": {"a": 2.0}, "data": {"x": np.ones(2, int)}}, "float32"),
        (0.0, {"dtype": np.float32}, "float32"),
        (np.float32(0.0), {"dtype": "float64"}, "float64"),
    ],
)
def test_dtype_follows_the_inputs(loc, given, dtype):
    q = mg.Normal(loc, type(loc)(1.0))
    run = mg.Estimator(lambda z, **named: z * sum(np.sum(x) for x in named.values()) + z, q, **given, backend="numpy")
    assert run.dtype == run(10).dtype == dtype


def test_a_value_that_no_draw_changes_in_the_end():
    """z - z is left to the draws; what simplifies away is exact and has no error."""
    est = mg.estimate(lambda z, *, a: a**2 + 0 * np.sum(z), mg.Normal(), N, params={"a": 3.0}, backend="numpy")
    assert (est.value, est.stderr, est.grad["a"]) == (9.0, 0.0, 6.0)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_gradients_that_are_the_same_for_every_draw(backend):
    est = mg.estimate(lambda z, *, a: np.sum(z) + a, mg.Normal(np.zeros(2), 1.0), N, params={"a": 1.0}, backend=backend)
    np.testing.assert_array_equal(est.grad["loc"], [1.0, 1.0])
    np.testing.assert_array_equal(est.grad_stderr["loc"], [0.0, 0.0])
    assert (est.grad["a"], est.grad_stderr["a"]) == (1.0, 0.0)


def test_a_parameter_that_does_nothing_has_gradient_zero():
    est = mg.estimate(lambda z, *, a, b: a * z, mg.Normal(), N, params={"a": 1.0, "b": np.ones(3)}, backend="numpy")
    np.testing.assert_array_equal(est.grad["b"], np.zeros(3))


@pytest.mark.parametrize("d", [1, 300])
def test_few_and_many_components(d):
    def f(z):
        return -np.sum((z[1:] - z[:-1] ** 2) ** 2) - np.sum(z**2)

    q = mg.Normal(np.linspace(-0.5, 0.5, d), 0.4)
    ours, reference = (mg.estimate(f, q, N, seed=2, backend=backend) for backend in ("cpu", "numpy"))
    same(ours, reference, rtol=1e-10)


def test_explain_shows_program_backend_and_source():
    text = estimator("product").explain()
    for part in ("backend: cpu", "program (float64):", "once:", "each draw:", "mean of:", "def chunk("):
        assert part in text


def test_estimators_of_one_program_share_one_compilation():
    from mcgrad.toolchain import compile

    estimator("scalar")(N)
    before = compile._loaded.values()
    mg.estimate(PROBLEMS["scalar"]["f"], mg.Normal(1.3, 0.2), N, backend="cpu")
    assert {*map(id, compile._loaded.values())} <= {*map(id, before)}


def test_repr_says_what_it_is():
    def log_joint(z, *, net, X):
        return np.sum(X @ z) * net["w"]

    q, X = mg.Normal(np.zeros(3), np.float64(2.0)), np.ones((5, 3))
    run = mg.Estimator(log_joint, q, params={"net": {"w": 1.0}}, data={"X": X}, wrt=["loc", "net"], backend="numpy")
    assert repr(run) == (
        "Estimator(log_joint, Normal(loc=<float64 (3,)>, scale=2.0), params={net.w: ()}, data={X: (5, 3)}, "
        "wrt=(loc, net.w), method='pathwise', dtype=float64, backend=numpy)"
    )
    q = mg.Normal(0.0, 1.0)
    bound = mg.Estimator(mg.iwae(lambda z: -(z**2), q, 4), wrt=(), method={"loc": "dreg"}, backend="numpy")
    assert repr(bound) == (
        "Estimator(iwae(<lambda>, Normal(loc=0.0, scale=1.0), k=4), wrt=(), "
        "method={'loc': 'dreg', 'scale': 'pathwise'}, dtype=float64, backend=numpy)"
    )
    assert repr(mg.elbo(log_joint, q)) == "elbo(log_joint, Normal(loc=0.0, scale=1.0))"
    assert repr(mg.kl(q, mg.Normal(1.0, 1.0))) == "kl(Normal(loc=0.0, scale=1.0), Normal(loc=1.0, scale=1.0))"
