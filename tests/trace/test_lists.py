"""Functions of nested lists and tuples of traced numbers, in place of arrays."""

from __future__ import annotations

import inspect
from collections import namedtuple

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

from .cases import CASES, Case

EXP = np.exp


def again(function):
    """Return a function of NumPy's or SciPy's as code finds it in the module now."""
    modules = (np, np.linalg, scipy.special)
    name = getattr(function, "__name__", "")
    return next((getattr(m, name) for m in modules if vars(m).get(name) is function), function)


def refuse(*operands):
    raise TypeError("an operator with a list")


class Nested(list):
    """A list that is no operand of an array's operators, which a traced one cannot be."""

    __array_priority__ = 1000.0
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = refuse
    __matmul__ = __rmatmul__ = __pow__ = __rpow__ = __and__ = __iadd__ = refuse


def nested(x):
    return x if np.ndim(x) == 0 else Nested(nested(part) for part in x)


def of_lists(case: Case):
    """Return the function of a case, of nested lists; it takes functions from modules when it is called."""

    def function(*arrays):
        parameters = inspect.signature(case.function).parameters if case.function.__name__ == "<lambda>" else {}
        defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        own = {name: again(default) for name, default in defaults.items() if callable(default)}
        return again(case.function)(*map(nested, arrays), **own)

    return function


def expected(case: Case):
    """Return what NumPy makes of nested lists, or None where the case computes with arrays itself."""
    try:
        with np.errstate(invalid="ignore"):
            return np.asarray(case.function(*(nested(x[..., 0]) for x in case.sample(1))))
    except (TypeError, AttributeError, ValueError, IndexError):
        return None


# of numbers a, b, c, d in (0.3, 2): the cases above that compute with arrays, written with lists
OTHERS = {
    "np.argmax": lambda a, b, c, d: np.argmax([a, b, c]),
    "np.bitwise_and": lambda a, b, c, d: np.bitwise_and([a > 1, b > 1], [c > 1, d > 0]),
    "np.bitwise_or": lambda a, b, c, d: np.bitwise_or([a > 1, b > 1], True),
    "np.bitwise_xor": lambda a, b, c, d: np.bitwise_xor([a > 1, b > 1], [True, False]),
    "np.choose": lambda a, b, c, d: np.choose([0, 1], [[a, b], [c, d]]),
    "np.column_stack": lambda a, b, c, d: np.column_stack([[a, b], (c, 1.0)]),
    "np.empty_like": lambda a, b, c, d: a + np.zeros(np.empty_like([[a, b]]).shape),
    "np.floor_divide": lambda a, b, c, d: np.floor_divide([a, b], 0.7),
    "np.full_like": lambda a, b, c, d: np.full_like([a, 1.0], b),
    "np.invert": lambda a, b, c, d: np.invert([a > 1, b > 1]),
    "np.linalg.cholesky": lambda a, b, c, d: np.linalg.cholesky([[3.0 + a, 0.1 * b], [0.1 * b, 3.0]]),
    "np.linalg.cond": lambda a, b, c, d: np.linalg.cond([[3.0 + a, b], [c, 5.0 + d]]),
    "np.linalg.det": lambda a, b, c, d: np.linalg.det([[a, b], [c, d]]),
    "np.linalg.eigvalsh": lambda a, b, c, d: np.linalg.eigvalsh([[a, b], [b, 5.0]]),
    "np.linalg.inv": lambda a, b, c, d: np.linalg.inv([[3.0 + a, b], [c, 5.0 + d]]),
    "np.linalg.matrix_power": lambda a, b, c, d: np.linalg.matrix_power([[a, b], [c, d]], 3),
    "np.linalg.slogdet": lambda a, b, c, d: np.linalg.slogdet([[3.0 + a, b], [c, 5.0 + d]])[1],
    "np.linalg.solve": lambda a, b, c, d: np.linalg.solve(np.eye(2) * 3.0, [a, b]),
    "np.logical_and": lambda a, b, c, d: np.logical_and([a > 1, b > 1], [c > 1, d > 1]),
    "np.logical_and.reduce": lambda a, b, c, d: np.logical_and.reduce([a > 0.4, b > 0.4, c > 0.4]),
    "np.logical_not": lambda a, b, c, d: np.logical_not([a > 1, b > 1]),
    "np.logical_or": lambda a, b, c, d: np.logical_or([a > 1, b > 1], c > 1),
    "np.logical_or.reduce": lambda a, b, c, d: np.logical_or.reduce([a > 1.5, b > 1.5, c > 1.5]),
    "np.logical_xor": lambda a, b, c, d: np.logical_xor([a > 1, b > 1], [c > 1, d > 1]),
    "np.matmul": lambda a, b, c, d: np.matmul([[a, b], [c, d]], [a, 2.0]),
    "np.nan_to_num": lambda a, b, c, d: np.nan_to_num([a, np.nan]),
    "np.ndim": lambda a, b, c, d: a * np.ndim([[a, b]]),
    "np.ones_like": lambda a, b, c, d: a * np.ones_like([a, b]),
    "np.piecewise": lambda a, b, c, d: np.piecewise([a, b], [[a < 1, b < 1]], [np.exp, 0.5]),
    "np.remainder": lambda a, b, c, d: np.remainder([a, b], 0.7),
    "np.select": lambda a, b, c, d: np.select([[a < 1, b < 1], [True, False]], [[c, d], [2.0, a]], 3.0),
    "np.shape": lambda a, b, c, d: a * np.shape([[a, b], [c, d]])[1],
    "np.size": lambda a, b, c, d: a * np.size([[a, b], [c, d]]),
    "np.vstack": lambda a, b, c, d: np.vstack([[a, b], [c, 1.0], (1.0, d)]),
    "np.zeros_like": lambda a, b, c, d: a + np.zeros_like([a, b]),
    "scipy.linalg.cho_factor": lambda a, b, c, d: np.diag(
        scipy.linalg.cho_factor(np.array([[a + 3.0, b], [b, 3.0]]))[0]
    ),
    "scipy.linalg.cho_solve": lambda a, b, c, d: scipy.linalg.cho_solve(([[a, 0.0], [b, c]], True), [d, 1.0]),
    "scipy.linalg.cholesky": lambda a, b, c, d: scipy.linalg.cholesky([[a + 3.0, b], [b, 3.0]]),
    "scipy.linalg.solve_triangular": lambda a, b, c, d: scipy.linalg.solve_triangular([[a, b], [0, c]], [d, 1]),
    "a named tuple": lambda a, b, c, d: np.mean(Pair(a, b)) + np.max((Pair(a, b), [c, d])),
    "a ufunc of tuples": lambda a, b, c, d: np.add.outer((a, b), [c, 1.0]),
    "an argument by name": lambda a, b, c, d: np.average(a=[a, b, 1.0], weights=[c, d, 2.0]),
    "an array beside a list": lambda a, b, c, d: np.dot(np.eye(2), [a, b]) + np.interp(0.5, [0.0, 1.0], [c, d]),
    "arrays in a list": lambda a, b, c, d: np.std([np.array([a, b]), [c, d]], axis=0),
    "rows that f fills": lambda a, b, c, d: np.sum([filled(a, b), filled(c, d)], axis=0),
}
Pair = namedtuple("Pair", ["first", "second"])


def filled(x, y):
    out = np.zeros(2)
    out[0], out[1] = x, y
    return out


CASES_OF_LISTS = [
    *((case, want) for case in CASES if case.entry[0] != "." and (want := expected(case)) is not None),
    *((case, np.asarray(case.function(*(x[..., 0] for x in case.sample(1))))) for case in (
        Case(entry, function, ((),) * 4, ((0.3, 2.0),) * 4, False, entry) for entry, function in OTHERS.items())),
]  # fmt: skip


@pytest.mark.parametrize(("case", "want"), CASES_OF_LISTS, ids=lambda x: getattr(x, "id", ""))
def test_lists_stand_for_arrays(case: Case, want):
    leaves = [build.noise(i, "uniform", shape) for i, shape in enumerate(case.shapes)]
    result = trace(of_lists(case), tuple(leaves), {})
    (got,) = interpret([result], dict(zip(leaves, case.sample(1), strict=True)), "float64")
    assert result.shape == want.shape
    np.testing.assert_allclose(np.broadcast_to(got, (*want.shape, 1))[..., 0], want, rtol=1e-12, atol=1e-12)


def test_every_function_has_a_case():
    without = {"np.indexing", "np.hsplit", "np.vsplit", "np.take_along_axis"}  # which in NumPy are of arrays alone
    entries = {case.entry for case in CASES if case.entry.startswith(("np.", "scipy."))} - without
    assert entries - {case.entry for case, _ in CASES_OF_LISTS} == set()


def test_parts_that_differ_in_shape_are_refused_as_in_numpy():
    for f in (lambda z: np.mean([z[0], z]), lambda z: np.exp([z[0], z]), lambda z: z * [z[0], z, 1.0]):
        with pytest.raises(ValueError, match="setting an array element with a sequence"):
            trace(f, (build.noise(0, "normal", (3,)),), {})


def test_functions_compare_as_they_do_elsewhere():
    found = []

    def f(z):
        found.append((np.exp == EXP, hash(np.exp) == hash(EXP), isinstance(np.exp, np.ufunc), {EXP: 1}[np.exp]))
        found.append((np.exp is np.exp, np.exp.nin, np.mean.__name__, np.add.reduce([1, 2]), np.exp([0.0])[0]))
        return z

    trace(f, (build.noise(0, "normal", (3,)),), {})
    assert found == [(True, True, True, 1), (True, 1, "mean", 3, 1.0)] * 2


def test_names_imported_inside_the_function():
    def f(z):
        from numpy import mean
        from numpy.linalg import norm

        return mean([z[0], 1.0]) + norm([z[1], z[2]])

    z = build.noise(0, "normal", (3,))
    (got,) = interpret([trace(f, (z,), {})], {z: np.array([[1.0], [3.0], [4.0]])}, "float64")
    assert got[0] == 6.0


# --- lists that loops fill -------------------------------------------------------------------------------------------
T = 80
Q = mg.Normal(np.linspace(-0.4, 0.5, T), 0.7)
SUMMARIES = {
    "mean": lambda xs: np.mean(xs),
    "max": lambda xs: np.max(xs),
    "var": lambda xs: np.var(xs) + np.std(xs[3:]),
    "median": lambda xs: np.median(xs),
    "cumsum": lambda xs: np.cumsum(xs)[7] + np.prod(xs[:5]),
    "dot": lambda xs: np.dot(xs, xs[::-1]),
    "sort": lambda xs: np.sort(xs)[4],
    "exp": lambda xs: np.sum(np.exp(xs)),
    "reduce": lambda xs: np.logaddexp.reduce(xs),
    "norm": lambda xs: np.linalg.norm(xs),
    "where": lambda xs: np.sum(np.where(np.greater(xs, 0.1), xs, 0.1)),
    "concatenate": lambda xs: np.sum(np.concatenate([xs, [1.0], xs[:2]]) ** 2),
    "logsumexp": lambda xs: scipy.special.logsumexp(xs) + np.sum(scipy.special.erf(xs)),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_list_filled_by_a_loop(name):
    def f(z, *, w):
        xs, x = [], w
        for t in range(T):
            x = np.sin(x + z[t])
            xs.append(x * w)
        return SUMMARIES[name](xs)

    def of_array(z, *, w):
        xs, x = [], w
        for t in range(T):
            x = np.sin(x + z[t])
            xs.append(x * w)
        return SUMMARIES[name](np.array(xs))

    draws = Q.sample(5, seed=1, dtype="float64")
    estimator = mg.Estimator(f, Q, params={"w": 0.8}, wrt="w", backend="numpy", dtype="float64")
    found = estimator(5, seed=1)
    assert any(var.op == "loop" for var in estimator.program.body())
    assert found.value == pytest.approx(np.mean([f(z, w=0.8) for z in draws]), rel=1e-12)
    high, low = (np.mean([f(z, w=0.8 + step) for z in draws]) for step in (1e-5, -1e-5))
    assert found.grad["w"] == pytest.approx((high - low) / 2e-5, rel=1e-7, abs=1e-8)
    if name != "concatenate":  # whose own list is of lists
        again = mg.Estimator(of_array, Q, params={"w": 0.8}, wrt="w", backend="numpy", dtype="float64")
        assert str(again.program) == str(estimator.program)
