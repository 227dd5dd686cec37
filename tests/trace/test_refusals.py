"""Code that cannot be traced is refused with the call, the user's line and the remedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special as sc
from numpy import asarray, mean

import mcgrad as mg
from mcgrad.errors import TraceError
from mcgrad.ir import build
from mcgrad.trace.trace import trace

X = np.arange(6.0).reshape(2, 3)


OUT = np.zeros(3)


def store(z):
    out = OUT.copy()  # of an array that f has not made
    out[0] = z[1]
    return out


def branch(z):
    if z[0] > 0:
        return z
    return -z


def in_place_constant(z):
    total = OUT.copy()
    total += z
    return total


def read_after(z):
    top = z.ravel()[:2]
    z[0] = 1.0
    return top + z[2]


def write_to_view(z):
    z.reshape(3, 1)[0] = 1.0
    return z * 2


def write_to_copies(z):
    wide = np.broadcast_to(z, (2, 3))
    wide[0] = 1.0
    return wide


def write_mask(z):
    z[z > 0] = np.ones(2)
    return z


def write_index(z):
    z[z] = 1.0
    return z


SNIPPETS: list[tuple[Callable[[Any], Any], str, str, str]] = [
    # function, what is named, the remedy, the line
    (lambda z: math.sin(z[0]), "math.sin(z[0])", "np.sin", "math.sin(z[0])"),
    (lambda z: math.lgamma(z[0]) + 1, "math.lgamma(z[0])", "scipy.special.gammaln", "math.lgamma"),
    (lambda z: math.floor(z[0]), "math.floor(z[0])", "np.floor", "math.floor"),
    (lambda z: float(z[0]), "float(z[0])", "leave out float()", "float(z[0])"),
    (lambda z: int(z[0]), "int(z[0])", "z.astype(int) to index, np.floor", "int(z[0])"),
    (lambda z: scipy.linalg.inv(np.outer(z, z)), "scipy.linalg.inv(", "those of np.linalg", "scipy.linalg.inv("),
    (lambda z: round(z[0]), "round(z[0])", "np.floor(z + 0.5)", "round(z[0])"),
    (lambda z: complex(z[0]), "complex(z[0])", "real", "complex(z[0])"),
    (lambda z: bool(z[0]), "bool(z[0])", "np.where", "bool(z[0])"),
    (lambda z: z if z[0] > 0 else -z, "bool(z[0] > 0)", "np.where(condition, a, b)", "z[0] > 0"),
    (branch, "bool(z[0] > 0)", "np.where(condition, a, b)", "if z[0] > 0:"),
    (lambda z: z[0] > 0 and z[1] > 0, "bool(z[0] > 0", "& | ~ for and, or, not", "and"),
    (lambda z: 0 < z[0] < 1, "bool(", "(a < z) & (z < b)", "0 < z[0] < 1"),
    (lambda z: max(z[0], 0), "max(z[0], 0)", "np.maximum", "max(z[0], 0)"),
    (lambda z: min(z), "min(z)", "np.minimum", "min(z)"),
    (lambda z: any(z > 0), "any(z > 0)", "np.any", "any(z > 0)"),
    (lambda z: sorted(z), "bool(", "np.where", "sorted(z)"),
    (lambda z: 1.0 in z, "1.0 in z", "np.any", "1.0 in z"),
    (lambda z: list(range(z[0])), "as an index, a size or a count", "mg.while_loop", "range(z[0])"),
    (lambda z: X[:, z[0]], "X[:, z[0]]", "np.where", "X[:, z[0]]"),
    (lambda z: X[0][z.astype(int)], "X[0][z.astype(int)] with", "np.take(x, k, axis=0)", "X[0][z"),
    (lambda z: [1.0, 2.0][z[0].astype(int)], "[1.0, 2.0][z[0].astype(int)] with", "np.take(x, k, axis=0)", "[1.0"),
    (lambda z: X[0].take(z.astype(int)), "X[0].take(z.astype(int)) with", "np.take(x, k, axis=0)", ".take"),
    (lambda z: np.take(X[0], z), "indexing by numbers that may have fractions", "k.astype(int)", "np.take"),
    (
        lambda z: mg.scan(lambda c, k: (c + X[0][k], None), z[0], np.arange(3))[0],
        "differ from step to step",
        "np.take(x, k, axis=0)",
        "X[0][k]",
    ),
    (lambda z: z[z > 0], "indexing with a traced array", "np.where", "z[z > 0]"),
    (lambda z: z[z[0]], "indexing by numbers that may have fractions", "k.astype(int)", "z[z[0]]"),
    (lambda z: np.take(z, z), "indexing by numbers that may have fractions", "k.astype(int)", "np.take"),
    (lambda z: z[None, z[0], 1:], "indexing by numbers that may have fractions", "k.astype(int)", "z[None, z[0], 1:]"),
    (lambda z: mg.scan(lambda c, x: (c + z[x], None), 0.0, z), "indexing by numbers", "k.astype(int)", "z[x]"),
    (
        lambda z: mg.scan(lambda k, x: (k + x / 2, z[k]), 0, X[0])[1],
        "indexes an array in a step",
        "carry.astype",
        "k + x",
    ),
    (lambda z: np.take(z, z, mode="wrap"), "indexing by numbers that may have fractions", "k.astype(int)", "np.take"),
    (lambda z: np.interp(0.5, z, X[0]), "np.interp with a traced value for xp=", "known while tracing", "np.interp"),
    (lambda z: z.reshape(3, z[0]), ".reshape with a traced value for shape=", "known while tracing", "z.reshape"),
    (lambda z: asarray(z), "asarray(z)", "by this name", "asarray(z)"),
    (lambda z: asarray([z[0], 1.0]), "asarray([z[0], 1.0])", "np.stack", "asarray"),
    (lambda z: np.piecewise(z, [z < 0], [np.sum, 1.0]), "np.piecewise", "np.where", "np.piecewise"),
    (lambda z: mean([z[0], 1.0]), "mean([z[0], 1.0])", "np.array([...])", "mean"),
    (lambda z: np.full(3, z[0]), "np.full(3, z[0])", "np.stack", "np.full"),
    (lambda z: np.random.default_rng(0).normal(z), "normal(z)", "mg.Joint(z=q", "normal(z)"),
    (store, "storing a traced value in a NumPy array", "np.stack", "out[0] = z[1]"),
    (read_after, "an array that was written to by way of another one", "z.copy()", "return top + z[2]"),
    (write_to_view, "an array that was written to by way of another one", "mg.at(z, i)", "return z * 2"),
    (write_to_copies, "assignment to an element", "z.copy()", "wide[0] = 1.0"),
    (write_mask, "with a traced mask", "np.where(mask, value, z)", "z[z > 0] = np.ones(2)"),
    (write_index, "indexing by numbers that may have fractions", "k.astype(int)", "z[z] = 1.0"),
    (in_place_constant, "np.add with out=", "a = a + z", "total += z"),
    (lambda z: np.exp(z, out=np.zeros(3)), "np.exp with out=", "use its result", "np.exp"),
    (lambda z: np.add(z, 1, where=X[0] > 0), "np.add with where=", "leave it out", "np.add"),
    (lambda z: np.sum(z, where=X[0] > 0), "np.sum with where=", "leave it out", "np.sum"),
    (lambda z: np.sum(z, initial=1.0), "np.sum with initial=", "leave it out", "np.sum"),
    (lambda z: z.max(initial=1.0), ".max with initial=", "leave it out", "z.max"),
    (lambda z: np.reshape(z, (3, 1), order="F"), "np.reshape with order=", "leave it out", "np.reshape"),
    (lambda z: np.pad(z, 1, "mean"), "np.pad with mode='mean'", "'constant'", "np.pad"),
    (lambda z: np.linalg.norm(np.outer(z, z), 3), "np.linalg.norm with ord=3 over 2 axes", "'fro'", "np.linalg.norm"),
    (lambda z: np.einsum(z, [0], []), "np.einsum with lists", '"ij,j->i"', "np.einsum"),
    (lambda z: np.where(z > 0), "np.where(condition) alone", "np.where(condition, a, b)", "np.where(z > 0)"),
    (lambda z: np.nanargmax(z), "np.nanargmax", "np.argmax", "np.nanargmax(z)"),
    (lambda z: z.argpartition(1), ".argpartition", "np.argsort", "z.argpartition(1)"),
    (lambda z: z.item(), ".item", "the array itself", "z.item()"),
    (lambda z: np.linalg.eig(np.outer(z, z)), "np.linalg.eig", "symmetric", "np.linalg.eig"),
    (lambda z: np.linalg.matrix_power(np.outer(z, z), z), "a traced value for n=", "known", "np.linalg.matrix_power"),
    (lambda z: np.spacing(z), "np.spacing", "not among the supported functions", "np.spacing"),
    (lambda z: np.frexp(z), "np.frexp", "not among the supported functions", "np.frexp"),
    (lambda z: np.add.at(z, 0, 1), "np.add.at", "not among the supported functions", "np.add.at"),
    (lambda z: np.subtract.reduce(z), "np.subtract.reduce", "not among the supported functions", "np.subtract.reduce"),
    (lambda z: sc.gamma(z), "scipy.special.gamma", "np.exp(scipy.special.gammaln(z))", "sc.gamma"),
    (lambda z: sc.zeta(z), "zeta", "", "sc.zeta"),
    (lambda z: sc.logsumexp(z, b=X[0]), "scipy.special.logsumexp with b=", "leave it out", "sc.logsumexp"),
    (lambda z: z.astype(complex), "astype to complex128", "float and bool", "z.astype(complex)"),
    (lambda z: z & 1, "np.bitwise_and of floats", "booleans only", "z & 1"),
    (lambda z: -(z > 0), "np.negative of booleans", "~ operator", "-(z > 0)"),
    (lambda z: (z > 0) - (z < 1), "np.subtract of booleans", "^ operator", "(z > 0) - (z < 1)"),
    (lambda z: z + None, "NoneType as an operand", "real numbers", "z + None"),
    (lambda z: z + "a", "str as an operand", "real numbers", 'z + "a"'),
    (lambda z: z * 1j, "complex as an operand", "real numbers", "z * 1j"),
    (lambda z: z * np.array([1, None, 2]), "an array of dtype object as an operand", "real numbers", "None"),
    (lambda z: z.no_such_thing, ".no_such_thing", "not among the supported methods", "z.no_such_thing"),
]


@pytest.mark.parametrize(("function", "call", "remedy", "line"), SNIPPETS, ids=[line for _, _, _, line in SNIPPETS])
def test_refused(function: Callable[[Any], Any], call: str, remedy: str, line: str):
    with pytest.raises(TraceError) as caught:
        trace(function, (build.noise(0, "normal", (3,)),), {})
    message = caught.value.message
    assert call in message
    assert remedy in message
    assert caught.value.filename == __file__
    assert line in caught.value.line
    assert f"line {caught.value.lineno}" in str(caught.value)


def test_missing_attributes_answer_hasattr():
    def function(z):
        assert not hasattr(z, "to_numpy")
        assert not hasattr(z, "__array_interface__")
        return z

    trace(function, (build.noise(0, "normal", (3,)),), {})


def test_in_place_operators_keep_shape_and_kind_as_numpy_does():
    def wider(z):
        z += np.zeros((2, 3))
        return z

    def truths(z):
        m = z > 0
        m += z
        return m

    for f, error, said in ((wider, ValueError, "non-broadcastable output"), (truths, TypeError, "Cannot cast ufunc")):
        with pytest.raises(error, match=said):
            trace(f, (build.noise(0, "normal", (3,)),), {})
        with pytest.raises(error, match=said):
            f(np.ones(3))


def test_shape_mismatch_is_numpys_error_with_a_note():
    with pytest.raises(ValueError, match="shape mismatch") as caught:
        trace(lambda z: z + np.zeros(2), (build.noise(0, "normal", (3,)),), {})
    assert caught.value.__notes__ == [
        "mcgrad: raised while tracing the function with z of shape (3,): one draw, without an axis of draws"
    ]


def test_errors_of_the_users_code_pass_through():
    with pytest.raises(KeyError, match="'missing'"):
        trace(lambda z: {}["missing"], (build.noise(0, "normal", (3,)),), {})


def test_data_and_parameters_are_said_to_change_from_call_to_call():
    for act in (lambda z, *, k: z * float(k), lambda z, *, k: z if k > 1 else -z, lambda z, *, k: z * int(k)):
        for given in ({"params": {"k": 2.0}}, {"data": {"k": 2.0}}):
            with pytest.raises(mg.TraceError, match=r"parameters or float data, .* from call to call"):
                mg.Estimator(act, mg.Normal(0.0, 1.0), **given)
    with pytest.raises(mg.TraceError, match="differs from draw to draw"):
        mg.Estimator(lambda z, *, k: z if k * z > 1 else -z, mg.Normal(0.0, 1.0), data={"k": 2.0})
