"""Functions of JAX that find, sort and write by value in `from_jax`: JAX's numbers, and the derivatives of these."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.program import toposort
from mcgrad.trace.trace import trace
from tests.frameworks.derivatives import computed
from tests.frameworks.of_jax import agrees, has_the_derivative_of_its_values, jax, values_of

jnp, lax = jax.numpy, jax.lax

V = np.array([-1.7, -0.4, 0.3, 0.9, 2.6])
M = np.random.default_rng(0).standard_normal((4, 3))
TIES = np.array([[1.0, 2.0, 2.0], [0.0, 1.0, 0.0], [2.0, 1.0, 2.0]])
KNOTS, AT = np.array([-2.0, -0.5, 0.5, 3.0]), np.array([1.0, 2.0, 0.0, 4.0])
GROUPS = np.array([0, 0, 1, 1, 2])
IMAGE = np.random.default_rng(1).standard_normal((2, 6, 7))
KERNEL = np.random.default_rng(2).standard_normal((4, 2, 3, 2))
GROUPED = np.random.default_rng(3).standard_normal((4, 1, 2, 2))
WHOLE = np.array([0, 2, 2, 9, 1])


def whole(a):
    return jnp.abs(a).astype(int)


FUNCTIONS = {
    "sort": (lambda a: (jnp.sort(a), jnp.sort(a, 0), jnp.sort(a, descending=True), jnp.sort(a, None)), M),
    "argsort": (lambda a: (a * a)[jnp.argsort(a)] + a[jnp.argsort(-a, stable=True)], V),
    "sort rows": (lambda a: (jnp.argsort(a, 0), lax.sort((a.astype(int), a + 1, a), num_keys=2, dimension=1)), TIES),
    "quantiles": (lambda a: (jnp.median(a), jnp.quantile(a, 0.3), jnp.percentile(a, jnp.array([10.0, 90.0]))), V),
    "top_k": (lambda a: (lax.top_k(a, 2)[0], (a * a)[lax.top_k(a[:, 0], 2)[1]]), M),
    "argmax": (lambda a: (a[jnp.argmax(a * a)], (a * a)[jnp.argmin(a)], jax.nn.one_hot(jnp.argmax(a), 5) @ a), V),
    "argmax by row": (lambda a: jnp.take_along_axis(a, jnp.argmax(a, 1)[:, None], 1) + jnp.argmin(a, 0), M),
    "ties": (lambda a: (jnp.argmax(a, 1), jnp.argmin(a, 1), lax.top_k(a, 2)[1]), TIES),
    "interp": (lambda a: jnp.interp(a, KNOTS, AT) + jnp.interp(np.array([0.1, 0.7, 0.2, 0.3, 1.0]), KNOTS, a[1:]), V),
    "interp among knots": (lambda a: jnp.interp(np.array([0.1, 0.5]), jnp.sort(a), a * a), V),
    "searchsorted": (lambda a: (jnp.searchsorted(KNOTS, a) * a, jnp.digitize(a, KNOTS) * a), V),
    "search among traced": (lambda a: jnp.searchsorted(a, np.array([-1.0, 0.5, 9.0]), side="right"), V),
    "select": (lambda a: jnp.select([a > 1, a > 0], [a, a * a], 0.5), V),
    "piecewise": (lambda a: jnp.piecewise(a, [a < 0, a >= 0.5], [lambda x: -x, lambda x: x * x, 3.0]), V),
    "set": (lambda a: jnp.zeros(5).at[jnp.argmax(a)].set(a[0]).at[whole(a[4])].set(7.0, mode="drop"), V),
    "set several": (lambda a: jnp.ones((4, 3)).at[whole(a[:2, 0]) + jnp.arange(2)].set(a[:2] * 2), M),
    "set a column": (lambda a: a.at[:, whole(a[0, 0])].set(a[:, 0] * 2).at[1, whole(a[1, 1])].set(a[0, 0]), M),
    "set out of bounds": (lambda a: a.at[whole(9 * a[:3])].set(5.0).at[jnp.argmax(a) + 3].set(1.0, mode="clip"), V),
    "add": (lambda a: jnp.zeros(3).at[whole(a)].add(a * a) + jnp.ones(3).at[whole(a)].multiply(a), V),
    "extremes at": (lambda a: (jnp.zeros(3).at[whole(a)].max(a), jnp.zeros(3).at[whole(a)].min(a, mode="drop")), V),
    "at constants": (lambda a: (a.at[WHOLE].multiply(a), a.at[WHOLE].max(a[::-1]), a.at[:3].min(0.1)), V),
    "powers at": (lambda a: (jnp.abs(a).at[1].power(2.0), a.at[1].divide(a[0])), V),
    "update": (lambda a: lax.dynamic_update_slice(a, a[:2, 1:] * 2, (jnp.argmax(a[:, 0]), whole(a[0, 0]) + 1)), M),
    "update rows": (lambda a: lax.dynamic_update_slice(a, a[:2] * 2, (jnp.argmax(a[:, 0]), 0)), M),
    "segments": (lambda a: (jax.ops.segment_sum(a, GROUPS, 4), jax.ops.segment_max(a, GROUPS, 3)), V),
    "products": (lambda a: jax.ops.segment_prod(a, GROUPS, 3) + jax.ops.segment_min(a, GROUPS, 3), V),
    "bincount": (lambda a: jnp.bincount(np.array([0, 1, 1, 2, 0]), a, length=3), V),
    "nonzero": (lambda a: a[jnp.nonzero(a > 0, size=2)[0]], V),
    "convolve": (lambda a: (jnp.convolve(a, a[:2]), jnp.correlate(a, a[1:4], "same"), jax.scipy.linalg.toeplitz(a)), V),
    "convolutions": (
        lambda a: (
            lax.conv(a[None], KERNEL, (1, 2), "SAME"),
            lax.conv_general_dilated(a[None], GROUPED, (2, 1), ((1, 0), (0, 2)), (1, 2), (2, 1), feature_group_count=2),
            lax.conv_general_dilated(a[None], KERNEL.T, (1, 1), "VALID", dimension_numbers=("NCHW", "WHIO", "NHWC")),
            lax.conv_transpose(a[None], KERNEL.T, (2, 2), "SAME", dimension_numbers=("NCHW", "WHIO", "NCHW")),
        ),
        IMAGE,
    ),
    "windows": (
        lambda a: (
            lax.reduce_window(a, -jnp.inf, lax.max, (1, 2, 3), (1, 2, 1), "SAME"),
            lax.reduce_window(a, 0.0, lax.add, (1, 2, 2), (1, 1, 2), "VALID", (1, 1, 2), (1, 2, 1)),
            lax.reduce_window(a, jnp.inf, lax.min, (2, 2, 2), (1, 1, 1), "VALID"),
        ),
        IMAGE,
    ),
    "gamma": (lambda a: (jax.scipy.special.gamma(a), jax.scipy.special.beta(a[2:], 2.0)), V),
    "signs": (lambda a: jnp.where(jnp.signbit(a), a, 2 * a) + jnp.copysign(2.0, a), V),
}  # fmt: skip
ROUGH = ("sort rows", "ties", "search among traced")


@pytest.fixture(scope="module")
def right():
    return values_of(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_jax_and_derivatives_those_of_values(name, right):
    f, x = FUNCTIONS[name]
    agrees(f, x, right[name], 1e-11, 1e-12)
    if name not in ROUGH:
        along = np.sin(1.0 + np.arange(x.size)).reshape(x.shape)
        has_the_derivative_of_its_values(f, x, right[name].size, along)


def test_loops_write_at_their_counter():
    """A body that indexes what is carried stays a loop."""

    def path(z):
        def step(t, prices):
            return prices.at[t + 1].set(prices[t] * jnp.exp(0.1 * z[t]))

        return lax.fori_loop(0, 40, step, jnp.ones(41)).mean()

    z = np.sin(np.arange(40.0))
    traced = trace(mg.from_jax(path), (build.input_("z", (40,)),), {})
    assert len(list(toposort([traced]))) < 40
    assert computed(mg.from_jax(path), z) == pytest.approx(np.mean(np.exp(0.1 * np.cumsum([0.0, *z]))), rel=1e-12)


def test_many_places_are_refused_with_the_line_of_f():
    def f(z):
        return jnp.zeros(5000).at[jnp.argmax(z)].set(z[0]).sum()

    with pytest.raises(mg.TraceError, match="writing at a traced index cannot be traced") as caught:
        mg.estimate(mg.from_jax(f), mg.Normal(np.zeros(3), 1.0), 100)
    assert (caught.value.filename, caught.value.lineno) == (__file__, f.__code__.co_firstlineno + 1)
