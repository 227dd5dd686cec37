"""Objectives that know their q: bounds and divergences against closed forms, and estimators made for them."""

import numpy as np
import pytest
import scipy.stats

import mcgrad as mg
from mcgrad import tree
from mcgrad.engine.per_draw import PerDraw
from mcgrad.validate.agreement import agreement

MOST_Z = 5.0
TRIL = np.array([[0.7, 0.0], [-0.4, 1.3]])
ENTROPIES = {
    "normal": (mg.Normal([0.3, 1.0], [0.5, 1.5]), lambda loc, scale: scipy.stats.norm(loc, scale).entropy().sum()),
    "shared scale": (mg.Normal([0.3, 1.0], 0.5), lambda loc, scale: scipy.stats.norm(loc, scale).entropy().sum()),
    "lognormal": (
        mg.LogNormal([0.3, 1.0], 0.5),
        lambda loc, scale: scipy.stats.lognorm(scale, scale=np.exp(loc)).entropy().sum(),
    ),
    "uniform": (mg.Uniform([-1.0, 0.0], 2.0), lambda low, high: np.log(high - low).sum()),
    "multivariate": (
        mg.MultivariateNormal([0.3, 1.0], TRIL),
        lambda loc, scale_tril: scipy.stats.multivariate_normal(loc, scale_tril @ scale_tril.T).entropy(),
    ),
}


def z_scores(est, grad):
    found, error = tree.flatten(est.grad), tree.flatten(est.grad_stderr)
    return {path: np.max(np.abs(found[path] - right) / (error[path] + 1e-12)) for path, right in grad.items()}


@pytest.mark.parametrize("name", ENTROPIES)
def test_entropies(name):
    q, scipys = ENTROPIES[name]
    exact = scipys(**q.params)
    assert q.entropy(**q.params) == pytest.approx(exact, rel=1e-12)
    est = mg.estimate(lambda z: -q.log_prob(z, **q.params), q, 20_000, backend="numpy")
    assert abs(est.value - exact) < MOST_Z * est.stderr + 1e-12
    joint = mg.Joint(a=q, b=mg.Normal(0.0, 2.0))
    assert joint.entropy(**joint.params) == pytest.approx(exact + scipy.stats.norm(0, 2).entropy())


PAIRS = [
    (mg.Normal([0.3, 1.0], 0.5), mg.Normal(0.1, [1.0, 2.0])),
    (mg.LogNormal([0.3, 1.0], 0.5), mg.LogNormal(0.1, [1.0, 2.0])),
    (mg.MultivariateNormal([0.3, 1.0], TRIL), mg.MultivariateNormal([0.0, 0.5], TRIL.T @ TRIL @ np.diag([1.0, 0.0])
                                                                    + np.diag([0.0, 1.5]))),
    (mg.Uniform([0.2, 0.1], 0.9), mg.Uniform(0.0, [1.0, 2.0])),
    (mg.HalfNormal([0.5, 2.0]), mg.HalfNormal([1.0, 1.0])),
    (mg.Exponential([0.5, 2.0]), mg.Exponential([1.0, 1.0])),
    (mg.Laplace([0.3, 1.0], 0.5), mg.Laplace(0.1, [1.0, 2.0])),
    (mg.Poisson([0.5, 2.0]), mg.Poisson([1.0, 1.0])),
    (mg.Bernoulli([0.3, 0.6]), mg.Bernoulli(logits=[0.5, -0.4])),
    (mg.Binomial(4, [0.3, 0.6]), mg.Binomial(4, logits=[0.5, -0.4])),
    (mg.Geometric([0.3, 0.6]), mg.Geometric(logits=[0.5, -0.4])),
    (mg.Categorical([0.3, 0.6, 0.1]), mg.Categorical(logits=[0.5, -0.4, 0.0])),
    (mg.OneHotCategorical([0.3, 0.6, 0.1]), mg.OneHotCategorical(logits=[0.5, -0.4, 0.0])),
    (mg.Joint(a=mg.Normal(0.3, 0.5), b=mg.Uniform(0.2, 0.9)), mg.Joint(a=mg.Normal(), b=mg.Uniform())),
]  # fmt: skip


@pytest.mark.parametrize(("q", "p"), PAIRS, ids=lambda q: type(q).__name__)
def test_divergences_in_closed_form_are_those_of_the_draws(q, p):
    exact = mg.estimate(mg.kl(q, p), n=2, backend="numpy")
    assert exact.stderr == 0
    assert all(np.all(error == 0) for error in tree.flatten(exact.grad_stderr).values())
    drawn = mg.estimate(lambda z: q.log_prob(z, **q.params) - p.log_prob(z, **p.params), q, 20_000, wrt=(),
                        backend="numpy")  # fmt: skip
    assert abs(drawn.value - exact.value) < MOST_Z * drawn.stderr + 1e-12
    assert exact.value > 0.01
    assert mg.verify(mg.kl(q, p), n=4000, backends=["numpy"]).ok  # the form's own derivative
    assert mg.estimate(mg.kl(q, q), n=2, backend="numpy").value == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("q", "p"), PAIRS[:3], ids=lambda q: type(q).__name__)
def test_divergences_by_the_draws(q, p):
    exact = mg.estimate(mg.kl(q, p), n=2, backend="numpy")
    drawn = mg.estimate(mg.kl(q, p), n=20_000, method="stl", backend="numpy")
    assert abs(drawn.value - exact.value) < MOST_Z * drawn.stderr
    assert max(z_scores(drawn, tree.flatten(exact.grad)).values()) < MOST_Z


def test_a_divergence_without_a_closed_form():
    q, p = mg.Normal(0.3, 0.5), mg.Cauchy(0.1, 2.0)
    est = mg.estimate(mg.kl(q, p), n=4000, backend="numpy")
    assert est.stderr > 0
    normal = scipy.stats.norm(0.3, 0.5)
    exact = -normal.entropy() - normal.expect(scipy.stats.cauchy(0.1, 2.0).logpdf)
    assert abs(est.value - exact) < MOST_Z * est.stderr
    with pytest.raises(mg.ParameterError, match=r"p: given event shape \(2,\); accepted: event shape \(\)"):
        mg.kl(q, mg.Normal(np.zeros(2)))


# --- a conjugate model: prior N(0, 1) on z, y ~ N(z, noise); log p(y) and the posterior are known ---------------------
Y, NOISE = np.array([0.8, 1.9, 1.1]), 0.7
EVIDENCE = scipy.stats.multivariate_normal(np.zeros(3), np.ones((3, 3)) + NOISE**2 * np.eye(3)).logpdf(Y)
PRECISION = 1 + len(Y) / NOISE**2
POSTERIOR = (Y.sum() / NOISE**2 / PRECISION, PRECISION**-0.5)


def log_joint(z, *, noise, y):
    prior = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    return prior + np.sum(-0.5 * ((y - z) / noise) ** 2 - np.log(noise) - 0.5 * np.log(2 * np.pi))


def bound(loc, scale):
    """log p(y) - KL(q || posterior), and its gradient."""
    m, s = POSTERIOR
    value = EVIDENCE - (np.log(s / scale) + (scale**2 + (loc - m) ** 2) / (2 * s**2) - 0.5)
    return value, {"loc": -(loc - m) / s**2, "scale": 1 / scale - scale / s**2}


MODEL = {"params": {"noise": NOISE}, "data": {"y": Y}, "backend": "numpy"}
METHODS = ["pathwise", "stl", "score", "score+optimal", "score+leave_one_out", "measure_valued"]


@pytest.mark.parametrize("method", METHODS)
def test_the_elbo_of_a_conjugate_model(method):
    q = mg.Normal(0.9, 0.5)
    value, grad = bound(0.9, 0.5)
    est = mg.estimate(mg.elbo(log_joint, q), n=40_000, method=method, **MODEL)
    assert abs(est.value - value) < MOST_Z * est.stderr
    assert max(z_scores(est, grad).values()) < MOST_Z
    assert est.grad_stderr["noise"] > 0
    verified = mg.verify(mg.elbo(log_joint, q), n=4000, method=method, params=MODEL["params"], data=MODEL["data"],
                         backends=["numpy"])  # fmt: skip
    assert verified.ok, str(verified)
    others = {"noise": "pathwise"}  # a parameter of the log joint alone
    assert verified.method == (method if method == "pathwise" else {"loc": method, "scale": method, **others})


def test_an_objective_reads_its_q():
    q = mg.Normal(0.9, 0.5)
    one, two = (mg.estimate(mg.elbo(log_joint, q), *rest, n=1000, **MODEL) for rest in ((), (q,)))
    assert one.value == two.value
    with pytest.raises(mg.ParameterError, match=r"q: given .*; accepted: nothing, or the distribution"):
        mg.estimate(mg.elbo(log_joint, q), mg.Normal(0.0, 1.0), 1000, **MODEL)
    with pytest.raises(mg.ParameterError, match="n: given None"):
        mg.estimate(mg.elbo(log_joint, q), **MODEL)
    with pytest.raises(mg.ParameterError, match="log_joint: given 3"):
        mg.elbo(3, q)


def test_an_entropy_in_closed_form_has_no_noise():
    """A flat log joint leaves the entropy alone."""
    q = mg.Joint(a=mg.Normal(0.0, 2.0), b=mg.LogNormal(0.3, 0.5))
    est = mg.estimate(mg.elbo(lambda z: 0.0 * z["a"], q), n=100, backend="numpy")
    assert est.stderr < 1e-12
    assert est.value == pytest.approx(q.entropy(**q.params))
    assert est.grad["a"]["scale"] == pytest.approx(0.5)


def samples(objective, method, n, **inputs):
    """Value and gradient draw by draw."""
    estimator = mg.Estimator(objective, method=method, wrt=["loc", "scale"], backend="numpy", dtype="float64", **inputs)
    return PerDraw(estimator.program)(estimator.inputs.values({}), 0, n)


@pytest.mark.parametrize("d", [1, 5])
def test_sticking_the_landing_is_exactly_zero_for_every_draw_at_the_posterior(d):
    loc, scale = np.linspace(-1.0, 2.0, d), np.linspace(0.3, 1.7, d)
    target = mg.Normal(loc, scale)
    params = {"m": loc, "s": scale}
    objective = mg.elbo(lambda z, *, m, s: mg.Normal.log_prob(z, loc=m, scale=s), target)
    stl = samples(objective, "stl", 1000, params=params)
    assert stl.shape == (1 + 2 * d, 1000)
    assert not stl.any()
    pathwise = samples(objective, "pathwise", 1000, params=params)
    assert pathwise[1:].std(axis=1).min() > 0.1  # zero in the mean only
    dreg = samples(mg.iwae(objective.log_joint, target, 4), "dreg", 1000, params=params)
    assert np.abs(dreg[1:]).max() == 0


def test_the_divergence_from_itself_sticks_too():
    q = mg.Normal(0.3, 0.7)
    assert np.abs(samples(mg.kl(q, mg.Normal(0.3, 0.7)), "stl", 1000)[1:]).max() < 1e-14


def importance_weighted(loc, scale, k):
    """The bound with k = 2 draws by quadrature."""
    x, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()
    z = loc + scale * x
    log_w = np.array([log_joint(one, noise=NOISE, y=Y) for one in z]) - scipy.stats.norm(loc, scale).logpdf(z)
    pairs = np.logaddexp(log_w[:, None], log_w[None, :]) - np.log(2)
    return w @ pairs @ w


@pytest.mark.parametrize("method", ["pathwise", "dreg", "score", "score+mean", "score+leave_one_out"])
def test_the_importance_weighted_bound(method):
    loc, scale, h = 0.9, 0.5, 1e-4
    exact = importance_weighted(loc, scale, 2)
    grad = {
        "loc": (importance_weighted(loc + h, scale, 2) - importance_weighted(loc - h, scale, 2)) / (2 * h),
        "scale": (importance_weighted(loc, scale + h, 2) - importance_weighted(loc, scale - h, 2)) / (2 * h),
    }
    est = mg.estimate(mg.iwae(log_joint, mg.Normal(loc, scale), 2), n=64_000, method=method, **MODEL)
    assert abs(est.value - exact) < MOST_Z * est.stderr
    assert max(z_scores(est, grad).values()) < MOST_Z
    assert est.group == (16 if "leave" in method else 2)
    value, _ = bound(loc, scale)
    assert value < exact < EVIDENCE


def test_signal_to_noise_grows_with_k_where_the_plain_gradient_loses_it():
    """Rainforth et al. 2018, Tucker et al. 2018: as 1 / sqrt(k) and sqrt(k)."""
    q, groups, ks = mg.Normal(1.0, 0.42), 8000, (1, 8, 64)
    ratios = {}
    for method in ("pathwise", "dreg"):
        estimates = [mg.estimate(mg.iwae(log_joint, q, k), n=groups * k, method=method, wrt="loc", **MODEL) for k in ks]
        ratios[method] = [abs(e.grad["loc"]) / (e.grad_stderr["loc"] * groups**0.5) for e in estimates]
    assert ratios["pathwise"][0] > 1.5 * ratios["pathwise"][2]
    assert ratios["dreg"][0] * 2 < ratios["dreg"][1]
    assert ratios["dreg"][1] * 2 < ratios["dreg"][2]


def test_a_log_joint_of_numba_functions():
    numba = pytest.importorskip("numba")
    value = numba.njit(lambda z: -0.5 * (z[0] - 1.0) ** 2)

    @numba.njit
    def value_and_grad(z, grad):
        grad[0] = 1.0 - z[0]
        return -0.5 * (z[0] - 1.0) ** 2

    native = mg.Integrand(value=value, value_and_grad=value_and_grad)
    for method in ("pathwise", "stl", "score"):
        one, two = (
            mg.estimate(mg.elbo(f, mg.Normal(0.3, 0.5)), n=200, method=method, backend="numpy")
            for f in (native, lambda z: -0.5 * (z - 1.0) ** 2)
        )
        assert one.grad["loc"] == pytest.approx(two.grad["loc"], rel=1e-12)
    with pytest.raises(mg.ParameterError, match="wrt: given a, in which an Integrand gives no gradient"):
        mg.estimate(mg.elbo(native, mg.Normal()), n=200, params={"a": 1.0}, wrt="a")


def test_what_would_be_biased_is_refused():
    bound_ = mg.iwae(log_joint, mg.Normal(), 4)
    with pytest.raises(mg.ParameterError, match="'stl', biased for a bound of 4 draws; accepted: 'dreg'"):
        mg.estimate(bound_, n=400, method="stl", **MODEL)
    with pytest.raises(mg.ParameterError, match="'measure_valued' for a bound of 4 draws"):
        mg.estimate(bound_, n=400, method="measure_valued", **MODEL)
    with pytest.raises(mg.ParameterError, match="k: given 0"):
        mg.iwae(log_joint, mg.Normal(), 0)


@pytest.mark.parametrize(("k", "method"), [(1, "stl"), (4, "dreg")])
def test_the_compiled_kernel_agrees_with_numpy(k, method):
    objective = mg.iwae(log_joint, mg.Normal(0.9, 0.5), k)
    right, other = (
        mg.estimate(objective, n=4000, method=method, **{**MODEL, "backend": name}) for name in ("numpy", "cpu")
    )
    assert agreement(right, other).ok, agreement(right, other)
