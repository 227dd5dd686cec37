"""Schemes step by step: against loops by hand, their orders against exact paths, and gradients of each draw."""

import itertools
import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu import chunk

T = 6
TIMES = np.array([0.0, 0.1, 0.25, 0.3, 0.7, 0.9, 1.2])
STEPS = np.diff(TIMES)
Z = np.random.default_rng(3).standard_normal((T, 2))
X0 = np.array([1.0, 2.0])
CORRELATION = np.array([[1.0, -0.6], [-0.6, 1.0]])


def drift(t, x):
    return 0.3 * np.cos(t) * (1.5 - x)


def diffusion(t, x):
    return 0.2 * (1.0 + t) * x


def by_hand(start, z, step):
    found = [start]
    for t, dt, each in zip(TIMES, STEPS, z, strict=False):
        found.append(step(t, dt, found[-1], np.sqrt(dt) * each))
    return np.stack(found)


def test_euler_by_hand():
    found = mg.sde.euler(drift, diffusion, X0, TIMES, Z)
    expected = by_hand(X0, Z, lambda t, dt, x, dw: x + drift(t, x) * dt + diffusion(t, x) * dw)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_milstein_by_hand():
    found = mg.sde.milstein(drift, diffusion, X0, TIMES, Z)

    def step(t, dt, x, dw):
        slope = 0.2 * (1.0 + t)
        return x + drift(t, x) * dt + diffusion(t, x) * dw + 0.5 * slope * diffusion(t, x) * (dw**2 - dt)

    np.testing.assert_allclose(found, by_hand(X0, Z, step), rtol=1e-13)


def test_heun_by_hand():
    found = mg.sde.heun(drift, diffusion, X0, TIMES, Z)

    def step(t, dt, x, dw):
        end = x + drift(t, x) * dt + diffusion(t, x) * dw
        a = 0.5 * (drift(t, x) + drift(t + dt, end))
        return x + a * dt + 0.5 * (diffusion(t, x) + diffusion(t + dt, end)) * dw

    np.testing.assert_allclose(found, by_hand(X0, Z, step), rtol=1e-14)


ROWS = np.array([[0.3, 0.1], [-0.2, 0.4]])
NOISES = {
    "scalar": (lambda t, x: 0.2 * x, Z[:, 0], lambda x, dw: 0.2 * x * dw),
    "diagonal": (lambda t, x: 0.2 * x, Z, lambda x, dw: 0.2 * x * dw),
    "one number": (lambda t, x: 0.2, Z, lambda x, dw: 0.2 * dw),
    "general": (lambda t, x: ROWS * x[:, None], Z, lambda x, dw: x * (ROWS @ dw)),
    "one of one motion": (lambda t, x: ROWS[:, :1] * x[:, None], Z[:, :1], lambda x, dw: x * (ROWS[:, :1] @ dw)),
}


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("scheme", [mg.sde.euler, mg.sde.heun])
def test_kinds_of_noise(name, scheme):
    function, z, driven = NOISES[name]
    found = scheme(None, function, X0, TIMES, z)

    def step(t, dt, x, dw):
        first = driven(x, dw)
        return x + (first if scheme is mg.sde.euler else 0.5 * (first + driven(x + first, dw)))

    np.testing.assert_allclose(found, by_hand(X0, z, step), rtol=1e-13)


@pytest.mark.parametrize("name", [name for name in NOISES if len(np.shape(NOISES[name][1])) == 2])
def test_correlation_is_that_of_the_motions(name):
    function, z, _ = NOISES[name]
    L = np.linalg.cholesky(CORRELATION[: z.shape[1], : z.shape[1]])
    found = mg.sde.euler(drift, function, X0, TIMES, z, correlation=L @ L.T)
    np.testing.assert_allclose(found, mg.sde.euler(drift, function, X0, TIMES, z @ L.T), rtol=1e-13)
    np.testing.assert_allclose(found, mg.sde.euler(drift, function, X0, TIMES, z, scale_tril=L), rtol=1e-13)


def test_a_nested_state_is_its_numbers():
    """A dict with a number and an array, driven by one array of noise, by nested noise, and as one array."""
    z = np.random.default_rng(4).standard_normal((T, 3))
    x0 = {"b": np.array([1.0, 2.0]), "a": 0.5}

    def nested(t, x):
        return {"a": 0.1 * x["a"] + 0.05 * np.sum(x["b"]), "b": 0.2 * x["b"] * x["a"]}

    def flat(t, x):
        return np.concatenate([[0.1 * x[0] + 0.05 * (x[1] + x[2])], 0.2 * x[1:] * x[0]])

    together = mg.sde.euler(flat, flat, np.array([0.5, 1.0, 2.0]), TIMES, z)
    in_turn = mg.sde.euler(nested, nested, x0, TIMES, z)
    leaf_by_leaf = mg.sde.euler(nested, nested, x0, TIMES, {"a": z[:, 0], "b": z[:, 1:]})
    for found in (in_turn, leaf_by_leaf):
        np.testing.assert_allclose(found["a"], together[:, 0], rtol=1e-13)
        np.testing.assert_allclose(found["b"], together[:, 1:], rtol=1e-13)


def test_reductions_are_those_of_the_path():
    options = {"xs": {"k": np.arange(6.0)}, "observe": lambda t, x: {"sum": np.sum(x), "own": t * x}}
    names = {"a": "last", "b": ("mean", "max"), "c": "min", "d": "integral", "e": "path"}
    found = mg.sde.euler(lambda t, x, d: drift(t, x) + 0.1 * d["k"], lambda t, x, d: 0.3, X0, TIMES, Z, **options,
                         reduce=names)  # fmt: skip
    for part in ("sum", "own"):
        path = found["e"][part]
        assert len(path) == T + 1
        np.testing.assert_allclose(found["a"][part], path[-1])
        np.testing.assert_allclose(found["b"][0][part], path[1:].mean(0))
        np.testing.assert_allclose(found["b"][1][part], path.max(0))
        np.testing.assert_allclose(found["c"][part], path.min(0))
        np.testing.assert_allclose(found["d"][part], np.trapezoid(path, TIMES, axis=0))


def test_data_and_jumps_of_each_step():
    rng = np.random.default_rng(5)
    jumps, data = rng.standard_normal((T, 2)), rng.standard_normal(T)
    arguments = (lambda t, x, k: k * x, lambda t, x, k: 0.1 * k, X0, TIMES, Z)
    for scheme in (mg.sde.euler, mg.sde.milstein):
        found = scheme(*arguments, xs=data, jumps=jumps, jump=lambda t, x, k: t + x * k)
        x = X0
        for t, dt, k, j, z, at in zip(TIMES, STEPS, data, jumps, Z, found[1:], strict=False):
            x = x + (t + x * k) * j + k * x * dt + 0.1 * k * np.sqrt(dt) * z
            np.testing.assert_allclose(at, x, rtol=1e-12)


@pytest.mark.parametrize("scheme", [mg.sde.euler, mg.sde.milstein])
def test_steps_between_the_times(scheme):
    """Six times with four steps between two: names are of the times, the integral and barriers of all steps."""
    fine = np.concatenate([np.linspace(a, b, 4, endpoint=False) for a, b in itertools.pairwise(TIMES)])
    rng = np.random.default_rng(11)
    z, data = rng.standard_normal((24, 2)), rng.standard_normal(24)
    rules = {"survival": mg.sde.Survival(upper=4.0), "integral": "integral", "path": "path"}
    names = {"mean": "mean", "max": "max", "last": "last"}
    for construction in ("sequential", "bridge"):
        arguments = {"xs": data, "construction": construction, "jumps": 0.01 * z}
        functions = lambda t, x, k: drift(t, x) + 0.1 * k, lambda t, x, k: diffusion(t, x)
        found = scheme(*functions, X0, TIMES, z, substeps=4, reduce=rules | names, **arguments)
        every = scheme(*functions, X0, [*fine, TIMES[-1]], z, reduce=rules, **arguments)
        np.testing.assert_allclose(found["path"], every["path"][::4], rtol=1e-12)
        for name in ("survival", "integral"):
            np.testing.assert_allclose(found[name], every[name], rtol=1e-12)
            assert (found[name] > 0).all()
        np.testing.assert_allclose(found["mean"], found["path"][1:].mean(0), rtol=1e-12)
        np.testing.assert_allclose(found["max"], found["path"].max(0), rtol=1e-12)
        np.testing.assert_allclose(found["last"], found["path"][-1], rtol=1e-12)


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


@pytest.mark.parametrize("construction", ["bridge", "pca"])
@pytest.mark.parametrize("correlation", [None, -0.6])
def test_constructions_make_the_motions(construction, correlation):
    covariance = None if correlation is None else CORRELATION
    w = mg.paths.brownian(Z, TIMES[1:], construction, covariance=covariance)
    found = mg.sde.euler(None, lambda t, x: 1.0, np.zeros(2), TIMES, Z, construction=construction,
                         correlation=correlation)  # fmt: skip
    np.testing.assert_allclose(found[1:], w, atol=1e-12)
    exact = mg.sde.gbm(X0, TIMES, Z, drift=0.1, volatility=0.2, construction=construction, correlation=correlation)
    np.testing.assert_allclose(exact[1:], X0 * np.exp(0.08 * TIMES[1:, None] + 0.2 * w), rtol=1e-12)


@pytest.mark.parametrize("construction", ["sequential", "bridge", "pca"])
def test_variances_are_those_of_the_factor(construction):
    """Ito's term of general noise, and Milstein's of diagonal noise, with motions whose variances are not 1."""
    L = np.array([[0.5, 0.0], [0.6, 1.7]])
    w = mg.paths.brownian(Z, TIMES[1:], construction, scale_tril=L)
    options = {"scale_tril": L, "construction": construction}
    found = mg.sde.gbm(X0, TIMES, Z, drift=0.1, volatility=ROWS, **options)
    variances = np.diag(ROWS @ L @ L.T @ ROWS.T)
    exact = X0 * np.exp((0.1 - 0.5 * variances) * TIMES[1:, None] + w @ ROWS.T)
    np.testing.assert_allclose(found[1:], exact, rtol=1e-11)
    x, dws = X0, np.diff(w, axis=0, prepend=0.0)
    for t, dt, dw in zip(TIMES, STEPS, dws, strict=False):
        x = x + 0.2 * (1 + t) * x * (dw + 0.1 * (1 + t) * (dw**2 - np.diag(L @ L.T) * dt))
    for commutative in (False, True):
        found = mg.sde.milstein(None, diffusion, X0, TIMES, Z, commutative=commutative, reduce="last", **options)
        np.testing.assert_allclose(found, x, rtol=1e-11)


# --- orders ----------------------------------------------------------------------------------------------------------
def strong_errors(scheme, exact, drift, diffusion, paths=2000):
    """Mean distances from exact ends of paths of time 1, by 8, 16, 32 and 64 steps of the same motions."""
    z = np.random.default_rng(5).standard_normal((64, paths))
    ends, found = exact(z.sum(0) / 8.0), []
    for steps in (8, 16, 32, 64):
        coarse = z.reshape(steps, 64 // steps, paths).sum(1) / np.sqrt(64 // steps)
        last = scheme(drift, diffusion, np.ones(paths), np.linspace(0.0, 1.0, steps + 1), coarse, reduce="last")
        found.append(np.abs(last - ends).mean())
    return np.array(found)


def order(errors):
    return -np.polyfit(np.log2([8, 16, 32, 64]), np.log2(errors), 1)[0]


def gbm_end(w):
    return np.exp(0.1 - 0.5 * 0.6**2 + 0.6 * w)


def test_strong_orders():
    rate, vol = (lambda t, x: 0.1 * x), (lambda t, x: 0.6 * x)
    assert abs(order(strong_errors(mg.sde.euler, gbm_end, rate, vol)) - 0.5) < 0.1
    assert abs(order(strong_errors(mg.sde.milstein, gbm_end, rate, vol)) - 1.0) < 0.1
    ito = strong_errors(mg.sde.heun, gbm_end, lambda t, x: (0.1 - 0.5 * 0.6**2) * x, vol)
    assert abs(order(ito) - 1.0) < 0.1


def test_milstein_with_motions_that_commute():
    """One number driven by two correlated motions, dx = x (0.4, 0.5) . dW: its order is that of one motion."""
    rows, z = np.array([0.4, 0.5]), np.random.default_rng(6).standard_normal((64, 2))
    L = np.linalg.cholesky(CORRELATION)
    errors = []
    for steps in (16, 64):
        coarse = z.reshape(steps, 64 // steps, 2).sum(1) / np.sqrt(64 // steps)
        last = mg.sde.milstein(None, lambda t, x: x * rows, 1.0, np.linspace(0.0, 1.0, steps + 1), coarse,
                               correlation=-0.6, commutative=True, reduce="last")  # fmt: skip
        exact = np.exp(rows @ (L @ z.sum(0)) / 8.0 - 0.5 * rows @ CORRELATION @ rows)
        errors.append(abs(last - exact))
    euler = mg.sde.euler(None, lambda t, x: x * rows, 1.0, np.linspace(0.0, 1.0, 65), z, correlation=-0.6,
                         reduce="last")  # fmt: skip
    assert errors[1] < errors[0] / 2.5
    assert errors[1] < abs(euler - exact) / 4


def test_milstein_with_one_motion_and_a_state_that_mixes():
    def mixing(t, x):
        return np.stack([0.3 * x[1], 0.2 * x[0] * x[1]])

    def step(t, dt, x, dw):
        g = mixing(t, x)
        jacobian = np.array([[0.0, 0.3], [0.2 * x[1], 0.2 * x[0]]])
        return x + g * dw + 0.5 * (jacobian @ g) * (dw**2 - dt)

    for z in (Z[:, 0], Z[:, :1]):
        found = mg.sde.milstein(None, mixing if z.ndim == 1 else lambda t, x: mixing(t, x)[:, None], X0, TIMES, z)
        np.testing.assert_allclose(found, by_hand(X0, Z[:, 0], step), rtol=1e-12)


def test_milstein_reads_functions_number_by_number():
    as_one = mg.sde.milstein(None, lambda t, x: np.array([0.1, 0.2]) * x**1.5, X0, TIMES, Z, correlation=-0.6)
    stacked = mg.sde.milstein(
        None, lambda t, x: np.stack([0.1 * x[0] ** 1.5, 0.2 * x[1] ** 1.5]), X0, TIMES, Z, correlation=-0.6
    )
    a, b = mg.sde.milstein(
        None, lambda t, x: (0.1 * x[0] ** 1.5, 0.2 * x[1] ** 1.5), tuple(X0), TIMES, Z, correlation=-0.6
    )
    by_rows = mg.sde.milstein(
        None, lambda t, x: np.diag([0.1, 0.2]) * x**1.5, X0, TIMES, Z, correlation=-0.6, commutative=True
    )
    for found in (stacked, np.stack([a, b], axis=1), by_rows):
        np.testing.assert_allclose(found, as_one, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "x0"),
    [
        (lambda t, x: np.stack([x[1], x[0]]), X0),
        (lambda t, x: ROWS * x[:, None], X0),
        (lambda t, x: 0.1 * x * np.sum(x), X0),
        (lambda t, x: (x[0] * np.exp(x[1]), 0.2 * x[1]), (1.0, 0.04)),
    ],
)
def test_milstein_refuses_what_needs_levy_areas(function, x0):
    with pytest.raises(mg.TraceError, match=r"Levy areas.*euler, or commutative=True"):
        mg.sde.milstein(None, function, x0, TIMES, Z)
    assert np.isfinite(mg.sde.milstein(None, function, x0, TIMES, Z, commutative=True)[-1]).all()


def test_milstein_is_euler_where_the_noise_is_additive():
    arguments = (drift, lambda t, x: ROWS * (1.0 + t), X0, TIMES, Z)
    np.testing.assert_allclose(mg.sde.milstein(*arguments), mg.sde.euler(*arguments), rtol=1e-14)


# --- traced ----------------------------------------------------------------------------------------------------------
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


def test_milstein_from_numbers_with_traced_functions():
    """The first state is no stand-in, nor is z; what the functions read is."""

    def f(w, *, vol):
        last = mg.sde.milstein(drift, lambda t, x: vol * x, X0, TIMES, Z, reduce="last")
        return np.sum(last) + 0.0 * w

    est = mg.estimate(f, mg.Normal(0.0, 1.0), 2, params={"vol": 0.3}, wrt="vol", backend="numpy", dtype="float64")
    up, down = (f(0.0, vol=0.3 + h) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(est.value, f(0.0, vol=0.3), rtol=1e-12)
    np.testing.assert_allclose(est.grad["vol"], (up - down) / 2e-6, rtol=1e-7)


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


@pytest.mark.parametrize("jumps", [True, False])
def test_a_kink_of_the_diffusion_that_makes_terms_of_milstein_jump(jumps):
    """The term g g' of g = vol sqrt(max(x, 0)) is vol^2 / 2 down to 0, and 0 below; that of vol max(x, 0) is a kink."""

    def f(z, *, vol):
        def diffusion(t, x):
            above = np.maximum(x, 0.0)
            return vol * (np.sqrt(above) if jumps else above)

        return mg.sde.milstein(drift, diffusion, 0.1, TIMES, z, reduce="last")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mg.Estimator(f, mg.Normal(np.zeros(T), 1.0), params={"vol": 0.4}, wrt="vol", backend="numpy")
    assert [each.category for each in caught] == [mg.JumpWarning] * jumps
    assert all(each.filename == __file__ for each in caught)
