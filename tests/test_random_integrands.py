"""Random integrands: both modes agree with finite differences, and every backend with NumPy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mcgrad.backends.base import one_chunk
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.gradients.plan import plan
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, noise
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.ir.spaces import Space, named
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource
from mcgrad.simplify.fixed_point import simplify
from tests.emit.plain import low_thresholds, plain_backend  # noqa: F401 - fixtures
from tests.ops.problems import MODES, central_differences, components, evaluate
from tests.random_integrands import DATA, PARAMS, Q, expressions, integrand

DRAWS = range(40, 43)
FLOATS = {name: x for name, x in DATA.items() if x.dtype.kind == "f"}
INPUTS = named({**Q.flat_params, **PARAMS}) | named(FLOATS, Space.DATA)
LEAVES = {path: np.asarray(x, float)[..., None] for path, x in INPUTS.items()}


def problem_of(text):
    return Problem(integrand(text), Q, {name: np.asarray(x) for name, x in PARAMS.items()}, DATA)


def program_of(problem, wrt, dtype):
    return plan("pathwise", None, 2, problem.own, PARAMS).program(problem, wrt, dtype)


def leaves_of(problem, value, draw):
    eps = numbers(NoiseSource(0, "normal"), 9, np.arange(3), draw, 1, np.float64)
    return {
        var: eps if var.op == "noise" else LEAVES[var.attrs]
        for var in [*toposort([value]), *problem.params.values()]
        if var.op in ("noise", "input")
    }


@settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(expressions())
def test_gradients_agree_with_finite_differences(text):
    problem = problem_of(text)
    wrt = list(problem.params.values())
    grads = {mode: differentiate(problem.value, wrt) for mode, differentiate in MODES.items()}
    for draw in DRAWS:
        at = leaves_of(problem, problem.value, draw)
        got_value = evaluate(problem.value, at)
        with np.errstate(all="ignore"):
            z = Q.transform(next(x for var, x in at.items() if var.op == "noise")[:, 0], **Q.params)
            np.testing.assert_allclose(got_value[0], integrand(text)(z, **PARAMS, **DATA), rtol=1e-11, atol=1e-12)
        fine, finer = (central_differences(problem.value, wrt, at, step) for step in (1e-3, 2.5e-4))
        for i, (want, check) in enumerate(zip(fine, finer, strict=True)):
            scale = 1 + np.abs(want).max() + np.abs(got_value[0])
            if np.abs(want - check).max() > 1e-8 * scale:
                continue  # a kink is nearer than the step
            for found in grads.values():
                np.testing.assert_allclose(evaluate(found[i], at)[..., 0], want, rtol=0, atol=1e-7 * scale)


def agree(program, backend, dtype):
    inputs = {path: x[..., 0].astype(dtype) for path, x in LEAVES.items()}
    bound = [each.compile(program).bind(inputs) for each in (backend, NumpyBackend())]
    for draw in DRAWS:
        ours, reference = (one_chunk(each, 9, draw, draw + 1, omit=False) for each in bound)
        for (path, got), (_, want) in zip(components(program, ours), components(program, reference), strict=True):
            tolerance = {"float32": 3e-4, "float64": 1e-10}[dtype] * (1 + np.abs(want).max())
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance, err_msg=path)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(expressions())
def test_emitted_source_as_plain_python(plain_backend, text):  # noqa: F811
    problem = problem_of(text)
    agree(program_of(problem, list(problem.params), "float64"), plain_backend, "float64")


@pytest.mark.usefixtures("low_thresholds")
@settings(
    derandomize=True,
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(expressions(), st.booleans())
def test_products_and_tiles_with_draws_that_are_not_finite(plain_backend, text, omit):  # noqa: F811
    problem = problem_of(text)
    outputs = program_of(problem, list(problem.params), "float64").outputs
    spoiler = Output("spoiler", apply("log", apply("subtract", noise(99, "uniform", ()), 0.3)))
    program = Program((*outputs, spoiler), "float64")
    inputs = {path: x[..., 0] for path, x in LEAVES.items()}
    ours, want = (
        one_chunk(each.compile(program).bind(inputs), 7, 5, 21, omit) for each in (plain_backend, NumpyBackend())
    )
    assert (ours.nonfinite, ours.moments.count) == (want.nonfinite, want.moments.count)
    scale = 1 + np.nanmax(np.abs(want.moments.mean))
    np.testing.assert_allclose(ours.moments.mean, want.moments.mean, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(np.sqrt(ours.moments.m2), np.sqrt(want.moments.m2), rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize(("dtype", "count"), [("float64", 3), ("float32", 3)])
def test_machine_code(dtype, count):
    """Several expressions in one Program, for one compilation."""
    found = []

    @settings(derandomize=True, deadline=None, max_examples=10 * count, database=None)
    @given(expressions(depth=4))
    def collect(text):
        found.append(text)

    collect()
    longest = sorted(set(found), key=len)[-3 * count :: 3]
    outputs = []
    for text in longest:
        program = program_of(problem_of(text), [path for _, path in INPUTS][:5], dtype)
        outputs += [Output(f"{out.path} of {text}", out.var) for out in program.outputs]
    agree(simplify(Program(tuple(outputs), dtype)), CpuBackend(), dtype)
