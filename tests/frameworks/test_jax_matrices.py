"""Linear algebra of JAX in `from_jax`: JAX's numbers, derivatives, and few equations for any number of rows."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.program import toposort
from mcgrad.trace.trace import trace
from tests.frameworks.derivatives import computed
from tests.frameworks.of_jax import agrees, has_the_derivative_of_its_values, jax, joined, values_of

jnp, lax, linalg = jax.numpy, jax.lax, jax.scipy.linalg

RNG = np.random.default_rng(0)
S, B, TALL = RNG.standard_normal((5, 5)), RNG.standard_normal((5, 2)), RNG.standard_normal((4, 3))
PD = S @ S.T + np.eye(5)
SEVERAL = np.stack([PD, S, 2 * PD])
MANY_PD = np.stack([PD, PD + 0.3 * np.eye(5), 2 * PD])


def symmetric(a):
    return (a + jnp.swapaxes(a, -1, -2)) / 2


def of_eigenvectors(a):
    values, vectors = jnp.linalg.eigh(a)
    return vectors @ jnp.diag(jnp.exp(values / 9)) @ vectors.T


def conjugate_gradients(a):
    def product(x):
        return {"x": symmetric(a) @ x["x"] + 0.5 * x["y"], "y": 3.0 * x["y"] + 0.5 * x["x"]}

    return jax.scipy.sparse.linalg.cg(product, {"x": B[:, 0], "y": B[:, 1]}, tol=1e-13, maxiter=100)[0]


def by_a_map(a):
    def solve(matvec, b):
        return lax.stop_gradient(jnp.linalg.inv(a)) @ b

    return lax.custom_linear_solve(lambda x: a @ x, B[:, 0], solve, lambda vecmat, b: b)


FUNCTIONS = {
    "cholesky": (lambda a: jnp.linalg.cholesky(a), MANY_PD),
    "upper": (lambda a: jnp.linalg.cholesky(a, upper=True), PD),
    "solve": (lambda a: jnp.linalg.solve(a, B), S),
    "solve for a vector": (lambda a: jnp.linalg.solve(a, a[0]), S),
    "solve several": (lambda a: jnp.linalg.solve(a, B), SEVERAL),
    "solve by vmap": (jax.vmap(lambda a: jnp.linalg.solve(a, a[0] * a[1])), SEVERAL),
    "solve for rows": (lambda a: jax.vmap(lambda b: jnp.linalg.solve(a, b))(B.T), S),
    "inv": (jnp.linalg.inv, S),
    "det": (lambda a: jnp.linalg.det(a) + jnp.linalg.det(a[:3, :3]), S),
    "slogdet": (jnp.linalg.slogdet, S),
    "slogdet by vmap": (jax.vmap(lambda a: jnp.linalg.slogdet(a)[1] * a[0, 0]), SEVERAL),
    "derivative of slogdet": (jax.grad(lambda a: jnp.linalg.slogdet(a)[1] + jnp.linalg.det(a)), S),
    "derivative of solve": (jax.grad(lambda a: jnp.linalg.solve(a, B).sum()), S),
    "derivative of cholesky": (jax.grad(lambda a: jnp.log(jnp.diagonal(jnp.linalg.cholesky(a))).sum()), PD),
    "eigh": (of_eigenvectors, PD),
    "eigvalsh": (jnp.linalg.eigvalsh, MANY_PD),
    "svdvals": (lambda a: jnp.linalg.svdvals(a) + jnp.linalg.cond(a) + jnp.linalg.norm(a, 2), TALL),
    "triangular": (
        lambda a: (
            linalg.solve_triangular(a, B, lower=True) + linalg.solve_triangular(a, B, trans=1, unit_diagonal=True)
        ),
        PD,
    ),
    "triangular by vmap": (jax.vmap(lambda a: linalg.solve_triangular(a, B, lower=True)), MANY_PD),
    "right side": (lambda a: lax.linalg.triangular_solve(a, B.T, lower=True, transpose_a=True), PD),
    "cho_solve": (lambda a: linalg.cho_solve(linalg.cho_factor(a), B), PD),
    "lu_solve": (lambda a: [linalg.lu_solve(linalg.lu_factor(a), B, trans=k) for k in (0, 1)], S),
    "lu": (lambda a: linalg.lu(a), S),
    "lu of few columns": (lambda a: linalg.lu(a), TALL),
    "symmetric systems": (lambda a: linalg.solve(a, B, assume_a="pos"), PD),
    "a map": (by_a_map, S),
    "conjugate gradients": (conjugate_gradients, PD),
    "multivariate normal": (lambda a: jax.scipy.stats.multivariate_normal.logpdf(B[:, 0], a[0], a), PD),
}


@pytest.fixture(scope="module")
def right():
    return values_of(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_jax_and_derivatives_those_of_values(name, right):
    f, x = FUNCTIONS[name]
    agrees(f, x, right[name], 1e-9, 1e-9)
    along = np.sin(1.0 + np.arange(x.size)).reshape(x.shape)
    along = along + np.swapaxes(along, -1, -2) if x.shape[-1] == x.shape[-2] else along
    has_the_derivative_of_its_values(f, x, right[name].size, along)


@pytest.mark.parametrize("f", [
    jnp.linalg.inv, jnp.linalg.cholesky, jnp.linalg.slogdet, lambda a: linalg.lu_solve(linalg.lu_factor(a), a),
    lambda a: jax.scipy.stats.multivariate_normal.logpdf(a[0], a[1], a), lambda a: linalg.solve_triangular(a, a),
])  # fmt: skip
def test_equations_are_as_many_for_any_number_of_rows(f):
    counts = {len(list(toposort([trace(mg.from_jax(joined(f)), (build.input_("a", (n, n)),), {})]))) for n in (6, 30)}
    assert len(counts) == 1
    assert counts.pop() < 60


def test_functions_of_jax_are_known_under_vmap_by_what_they_compute():
    """A row of arguments that is as long as there are rows, as it was once taken for theirs."""
    x = np.linspace(-1.0, 2.0, 4)

    def table(a):
        return jax.vmap(lambda s: jnp.logaddexp(x, s) + jnp.hypot(x, s) + jnp.copysign(x, s))(a)

    right = np.logaddexp(x, x[:, None]) + np.hypot(x, x[:, None]) + np.copysign(x, x[:, None])
    np.testing.assert_allclose(computed(mg.from_jax(table), x), right, rtol=1e-14)


@pytest.mark.parametrize(("f", "named", "remedy"), [
    (lambda z: jnp.linalg.svd(z)[0].sum(), "svd with its vectors", "jnp.linalg.svdvals"),
    (lambda z: jnp.linalg.qr(z)[0].sum(), "the primitive qr", "jnp.linalg.cholesky"),
    (lambda z: jnp.linalg.eig(z)[0].real.sum(), "the primitive eig", "no draw changes"),
])  # fmt: skip
def test_refused_with_the_line_of_f_and_the_remedy(f, named, remedy):
    with pytest.raises(mg.TraceError) as caught:
        mg.estimate(mg.from_jax(f), mg.Normal(np.eye(3), 1.0), 100)
    assert named in caught.value.message
    assert remedy in caught.value.message
    assert (caught.value.filename, caught.value.lineno) == (__file__, f.__code__.co_firstlineno)


def test_a_map_of_many_unknowns_is_refused():
    def f(z):
        return jax.scipy.sparse.linalg.cg(lambda x: x * (2.0 + z), jnp.ones(200))[0].sum()

    with pytest.raises(mg.TraceError, match=r"custom_linear_solve for a map of 200 unknowns.*of up to 128"):
        mg.estimate(mg.from_jax(f), mg.Normal(0.0, 0.1), 100)
