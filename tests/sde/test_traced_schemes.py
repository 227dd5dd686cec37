"""Schemes in integrands: gradients, kernels, batches, levels, pairs and points."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu import chunk
from tests.sde.steps import TIMES, T, Z, drift


def test_steps_between_traced_times():
    def f(z, *, vol, maturity):
        mean, top = mg.sde.euler(lambda t, x: 0.1 * t * x, lambda t, x: vol * x, 1.0, maturity * TIMES, z, substeps=3,
                                 reduce=("mean", "max"))  # fmt: skip
        return mean * top

    z, model = np.random.default_rng(6).standard_normal(18), {"vol": 0.3, "maturity": 1.1}
    options = {"wrt": list(model), "dtype": "float64"}
    est = mg.estimate(f, mg.Normal(z, 1e-12), 2, params=model, backend="numpy", **options)
    np.testing.assert_allclose(est.value, f(z, **model), rtol=1e-9)
    for name in model:
        up, down = (f(z, **model | {name: model[name] + h}) for h in (1e-6, -1e-6))
        np.testing.assert_allclose(est.grad[name], (up - down) / 2e-6, rtol=1e-6)
    q, options = mg.Normal(np.zeros(18), 1.0), {"params": model, "wrt": "vol", "dtype": "float64"}
    ours, reference = (mg.estimate(f, q, 300, backend=name, **options) for name in ("cpu", "numpy"))
    np.testing.assert_allclose(ours.grad["vol"], reference.grad["vol"], rtol=1e-9)


def heston(scheme):
    def f(z, *, spot, var, kappa, xi, rho, maturity):
        def drift(t, x):
            return 0.03 * x["s"], kappa * (0.04 - x["v"])

        def diffusion(t, x):
            root = (0.001 + x["v"] ** 2) ** 0.25
            return {"s": x["s"] * root, "v": xi * root}

        path = scheme(
            lambda t, x: dict(zip("sv", drift(t, x), strict=True)),
            diffusion,
            {"s": spot, "v": var},
            maturity * np.linspace(0.0, 1.0, T + 1) ** 1.5,
            z,
            correlation=np.array([[1.0, rho], [rho, 1.0]]),
            reduce=("last", "mean", "path"),
            **({"commutative": True} if scheme is mg.sde.milstein else {}),
        )
        return {"last": path[0]["s"], "mean": path[1], "path": path[2]["v"]}

    return f


MODEL = {"spot": 1.1, "var": 0.05, "kappa": 1.5, "xi": 0.2, "rho": -0.5, "maturity": 0.8}


@pytest.mark.parametrize("scheme", [mg.sde.euler, mg.sde.milstein, mg.sde.heun])
def test_traced_values_and_gradients_are_those_of_plain_arrays(scheme):
    """One draw without noise's scale: f on the plain draw, and its central differences in all parameters."""
    f = heston(scheme)
    estimator = mg.Estimator(f, mg.Normal(Z, 1e-12), params=MODEL, wrt=list(MODEL), dtype="float64", backend="numpy")
    est = estimator(2)
    plain = f(Z, **MODEL)
    for name, value in {"last": plain["last"], "path": plain["path"], "mean.v": plain["mean"]["v"]}.items():
        of_trace = est.value
        for key in name.split("."):
            of_trace = of_trace[key]
        np.testing.assert_allclose(of_trace, value, rtol=1e-9)
    h = 1e-6
    for name in MODEL:
        up, down = (f(Z, **MODEL | {name: MODEL[name] + s * h})["last"] for s in (1, -1))
        np.testing.assert_allclose(est.grad[name]["last"], (up - down) / (2 * h), rtol=1e-5)


def test_rows_of_a_batch_are_problems_by_themselves():
    def f(z, *, vol):
        alive = mg.sde.Survival(lower=0.8)
        last, alive = mg.sde.milstein(drift, lambda t, x: vol * x, 1.0, TIMES, z, reduce=("last", alive))
        return last * alive

    vols = np.array([0.1, 0.2, 0.3])
    options = {"wrt": "vol", "dtype": "float64", "backend": "numpy"}
    q = mg.Normal(np.zeros((3, T)), 1.0, batch_ndim=1)
    rows = mg.estimate(f, q, 200, params={"vol": vols}, batched_params="vol", **options)
    for i in (0, 2):
        one = mg.estimate(f, mg.Normal(np.zeros(T), 1.0), 20_000, params={"vol": vols[i]}, **options)
        assert abs(rows.value[i] - one.value) < 4 * np.hypot(rows.stderr[i], one.stderr)
        scale = np.hypot(rows.grad_stderr["vol"][i], one.grad_stderr["vol"])
        assert abs(rows.grad["vol"][i] - one.grad["vol"]) < 4 * scale


def test_levels_of_a_multilevel_scheme():
    """Neighbours of the noise are added: the variances of differences fall as a step (Euler), or its square."""

    def f(z, *, level, vol, scheme):
        times = np.linspace(0.0, 1.0, 2**level + 1)
        last = scheme(lambda t, x: 0.05 * x, lambda t, x: vol * x, 1.0, times, z, reduce="last")
        return last**2

    for scheme, falls in ((mg.sde.euler, 1.0), (mg.sde.milstein, 2.0)):
        est = mg.mlmc(
            lambda z, *, level, vol, scheme=scheme: f(z, level=level, vol=vol, scheme=scheme),
            lambda level: mg.Normal(np.zeros(2**level), 1.0),
            rtol=0.02,
            params={"vol": 0.4},
            seed=3,
        )
        assert abs(est.value - np.exp(0.1 + 0.16)) < 4 * est.stderr + est.bias
        assert abs(est.grad["vol"] - 0.8 * np.exp(0.26)) < 4 * est.grad_stderr["vol"] + est.grad_bias["vol"]
        assert abs(est.beta["value"].value - falls) < 0.4


def test_compiled_in_both_modes():
    """Three parameters and six: tangents in the loop, and a loop back."""
    f = heston(mg.sde.euler)

    def price(z, **model):
        return np.maximum(f(z, **model)["last"] - 1.0, 0.0)

    q = mg.Normal(np.zeros((T, 2)), 1.0)
    for wrt in (["spot", "var"], list(MODEL)):
        options = {"params": MODEL, "wrt": wrt, "dtype": "float64"}
        ours, reference = (mg.estimate(price, q, 500, backend=name, **options) for name in ("cpu", "numpy"))
        np.testing.assert_allclose(ours.value, reference.value, rtol=1e-11)
        for name in wrt:
            np.testing.assert_allclose(ours.grad[name], reference.grad[name], rtol=1e-9)


@pytest.mark.parametrize("scheme", [mg.sde.euler, mg.sde.milstein])
def test_the_emitted_source_does_not_depend_on_the_number_of_steps(scheme):
    lengths = []
    for steps in (12, 300):

        def f(z, *, spot, vol, steps=steps):
            times = np.linspace(0.0, 1.0, steps + 1)
            top = {"top": "max", "mean": "mean", "alive": mg.sde.Survival(upper=2.0)}
            found = scheme(lambda t, x: 0.05 * x, lambda t, x: vol * x, spot, times, z, reduce=top)
            return found["alive"] * np.maximum(found["top"] - found["mean"], 0.0)

        made = mg.Estimator(f, mg.Normal(np.zeros(steps), 1.0), params={"spot": 1.0, "vol": 0.2}, wrt=["spot", "vol"])
        lengths.append(len(chunk.emit(made.program).source.splitlines()))
    assert lengths[0] == lengths[1]


def test_antithetic_pairs_and_points_have_smaller_errors():
    times = np.linspace(0.0, 1.0, 17)

    def f(z, *, spot, construction="sequential"):
        mean = mg.sde.euler(lambda t, x: 0.05 * x, lambda t, x: 0.2 * x, spot, times, z, reduce="mean",
                            construction=construction)  # fmt: skip
        return np.maximum(mean - 100.0, 0.0)

    def bridged(z, *, spot):
        return f(z, spot=spot, construction="bridge")

    options = {"params": {"spot": 100.0}, "wrt": "spot", "dtype": "float64"}
    q = mg.Normal(np.zeros(16), 1.0)
    plain = mg.estimate(f, q, 2**13, **options)
    pairs = mg.estimate(f, q, 2**13, antithetic=True, **options)
    points = mg.estimate(f, q, 2**13, sampler="sobol", **options)
    of_bridge = mg.estimate(bridged, q, 2**13, sampler="sobol", **options)
    assert pairs.stderr < 0.8 * plain.stderr
    assert of_bridge.stderr < 0.6 * points.stderr < 0.3 * plain.stderr
    for est in (pairs, points):
        assert abs(est.value - of_bridge.value) < 4 * np.hypot(est.stderr, of_bridge.stderr)
