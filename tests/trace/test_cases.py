"""Every supported function means under the tracer what it means in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from mcgrad.ir import build
from mcgrad.ir.check import check
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program
from mcgrad.trace import linear_algebra, scipy_special
from mcgrad.trace.array_functions import BUILDERS, FUNCTIONS, resolve
from mcgrad.trace.array_methods import ATTRIBUTES, METHODS
from mcgrad.trace.trace import trace
from mcgrad.trace.ufunc_methods import ACCUMULATE, REDUCE
from mcgrad.trace.ufuncs import UFUNCS

from .cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_traced_equals_numpy(case: Case):
    draws = 5
    arrays = case.sample(draws)
    leaves = [build.noise(i, "uniform", shape) for i, shape in enumerate(case.shapes)]
    result = trace(case.function, tuple(leaves), {})
    (got,) = interpret([result], dict(zip(leaves, arrays, strict=True)), "float64")
    got = np.broadcast_to(got, (*result.shape, draws))
    for i in range(draws):
        with np.errstate(invalid="ignore"):
            want = np.asarray(case.function(*(array[..., i] for array in arrays)))
        assert result.shape == want.shape
        assert (result.kind == "bool") == (want.dtype == bool)
        np.testing.assert_allclose(got[..., i], want, rtol=1e-12, atol=1e-12)
    if result.kind == "float":
        check(Program((Output("value", result),), "float64"))


def test_every_entry_of_the_tables_has_a_case():
    tables = {
        *(f"np.{name}" for name in UFUNCS if hasattr(np, name)),
        *(f"np.{name}" for name in FUNCTIONS if resolve(name) in BUILDERS),
        *(f"np.{name}.reduce" for name in REDUCE),
        *(f"np.{name}.accumulate" for name in ACCUMULATE),
        *(f".{name}" for name in (*METHODS, *ATTRIBUTES)),
        *(f"scipy.linalg.{name}" for name in linear_algebra.SCIPY),
        *(f"scipy.special.{name}" for name in (*scipy_special.UFUNCS, *scipy_special.FUNCTIONS)),
    }
    assert tables - {case.entry for case in CASES} == set()


def test_every_function_of_the_table_exists_in_numpy():
    assert [name for name in FUNCTIONS if resolve(name) is None] == []
    assert [name for name in UFUNCS if not isinstance(getattr(np, name, np.add), np.ufunc)] == []


@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=lambda case: case.id)
def test_differentiable_cases_return_floats(case: Case):
    leaves = [build.noise(i, "uniform", shape) for i, shape in enumerate(case.shapes)]
    assert trace(case.function, tuple(leaves), {}).kind == "float"
