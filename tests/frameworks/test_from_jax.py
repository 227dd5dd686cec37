"""Integrands written in jax.numpy: the numbers of JAX, the estimates of their NumPy twins, and what is refused."""

import pickle

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace
from tests.frameworks.of_jax import QUICKLY, jax

jnp, lax = jax.numpy, jax.lax

RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((50, 3)), RNG.random(50).round(), RNG.standard_normal((3, 4))
V = np.array([-1.7, -0.4, 0.3, 0.9, 2.6])
M = RNG.standard_normal((3, 4))
TABLE = np.sin(np.arange(90.0))
HALVES = np.array([-1.5, -0.5, 0.5, 1.5, 2.5])
PD = M @ M.T + np.eye(3)
L = np.linalg.cholesky(PD)
I = np.array([2, 0, 2])  # noqa: E741

FUNCTIONS = {
    # elementwise
    "arithmetic": (lambda a: (a + 2) * a / (1 + a**2) - -a, V),
    "powers": (lambda a: a**3 + a**-2 + jnp.square(a) + lax.rsqrt(1 + a * a) + jnp.cbrt(a) + jnp.abs(a) ** 1.7, V),
    "exponentials": (lambda a: jnp.exp(a) + jnp.expm1(a) + jnp.exp2(a) + jnp.log1p(a * a) + jnp.log(jnp.abs(a)), V),
    "angles": (lambda a: jnp.sin(a) + jnp.cos(a) + jnp.tan(a) + jnp.arctan(a) + jnp.arctan2(a, 1 + a * a), V),
    "arcs": (lambda a: jnp.arcsin(a / 3) + jnp.arccos(a / 3) + jnp.arcsinh(a) + jnp.arctanh(a / 3), V),
    "hyperbolic": (lambda a: jnp.sinh(a) + jnp.cosh(a) + jnp.tanh(a) + jnp.arccosh(1 + a * a), V),
    "special": (
        lambda a: jax.scipy.special.erf(a) + jax.scipy.special.erfc(a) + lax.lgamma(a * a) + lax.digamma(a * a),
        V,
    ),
    "erf_inv": (lambda a: jax.scipy.special.erfinv(a / 3) + jax.scipy.special.ndtr(a), V),
    "trigamma": (jax.grad(lambda a: lax.digamma(a * a).sum()), V),
    "round": (lambda a: jnp.round(a) + lax.round(a) + jnp.floor(a) + jnp.ceil(a) + jnp.sign(a) + jnp.trunc(a), HALVES),
    "remainders": (lambda a: a % 0.7 + a // 0.7 + jnp.fmod(a, 0.7) + lax.rem(a, -0.7), V),
    "comparisons": (
        lambda a: jnp.where((a > 0) & ~(a >= 2) | (a < -1) ^ (a <= -3), a, 2 * a) + (a == 0.3) + (a != 0.3),
        V,
    ),
    "choices": (lambda a: jnp.clip(a, -1, 1) + lax.clamp(0.0, a, 1.0) + jnp.maximum(a, 0.2) + jnp.minimum(a, a * a), V),
    "select by number": (lambda a: lax.select_n((a > 0).astype(int) + (a > 1), a, 2 * a, 3 * a), V),
    "nn": (lambda a: jax.nn.relu(a) + jax.nn.gelu(a) + jax.nn.silu(a) + jax.nn.elu(a) + jax.nn.softplus(a), V),
    "integers": (
        lambda a: (
            (a > 0).sum() // 2 + a.astype(int) + (a > 0).mean(dtype=float) + jnp.arange(5) // 2 - jnp.arange(5) % 3
        ),
        V,
    ),
    "named": (lambda a: jnp.logaddexp(a, 1.0) + jnp.hypot(a, 2.0) + jnp.sinc(a) + jax.nn.log_sigmoid(a), V),
    # reductions, running versions, products
    "sums": (lambda a: a.sum(0) + a.mean() + a.prod(0) + a.max(0) - a.min(0) + a.std() + a.var(1).sum(), M),
    "truths": (lambda a: (a > 0).any(0) * 1.0 + (a > -1).all(0), M),
    "softmax": (lambda a: jax.nn.softmax(a, 0) + jax.nn.log_softmax(a) + jax.nn.logsumexp(a, 1, keepdims=True), M),
    "running": (lambda a: jnp.cumsum(a, 1) + jnp.cumprod(a, 0) + lax.cummax(a, 1) + lax.cummin(a, 0, reverse=True), M),
    "cumlogsumexp": (lambda a: lax.cumlogsumexp(a, 1) + lax.cumsum(a, 0, reverse=True), M),
    "products": (lambda a: a @ a.T + jnp.einsum("ik,jk,k->ij", a, a, a[0]) + jnp.dot(a, a[0])[:, None], M),
    "batched product": (lambda a: jax.vmap(jnp.outer)(a, a) + jnp.tensordot(a, a, ((0,), (0,))), M),
    "norm": (lambda a: jnp.linalg.norm(a) + jnp.trace(a[:, :3]) + jnp.diagonal(a[:, :3]).sum(), M),
    # shapes
    "shapes": (lambda a: a.T.reshape(2, 6)[:, None].squeeze(1).ravel()[::-1] + jnp.broadcast_to(a[0, 0], 12), M),
    "slices": (lambda a: a[0, 1:] + a[-1, ::2].sum() + a[:, -1] + a[..., 0] + a[::-1, 1], M),
    "joined": (lambda a: jnp.concatenate([a, a[:1]]) + jnp.stack([a[0]] * 4) + jnp.vstack([a, a[1]]), M),
    "padded": (lambda a: lax.pad(a, 0.5, ((1, -1, 1), (-1, 2, 0))) + lax.pad(a, a[0, 0], ((1, 1, 0), (0, 1, 0))), M),
    "split": (
        lambda a: (
            jnp.split(a, 2, 1)[1] * jnp.roll(a, 1, 0)[:, :2]
            + jnp.flip(a)[:, 2:]
            + jnp.tile(a, 2)[:, 3:5]
            + jnp.unstack(a)[1][:2]
        ),
        M,
    ),
    "triangle": (lambda a: jnp.tril(a[:, :3]) + jnp.triu(a[:, 1:]) + jnp.diag(a[0, :3]) + jnp.eye(3), M),
    # indices
    "index": (
        lambda a: a[I] + a[I, I].sum() + a[np.array([True, False, True])].sum() + jnp.take(a, 2, axis=1).sum(),
        M,
    ),
    "index out of bounds": (lambda a: a.at[jnp.array([0, 7])].get(mode="fill", fill_value=1.0), M),
    "traced indices": (
        lambda a: (
            a[jnp.abs(a[0]).astype(int)].sum()
            + a[:, jnp.floor(a[0, 0]).astype(int)]
            + jnp.asarray(TABLE)[(9 * a * a).astype(int)].sum(1)
        ),
        M,
    ),
    "traced starts": (
        lambda a: (
            lax.dynamic_slice(a, (jnp.abs(a[0, 0]).astype(int), 9), (2, 3))
            + jnp.take(a, (2 * a[0, 1:3]).astype(int), 1, mode="clip").sum()
            + jax.vmap(lambda row, k: row[k])(a, (a[:, 0] > 0).astype(int)).sum()
        ),
        M,
    ),
    "no index": (lambda a: jnp.nan_to_num(a.at[(99 * a[0, :2]).astype(int)].get(mode="fill", fill_value=2.0)), M),
    "dynamic": (lambda a: lax.dynamic_slice(a, (1, 9), (2, 3)) + lax.dynamic_index_in_dim(a, 1)[:, :3], M),
    "set": (lambda a: a.at[1, 2].set(a[0, 0]).at[:, 0].set(7.0).at[I[:2]].set(a[:2] * 2), M),
    "update": (
        lambda a: lax.dynamic_update_slice(a, a[:1, :2], (1, 1)) + lax.dynamic_update_slice(a, a[:1], (1, 0)),
        M,
    ),
    "add at": (lambda a: a.at[I].add(a * a).at[0].subtract(a[1]), M),
    "add at once more": (lambda a: jnp.zeros(3).at[jnp.array([0, 0, 9])].add(a[:, 0], mode="drop"), M),
    # linear algebra
    "triangular": (lambda a: jax.scipy.linalg.solve_triangular(L, a, lower=True) + jnp.linalg.solve(PD, a), M),
    "triangular, transposed": (lambda a: jax.scipy.linalg.solve_triangular(a, M[:, 0], lower=True, trans=1), L),
    "upper": (lambda a: jax.scipy.linalg.solve_triangular(a, M, lower=False), L.T),
    "cholesky": (lambda a: jnp.linalg.cholesky(a), PD),
    "narrow constants": (lambda a: a @ jnp.ones((4, 3), jnp.bfloat16) + jnp.float16(0.5) * a[:, :3], M),
    "of constants": (lambda a: a + jnp.linalg.inv(PD) @ jnp.sort(M, 1) + jnp.fft.fft(jnp.ones(4)).real, M),
    # jaxprs in jaxprs
    "jit": (jax.jit(lambda a: jax.jit(jnp.sin)(a) + jax.checkpoint(jnp.cos)(a)), V),
    "derivative": (jax.grad(lambda a: jnp.sum(jnp.tanh(a) ** 2 * jax.nn.softplus(a))), V),
    "hessian": (lambda a: jnp.trace(jax.hessian(lambda b: jnp.sum(jnp.sin(b)) * b[0])(a)), V),
    "cond": (lambda a: lax.cond(a[0] > 0, jnp.sin, jnp.cos, a) + lax.cond(True, jnp.sin, jnp.cos, a), V),
    "switch": (lambda a: lax.switch(1, [jnp.sin, jnp.cos, jnp.tan], a), V),
    "fori_loop": (lambda a: lax.fori_loop(0, 4, lambda i, x: x * 0.5 + a[i], a), V),
    "scan": (lambda a: lax.scan(lambda c, x: (c * x + 1.0, c), 1.0, a, reverse=True)[1], V),
    "scan of constants": (lambda a: a + lax.scan(lambda c, x: (c + x, c), 0.0, jnp.arange(2000.0))[0], V),
    "while": (lambda a: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * a), (0, a))[1], V),
    "vmap": (jax.vmap(lambda row: jnp.where(row[0] > 0, row.sum(), row.max())), M),
    "logpdf": (lambda a: jax.scipy.stats.norm.logpdf(a, 0.3, 2.0) + jax.scipy.stats.gamma.logpdf(a * a, 2.0), V),
}


@pytest.fixture(scope="module")
def right():
    """What JAX computes, compiled at once, and quickly."""
    with jax.enable_x64(True):
        found = jax.jit(
            lambda given: {name: f(given[name]) for name, (f, _) in FUNCTIONS.items()}, compiler_options=QUICKLY
        )({name: jnp.asarray(x) for name, (_, x) in FUNCTIONS.items()})
    return {name: np.asarray(x) for name, x in found.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_numbers_of_jax(name, right):
    function, x = FUNCTIONS[name]
    ours, given = mg.from_jax(function), build.input_("x", x.shape)
    np.testing.assert_allclose(ours(x), right[name], rtol=1e-12, atol=1e-13)
    traced = trace(ours, (given,), {})
    (value,) = interpret([traced], {given: x[..., None]}, "float64")
    assert traced.shape == right[name].shape
    np.testing.assert_allclose(value[..., 0], right[name], rtol=1e-12, atol=1e-13)


# --- as an integrand -------------------------------------------------------------------------------------------------
Q = mg.Normal(np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.0, 0.7]))
REGRESSION = {"params": {"tau": 1.5}, "data": {"X": X, "y": Y}}
WEIGHTS = {"hidden": {"w": W, "b": np.zeros(4)}, "out": RNG.standard_normal(4)}


def log_joint(z, *, tau, X, y):
    logits = X @ z
    return jnp.sum(y * logits - jax.nn.softplus(logits)) - 0.5 * tau * jnp.sum(z**2)


def log_joint_in_numpy(z, *, tau, X, y):
    logits = X @ z
    return np.sum(y * logits - np.logaddexp(logits, 0.0)) - 0.5 * tau * np.sum(z**2)


def network(z, *, weights):
    hidden = jnp.tanh(z @ weights["hidden"]["w"] + weights["hidden"]["b"])
    return jax.nn.logsumexp(hidden) + jnp.where(z[0] > 0, jnp.sqrt(jnp.abs(z[0])), 0.0) * (hidden @ weights["out"])


def network_in_numpy(z, *, weights):
    hidden = np.tanh(z @ weights["hidden"]["w"] + weights["hidden"]["b"])
    top = np.max(hidden)
    lse = np.log(np.sum(np.exp(hidden - top))) + top
    return lse + np.where(z[0] > 0, np.sqrt(np.abs(z[0])), 0.0) * (hidden @ weights["out"])


@pytest.mark.parametrize(
    ("f", "twin", "given", "choices"),
    [
        (log_joint, log_joint_in_numpy, REGRESSION, {"backend": "cpu"}),
        (log_joint, log_joint_in_numpy, REGRESSION, {"backend": "numpy", "method": "score"}),
        (network, network_in_numpy, {"params": {"weights": WEIGHTS}}, {"backend": "numpy"}),
    ],
)
def test_estimates_are_those_of_the_numpy_function(f, twin, given, choices):
    for seed in (3, 4):
        ours, right = (mg.estimate(g, Q, 500, seed=seed, **choices, **given) for g in (mg.from_jax(f), twin))
        assert ours.value == pytest.approx(right.value, rel=1e-12)
        assert list(tree.flatten(ours.grad)) == list(tree.flatten(right.grad))
        for path, gradient in tree.flatten(ours.grad).items():
            np.testing.assert_allclose(gradient, tree.flatten(right.grad)[path], rtol=1e-11, atol=1e-12)


def test_objectives_methods_and_verification():
    ours, right = (
        mg.estimate(mg.elbo(f, Q), n=500, **REGRESSION) for f in (mg.from_jax(log_joint), log_joint_in_numpy)
    )
    assert ours.value == pytest.approx(right.value, rel=1e-12)
    assert mg.verify(mg.from_jax(log_joint), Q, 2000, backends="cpu", **REGRESSION).ok
    assert "log_joint" in repr(mg.elbo(mg.from_jax(log_joint), Q))


def test_stopped_gradients():
    est = mg.estimate(mg.from_jax(lambda z: jnp.sum(z * lax.stop_gradient(z))), mg.Normal(np.ones(2), 0.0001), 100)
    np.testing.assert_allclose(est.grad["loc"], 1.0, atol=1e-3)


def test_integers_of_data_index():
    groups = np.array([0, 1, 1, 2])
    f = mg.from_jax(lambda z, groups: sum(z[g] for g in groups) + jnp.sum(z[groups] ** 2))
    ours = mg.estimate(f, Q, 200, data={"groups": groups})
    right = mg.estimate(lambda z, groups: np.sum(z[groups]) + np.sum(z[groups] ** 2), Q, 200, data={"groups": groups})
    assert ours.value == pytest.approx(right.value, rel=1e-12)


def test_jump_warnings_name_the_line_of_f():
    def f(z):
        return jnp.where(z[0] > 0.3, 1.0, 0.0)  # this line

    with pytest.warns(mg.JumpWarning, match=rf"line {f.__code__.co_firstlineno + 1}"):
        mg.estimate(mg.from_jax(f), Q, 2000, method="pathwise")


def random(z):
    return jnp.sum(z * jax.random.normal(jax.random.key(0), (3,)))


def random_loop(z):
    return jnp.sum(z) + lax.fori_loop(0, 3, lambda i, x: x + jax.random.normal(jax.random.key(0)), 0.0)


def condition(z):
    return z[0] if z[0] > 0 else z[1]


def long(z):
    return lax.fori_loop(0, 6000, lambda i, x: x.at[i].set(z[0]), jnp.zeros(6000)).sum()


def search(z):
    return lax.while_loop(lambda c: c > 0, lambda c: c - 1.0, z[0])


def floats_as_index(z, i):
    return z[i.astype(int)]


def wrong_shapes(z):
    return jnp.dot(z, jnp.ones(4))


@pytest.mark.parametrize(
    ("f", "named", "remedy"),
    [
        (lambda z: lax.approx_max_k(z, 2)[0].sum(), "the primitive approx_top_k", "jax.lax.top_k"),
        (lambda z: z.at[0].apply(jnp.sin).sum(), "x.at[i].apply(f)", "x.at[i].set(f(x[i]))"),
        (lambda z: jnp.fft.fft(z).real[0], "complex", "two real arrays"),
        (lambda z: lax.igamma(2.0, z[0] ** 2), "the primitive igamma", "no counterpart"),
        (random, "jax.random", "belong in q"),
        (random_loop, "jax.random", "belong in q"),
        (condition, "", "use jnp.where or lax.cond"),
        (long, "lax.scan of 6000 steps", "return what a step has as y"),
        (search, "lax.while_loop with a traced condition", "lax.scan or lax.fori_loop"),
        (lambda z: jnp.exp(1j * z[0]).real, "complex", "two real arrays"),
        (lambda z: np.sin(z).sum(), "__array__()", "in mg.from_jax"),
    ],
)
def test_refused_with_the_line_of_f_and_the_remedy(f, named, remedy):
    with pytest.raises(mg.TraceError) as caught:
        mg.estimate(mg.from_jax(f), Q, 100)
    assert named in caught.value.message
    assert remedy in caught.value.message
    assert caught.value.filename == __file__
    first = f.__code__.co_firstlineno
    assert first <= caught.value.lineno <= first + 1


def test_what_jax_itself_refuses_stays_its_own():
    with pytest.raises(TypeError, match="dot_general requires") as caught:
        mg.estimate(mg.from_jax(wrong_shapes), Q, 100)
    assert any("raised while tracing wrong_shapes with z of shape (3,)" in note for note in caught.value.__notes__)


def test_what_a_transformation_around_f_traces_is_an_argument():
    def outside(w):
        return mg.estimate(mg.from_jax(lambda z: jnp.sum(w * z)), Q, 100).value

    with pytest.raises(mg.TraceError, match=r"a transformation of JAX around f.*params= or data="):
        jax.jit(outside)(1.0)


def test_without_from_jax_the_error_says_so():
    with pytest.raises(mg.TraceError, match=r"give mg\.from_jax\(f\) for f"):
        mg.estimate(lambda z: jnp.sin(z).sum(), Q, 100)


def test_arguments_are_checked_as_those_of_f():
    with pytest.raises(mg.ParameterError, match=r"params\['rho'\].*log_joint does not accept.*tau, X, y"):
        mg.estimate(mg.from_jax(log_joint), Q, 100, params={"rho": 1.0})
    with pytest.raises(mg.ParameterError, match="f: given 3; accepted: a function"):
        mg.from_jax(3)


@mg.from_jax
def decorated(z):
    """The sum."""
    return jnp.sum(z)


def test_the_function_it_makes():
    plain = mg.from_jax(log_joint)
    assert (repr(plain), plain.__name__, decorated.__doc__) == ("from_jax(log_joint)", "log_joint", "The sum.")
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert pickle.loads(pickle.dumps(plain)).function is log_joint
    closure = pickle.loads(numba.cloudpickle.dumps(mg.from_jax(lambda z: jnp.sum(W.T @ z))))
    np.testing.assert_allclose(closure(np.ones(3)), W.sum(), rtol=1e-12)
    assert isinstance(decorated(jnp.ones(3)), jax.Array)
    assert jax.grad(decorated)(jnp.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert decorated(np.array([1.0, 2.0])) == 3.0
