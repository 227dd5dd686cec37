"""method="difference": central differences with common random numbers, with honest standard errors."""

import numpy as np
import pytest
import scipy.stats

import mcgrad as mg
from mcgrad import tree
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.engine import step_search
from mcgrad.engine.steps import Steps
from mcgrad.gradients import difference
from mcgrad.gradients.problem import Problem
from mcgrad.ir.spaces import Input, Space, named
from mcgrad.validate.agreement import agreement
from tests.families import FAMILIES, gradient

Q = mg.Normal(0.0, 1.0)
MOST_Z = 5.0
DENSITY = np.exp(-(0.3**2) / 2) / np.sqrt(2 * np.pi)  # of Q at 0.3


def step(z, *, k):
    return np.where(z > k, 1.0, 0.0)


def option(z, *, spot, vol):
    return np.exp(-0.04) * np.where(spot * np.exp(0.04 - vol * vol / 2 + vol * z) > 100.0, 1.0, 0.0)


def off(est, grad):
    """The largest distance of a component from what is right, in standard errors."""
    found, error = tree.flatten(est.grad), tree.flatten(est.grad_stderr)
    gaps = [np.max(np.abs(found[path] - right) / error[path]) for path, right in tree.flatten(grad).items()]
    return max(gaps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_threshold_and_a_digital_option(dtype):
    common = {"n": 100_000, "dtype": dtype, "backend": "numpy"}
    est = mg.estimate(step, Q, params={"k": 0.3}, method="difference", **common)
    assert est.method == "difference"
    assert off(est, {"k": -DENSITY, "loc": DENSITY, "scale": 0.3 * DENSITY}) < MOST_Z
    assert est.grad_stderr["k"] < 0.02
    est = mg.estimate(option, Q, params={"spot": 100.0, "vol": 0.2}, wrt=["spot", "vol"], method="difference", **common)
    assert off(est, {"spot": 0.019069, "vol": -0.57208}) < MOST_Z
    assert est.grad_stderr["spot"] < 0.001


def test_a_rare_jump():
    """The step comes from what is compared, not from how often the comparison changes: the pilot sees no such draw."""
    est = mg.estimate(step, Q, 1_000_000, params={"k": 4.5}, wrt="k", method="difference", backend="numpy")
    assert off(est, {"k": -np.exp(-(4.5**2) / 2) / np.sqrt(2 * np.pi)}) < MOST_Z


def test_beside_other_methods():
    method = {"loc": "score+mean", "k": "difference"}
    est = mg.estimate(step, Q, 40_000, params={"k": 0.3}, wrt=["loc", "k"], method=method, backend="numpy")
    assert est.method == method
    assert off(est, {"k": -DENSITY, "loc": DENSITY}) < MOST_Z
    grouped = {"loc": "score+leave_one_out", "k": "difference"}
    est = mg.estimate(step, Q, 40_000, params={"k": 0.3}, wrt=["loc", "k"], method=grouped, backend="numpy")
    assert off(est, {"k": -DENSITY, "loc": DENSITY}) < MOST_Z


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name):
    """Discrete ones, too: draws by inversion follow their parameters in jumps, and stay the draws of the family."""
    row = FAMILIES[name]
    est = mg.estimate(row.f, row.q, 2000, method="difference", backend="numpy")
    found, error = tree.flatten(est.grad), tree.flatten(est.grad_stderr)
    for path, right in tree.flatten(gradient(row)).items():
        gap = np.abs(found[path] - right)
        assert np.all(gap <= MOST_Z * error[path] + 1e-7 * (1 + np.abs(right))), (path, found[path], right, error[path])


EXPECTATIONS = {  # f, q, E f as a function of each parameter by itself
    "exp": (
        np.exp,
        mg.Normal(0.3, 1.2),
        {"loc": lambda x: np.exp(x + 0.72), "scale": lambda x: np.exp(0.3 + x**2 / 2)},
    ),
    "sin": (np.sin, mg.Normal(0.3, 1.2), {"loc": lambda x: np.exp(-0.72) * np.sin(x)}),
    "fourth": (lambda z: z**4, mg.Exponential(2.0), {"rate": lambda x: 24 / x**4}),
    "waves": (
        lambda z: np.sin(3 * z),
        mg.Gamma(2.5, 0.7),
        {"rate": lambda x: np.imag((1 - 3j / x) ** -2.5), "concentration": lambda x: np.imag((1 - 3j / 0.7) ** -x)},
    ),
    "threshold": (lambda z: np.where(z > 0.3, 1.0, 0.0), Q, {"loc": lambda x: scipy.stats.norm.cdf(x - 0.3)}),
    "chance": (lambda z: np.where(z > 2, 1.0, 0.0), mg.Poisson(1.5), {"rate": lambda x: scipy.stats.poisson.sf(2, x)}),
}


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_the_bias_is_far_below_the_errors(name):
    """The same differences of the exact expectation, against the standard error of 1e8 draws."""
    f, q, expectations = EXPECTATIONS[name]
    estimator = mg.Estimator(f, q, method="difference", backend="numpy")
    places, error = estimator.derived.pilots(estimator.inputs.values({}), 0), estimator(40_000).grad_stderr
    for path, exact in expectations.items():
        up, down, up2, down2 = (exact(x) for x in places[Input(Space.POINTS, path)][:, 0])
        near, far = np.array([up - down, up2 - down2]) / places[Input(Space.WIDTHS, path)][:, 0]
        tiny = 1e-5
        slope = (exact(q.params[path] + tiny) - exact(q.params[path] - tiny)) / (2 * tiny)
        assert abs((4 * near - far) / 3 - slope) < 0.3 * error[path] * np.sqrt(40_000 / 1e8)


def test_what_the_draws_hardly_change():
    """The derivative is the same for every draw: its step must be small by itself, and no frequency may hide in it."""
    for frequency in (200.0, 64.0, 6.4 * np.pi):

        def f(z, *, a, frequency=frequency):
            return np.sin(frequency * a) + 1000 * z

        for dtype, most in (("float64", 1e-6), ("float32", 0.05)):
            est = mg.estimate(f, Q, 4000, params={"a": 1.0}, wrt="a", method="difference", dtype=dtype, backend="numpy")
            right = frequency * np.cos(frequency)
            assert abs(est.grad["a"] - right) < most * frequency + MOST_Z * est.grad_stderr["a"]


def test_vectors_and_triangles():
    tril = np.array([[1.0, 0.0], [0.5, 2.0]])
    est = mg.estimate(lambda z, *, a: np.sum(a * z**2), mg.MultivariateNormal(np.ones(2), tril), 40_000,
                      params={"a": np.array([1.0, 2.0])}, method="difference", backend="numpy")  # fmt: skip
    assert est.grad["scale_tril"][0, 1] == est.grad_stderr["scale_tril"][0, 1] == 0
    weights = np.array([[1.0], [2.0]])
    assert off(est, {"loc": [2.0, 4.0], "a": [2.0, 1.0 + 0.25 + 4.0]}) < MOST_Z
    lower = np.tri(2, dtype=bool)
    gap = (est.grad["scale_tril"] - 2 * weights * tril)[lower]
    assert np.all(np.abs(gap) < MOST_Z * est.grad_stderr["scale_tril"][lower])


def test_objectives_move_their_own_densities():
    def log_joint(z):
        return -0.5 * np.sum((z - 1.0) ** 2)

    q = mg.Normal(np.zeros(2), 0.7)
    for objective in (mg.elbo(log_joint, q), mg.iwae(log_joint, q, 4), mg.kl(q, mg.Normal(np.ones(2), 1.0))):
        both = [mg.estimate(objective, n=8000, method=m, backend="numpy") for m in ("pathwise", "difference")]
        for path in ("loc", "scale"):
            gap = np.abs(both[0].grad[path] - both[1].grad[path])
            assert np.all(gap < 0.05 * both[0].grad_stderr[path] + 1e-4)


def test_jumps_in_the_transform():
    q = mg.Reparameterized(lambda e, *, a: np.floor(a + e) + 0.1 * (a + e), {"a": 0.3}, mg.noise.normal())
    est = mg.estimate(lambda z: z, q, 40_000, method="difference", backend="numpy")
    assert off(est, {"a": 1.1}) < MOST_Z


def test_functions_of_the_user():
    numba = pytest.importorskip("numba")

    @numba.njit
    def value(z, k):
        return 1.0 if z[0] > k else 0.0

    @numba.njit
    def value_and_grad(z, grad, k):
        grad[0] = 0.0
        return value(z, k)

    f = mg.Integrand(value=value, value_and_grad=value_and_grad)
    est = mg.estimate(f, Q, 4000, params={"k": 0.3}, method="difference", backend="numpy")
    assert off(est, {"k": -DENSITY, "loc": DENSITY}) < MOST_Z
    with pytest.raises(mg.ParameterError, match=r'an Integrand gives no gradient.*method=\{"k": "difference"\}'):
        mg.estimate(f, Q, 4000, params={"k": 0.3}, method="score", backend="numpy")


def test_the_compiled_kernel_agrees_and_parts_merge():
    common = {"params": {"k": 0.3}, "method": "difference"}
    numpy, cpu = (mg.Estimator(step, Q, backend=backend, **common) for backend in ("numpy", "cpu"))
    assert agreement(numpy(8000, 3), cpu(8000, 3)).ok
    parts = numpy(3000, 3).merge(cpu(5000, 3, first=3000))
    assert parts.grad["k"] == pytest.approx(numpy(8000, 3).grad["k"], rel=1e-9)


def test_steps_follow_the_parameters():
    """They depend on the inputs, and on nothing that was called before."""
    estimator = mg.Estimator(step, Q, params={"k": 0.3}, wrt="scale", method="difference", backend="numpy")
    first = estimator(1000, 1)
    estimator(1000, 1, scale=0.01)
    assert estimator(1000, 1).grad == first.grad
    narrow = mg.estimate(step, mg.Normal(0.3, 0.01), 40_000, params={"k": 0.301}, wrt="k", method="difference",
                         backend="numpy")  # fmt: skip
    assert off(narrow, {"k": -np.exp(-0.005) / np.sqrt(2 * np.pi) / 0.01}) < MOST_Z


def test_places_stay_inside_the_constraints():
    est = mg.estimate(np.log, mg.Uniform(1.0, 1.001), 4000, method="difference", backend="numpy")
    assert np.isfinite([*est.grad.values()]).all()
    est = mg.estimate(lambda z, *, a: np.sqrt(a - 0.999) * z**2, Q, 4000, params={"a": 1.0}, wrt="a",
                      method="difference", backend="numpy")  # fmt: skip
    assert off(est, {"a": 0.5 / np.sqrt(0.001)}) < MOST_Z


def test_methods_of_parameters_that_only_the_integrand_has():
    with pytest.raises(mg.ParameterError, match="method: given 'score' for k, a parameter that only the integrand has"):
        mg.Estimator(step, Q, params={"k": 0.3}, method={"k": "score"})
    est = mg.estimate(lambda z, *, k: np.sin(k * z), Q, 1000, params={"k": 0.3}, method="score+mean", backend="numpy")
    assert est.method == {"loc": "score+mean", "scale": "score+mean", "k": "pathwise"}


# Many components


def excess(z, *, c):
    return np.sum(np.where(z > c, z * z, 1.0))


def test_a_hundred_components():
    c = np.linspace(-1.0, 1.0, 100)
    est = mg.estimate(excess, mg.Normal(np.zeros(100), 1.0), 2000, params={"c": c}, wrt="c", method="difference",
                      backend="numpy")  # fmt: skip
    gap = (est.grad["c"] - (1 - c**2) * scipy.stats.norm.pdf(c)) / est.grad_stderr["c"]
    assert np.max(np.abs(gap)) < MOST_Z


def test_a_thousand_components_take_little_memory_and_few_draws_of_a_pilot():
    given = {"params": {"c": np.full(1000, 0.3)}, "wrt": "c", "method": "difference", "backend": "numpy"}
    estimator = mg.Estimator(excess, mg.Normal(np.zeros(1000), 1.0), **given)
    kernel = NumpyKernel(estimator.program)
    assert kernel.block * max(var.size for var in estimator.program.body()) * 8 <= 1 << 25
    assert step_search._draws(estimator.program) < 100


def test_what_would_take_too_much_memory_is_refused():
    q = mg.MultivariateNormal(np.zeros(100), np.eye(100))
    with pytest.raises(mg.ParameterError, match=r"scale_tril, 5,050 components that are moved one at a time.*wrt"):
        mg.Estimator(lambda z: np.sum(np.floor(z)), q, method="difference")
    data, weights = {"X": np.ones((10_000, 500))}, mg.Normal(np.zeros(500), 1.0)
    with pytest.raises(mg.ParameterError, match=r"loc, 500 components.*20,000,000 elements"):
        mg.Estimator(lambda z, X: np.sum(np.floor(X @ z)), weights, data=data, method="difference", wrt="loc")


def test_what_no_parameter_moves_may_be_large(monkeypatch):
    monkeypatch.setattr(difference, "MOST", 100)
    data = {"X": np.full(101, 2.0)}
    est = mg.estimate(lambda z, X: np.sum(X) * z, Q, 100, data=data, method="difference", backend="numpy")
    assert abs(est.grad["loc"] - 202) < 1e-6


def test_auto_needs_no_more_than_the_components_that_it_looks_at(monkeypatch):
    monkeypatch.setattr(difference, "MOST", 8 * 4 * 30)
    q = mg.Normal(np.zeros(30), np.ones(30))
    with pytest.raises(mg.ParameterError, match="30 components"):
        mg.Estimator(lambda z: np.sum(np.sin(z)), q, method="difference", backend="numpy")
    estimator = mg.Estimator(lambda z: np.sum(np.sin(z)), q, method="auto", backend="numpy")
    assert estimator.plan.method == "pathwise"


def test_steps_of_some_components_are_those_of_all():
    problem = Problem(excess, mg.Normal(np.zeros(5), 1.0), {"c": np.linspace(0.1, 2.0, 5)}, {})
    inputs = named({"loc": np.zeros(5), "scale": np.ones(()), "c": np.linspace(0.1, 2.0, 5)})
    every = Steps(problem, ["c"], "float64").steps(inputs)["c"]
    some = Steps(problem, ["c"], "float64", {"c": [1, 3]}).steps(inputs)["c"]
    np.testing.assert_array_equal(some[[1, 3]], every[[1, 3]])
