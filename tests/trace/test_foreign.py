"""Functions, arrays and errors of other libraries: ours, with the user's line and the remedy; the user's own stay."""

from __future__ import annotations

import functools
import math
import operator
import statistics

import numba
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.sparse
import scipy.stats

import mcgrad as mg

q = mg.Normal(np.zeros(3), 1.0)
SPARSE = scipy.sparse.eye_array(3)
MASKED = np.ma.masked_array(np.ones(3), [0, 1, 0])


@numba.njit
def compiled(z):
    return z.sum()


@numba.vectorize
def squares(x):
    return x * x


@numba.guvectorize(["(float64[:], float64[:])"], "(n)->()")
def sums(x, out):
    out[0] = x.sum()


def missing(z):
    return {}["missing"]


def estimate(f, **given):
    return mg.estimate(f, q, n=100, backend="numpy", **given)


@pytest.mark.parametrize(
    ("f", "named", "remedy"),
    [
        (compiled, "compiled, which Numba has compiled", "compiled.py_func, or an mg.Integrand"),
        (squares, "squares, which Numba has compiled", "the Python function, without the decorator"),
        (sums, "sums, which Numba has compiled", "the Python function, without the decorator"),
        (math.sin, "math.sin", "use np.sin"),
        (math.fsum, "math.fsum", "use np.sum"),
        (np.vectorize(lambda x: x * x), "np.vectorize", "written for whole arrays"),
        (np.frompyfunc(lambda x: x, 1, 1), "a ufunc that NumPy does not have", "the Python function"),
        (lambda z: compiled(z), "compiled(z)", ".py_func, or give an mg.Integrand"),
        (lambda z: np.sum(np.vectorize(lambda x: x * x)(z)), "np.vectorize(lambda x: x * x)(z)", "whole arrays"),
        (lambda z: statistics.mean(z), "statistics.mean(z)", "NumPy's functions"),
        (lambda z: scipy.stats.norm.logpdf(z).sum(), "scipy.stats.norm.logpdf(z)", "mg.Normal(0.0, 1.0).log_prob(z)"),
        (lambda z: scipy.integrate.quad(lambda x: x * z[0], 0, 1)[0], "scipy.integrate.quad(", "NumPy's functions"),
        (lambda z: scipy.optimize.brentq(lambda x: x - z[0], -9, 9), "scipy.optimize.brentq(", "NumPy's functions"),
        (lambda z: np.sum(SPARSE @ z), "SPARSE @ z", "NumPy's functions"),
        (lambda z: np.sum(z @ SPARSE), "a sparse dia_array as an operand", "x.toarray()"),
        (lambda z: np.sum(z * MASKED), "a masked array as an operand", "x.filled(value)"),
        (lambda z: np.sum(MASKED * z), "in MASKED * z", "an array without a mask: x.filled(value)"),
        (lambda z: np.ma.mean(z), "in np.ma.mean(z)", "an array without a mask"),
        (lambda z: np.sum(np.where(z > 0, MASKED, z)), "a masked array as an operand", "x.filled(value)"),
        (lambda z: float(f"{z[0]:.3f}"), ".3f", "print(z)"),
        (lambda z: z.detach().sum(), ".detach", "leave it out"),
        (lambda z: z.unsqueeze(0).sum(), ".unsqueeze", "z[..., None]"),
        (lambda z: z.exp().sum(), ".exp", "use np.exp"),
        (lambda z: z.at[0].set(1.0), ".at", "np.where(mask, value, z)"),
    ],
)
def test_refused_with_the_remedy_and_the_users_line(f, named, remedy):
    with pytest.raises(mg.TraceError) as caught:
        estimate(f)
    assert named in caught.value.message
    assert remedy in caught.value.message
    assert caught.value.filename == __file__


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("library", "f"),
    [
        ("torch", lambda torch, z: torch.sin(z).sum()),
        ("torch", lambda torch, z: torch.tensor(z).sum()),
        ("torch", lambda torch, z: torch.matmul(torch.ones(3), z)),
        ("torch", lambda torch, z: torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()),
        ("torch", lambda torch, z: np.sum(z * torch.ones(3, requires_grad=True))),
        ("jax.numpy", lambda jnp, z: jnp.sum(jnp.sin(z))),
        ("jax.numpy", lambda jnp, z: jnp.asarray(z)),
        ("jax.numpy", lambda jnp, z: jnp.sum(jnp.ones(3) * z)),
        ("pandas", lambda pandas, z: pandas.Series(z).sum()),
        ("pandas", lambda pandas, z: (pandas.Series([1.0, 2.0, 3.0]) * z).sum()),
        ("pandas", lambda pandas, z: pandas.DataFrame(np.ones((2, 3))).dot(z).sum()),
    ],
)
def test_array_libraries(library, f):
    module = pytest.importorskip(library)
    with pytest.raises(mg.TraceError, match=r"NumPy|requires_grad") as caught:
        estimate(functools.partial(f, module))
    assert caught.value.filename == __file__
    assert library.partition(".")[0][:3] in caught.value.line


def test_what_other_libraries_do_right_stays():
    for library, f in (
        ("torch", lambda torch, z: np.sum(torch.arange(3.0) * z)),
        ("pandas", lambda pandas, z: np.sum(z @ pandas.DataFrame(np.eye(3)))),
        ("jax.numpy", lambda jnp, z: np.sum(z * jnp.ones(3))),
    ):
        assert np.isfinite(estimate(functools.partial(f, pytest.importorskip(library))).value)


@pytest.mark.parametrize(
    ("f", "error", "words"),
    [
        (missing, KeyError, "'missing'"),
        (lambda z: int("three") * z[0], ValueError, "three"),
        (lambda z: open("/no/such/file"), FileNotFoundError, "such"),  # noqa: SIM115
        (lambda z: z + np.zeros(2), ValueError, "shape"),
        (lambda z: operator.attrgetter("loc")(3), AttributeError, "loc"),
        (lambda z: z.size(0), TypeError, "callable"),
    ],
)
def test_errors_of_the_users_own_pass_through(f, error, words):
    with pytest.raises(error, match=words) as caught:
        estimate(f)
    assert not isinstance(caught.value, mg.TraceError)
    assert "mcgrad: raised while tracing" in caught.value.__notes__[0]


def test_positional_only_parameters():
    def f(z, tau, /):
        return tau * np.sum(z)

    with pytest.raises(
        mg.ParameterError, match=r"params\['tau'\]: given a name that f takes by position alone; acc.*/"
    ):
        estimate(f, params={"tau": 2.0})
    assert np.isfinite(estimate(lambda z, /, *, tau: tau * np.sum(z), params={"tau": 2.0}).value)


GROUP = {"g": np.array([0.0, 2.0])}


@pytest.mark.parametrize(
    ("f", "given", "remedy"),
    [
        (lambda z, *, g: np.sum(z[g]), {"data": GROUP}, r"g is float data, .*data=\{'g': x.astype\(int\)\}"),
        (lambda z, *, g: np.sum(z[:, None][g, 0]), {"data": GROUP}, "g is float data"),
        (lambda z, *, g: np.sum(z[g + 1]), {"data": GROUP}, "g is float data"),
        (lambda z, *, g: np.sum(np.take(z, g)), {"data": GROUP}, "g is float data"),
        (lambda z, *, g: z[0] * np.sum(np.arange(3.0)[g]), {"data": GROUP}, "g is float data"),
        (lambda z, *, g: np.sum(z[g]), {"params": GROUP}, "g is a parameter; integers that index are data"),
        (lambda z: z[z], {}, r"np\.where"),
    ],
)
def test_float_indices_say_what_is_float(f, given, remedy):
    with pytest.raises(mg.TraceError, match=remedy) as caught:
        estimate(f, **given)
    assert caught.value.filename == __file__
