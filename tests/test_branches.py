"""Branches not taken, and elements not chosen, add nothing to a gradient, whatever their own derivatives are there."""

import numpy as np
import pytest
import scipy.special as sc

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.differentiate.modes import reverse
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import input_, noise
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.ir.spaces import named
from mcgrad.simplify.fixed_point import simplify
from mcgrad.trace.trace import trace
from tests.emit.plain import plain_backend  # noqa: F401 - fixture
from tests.ops.problems import MODES, central_differences, evaluate

where = np.where
POLES = {  # a function that is infinite, or NaN, or has such a derivative, where z[0] <= 0
    "sqrt": np.sqrt,
    "power": lambda x: x**0.5 + x**-1.5 + x ** np.log(2 + x),
    "negative power": lambda x: x**-1 + x**-3.0,
    "log": lambda x: np.log(x) * x + np.log2(x) + np.log10(x),
    "log1p": lambda x: np.log1p(x - 1),
    "reciprocal": lambda x: np.reciprocal(np.maximum(x, 0)) + 1 / np.maximum(x, 0),
    "quotients": lambda x: x / np.maximum(x, 0) + np.maximum(x, 0) / np.minimum(x, 5) + np.maximum(x, 0) / np.sqrt(x),
    "cbrt": lambda x: np.cbrt(np.maximum(x, 0)),
    "inverse sines": lambda x: np.arcsin(1 - x / 6) + np.arccos(1 - x / 7) + np.arccosh(1 + x) + np.arctanh(1 - x / 6),
    "arctan2": lambda x: np.arctan2(np.maximum(x, 0), np.maximum(2 * x, 0)),
    "hypot": lambda x: np.maximum(x, 0) / np.hypot(np.maximum(x, 0), np.maximum(3 * x, 0)),
    "exponentials": lambda x: np.exp(-1e3 * x) + np.expm1(-1e3 * x) + np.exp(-np.sinh(1e3 * np.minimum(x, 0))),
    "tan": lambda x: np.tan(np.sqrt(x) / 3),
    "normal": lambda x: sc.ndtri(x / 5) + sc.log_ndtr(np.log(x)) + sc.ndtri_exp(-x),
    "gamma": lambda x: sc.gammaln(np.maximum(x, 0)) + sc.digamma(np.maximum(x, 0)),
    "entropy": lambda x: sc.entr(x) + sc.xlogy(x, x) + sc.logit(x / 5),
    "absolute": lambda x: np.abs(np.log(x)) + np.log(np.abs(np.maximum(x, 0))),
    "chain": lambda x: np.exp(np.sqrt(np.log1p(np.sqrt(x)))) * np.sin(1 / np.sqrt(x)),
}


def of_one(f):
    return lambda z: where(z[0] > 0, f(z[0]), 0.25 * z[0])


def of_each(f):
    return lambda z: np.sum(where(z > 0, f(z), 0) * z[1])


INTEGRANDS = {
    **{name: of_one(f) for name, f in POLES.items()},
    **{f"sum of {name}": of_each(f) for name, f in POLES.items()},
    "branches in turn": lambda z: where(z[0] > 0, where(z[1] > 0, np.sqrt(z[0]) / np.sqrt(z[1]), z[0]), z[1]),
    "a branch of a branch": lambda z: where(z[0] > 0, np.log(where(z[0] > 0, z[0], 0.0)), 1.0),
    "a root of a branch": lambda z: np.sum(np.sqrt(where(z > 0, z, 0.0))),
    "a logarithm of a branch": lambda z: np.sum(np.cbrt(where(z > 0, z, 0.0)) + np.arccosh(where(z > 0, 1 + z, 1.0))),
    "a root of a maximum": lambda z: np.sum(np.sqrt(np.maximum(z, 0))),
    "a root of a clip": lambda z: np.sum(np.clip(z, 0, 2) ** 0.5),
    "a root of a largest element": lambda z: np.sqrt(np.max(np.append(z, 0.0))) * z[0],
    "roots of largest elements": lambda z: np.sum(np.sqrt(np.max(np.stack([z, np.zeros(3)]), axis=0))),
    "a power of a smallest element": lambda z: (-np.min(np.append(z, 0.0))) ** 0.75 + z[1],
    "a largest element beside a root": lambda z: np.max(np.append(np.sqrt(np.maximum(z, 0)), z[0] ** 2 + 0.1)),
    "a maximum of roots": lambda z: np.max(np.sqrt(np.maximum(z, 0))),
    "a maximum that hides a root": lambda z: np.sum(np.maximum(np.sqrt(np.maximum(z, 0)), 0.5)),
    "a reduction": lambda z: where(z[0] > 0, np.sum(np.sqrt(z[0] * (1 + np.arange(3)))), 1.0),
    "products": lambda z: where(z[0] > 0, np.prod(np.log(z[0]) * np.array([1, 2, 3])), z[0]),
    "an extremum": lambda z: where(
        z[0] > 0, np.max(np.sqrt(z[0]) * np.array([1, 2, 3])) + np.min(np.sqrt(z)[:1]), z[0]
    ),
    "a scan": lambda z: np.sum(where(np.array([1, 1, 0]) * z[0] > 0, np.cumsum(np.log(z[0]) * np.ones(3)), z)),
    "a scan of products": lambda z: np.sum(where(z[0] > np.array([0, 0, 9]), np.cumprod(np.log(z[0]) * np.ones(3)), z)),
    "a product past the end": lambda z: np.sum(np.where([1, 0, 0], np.cumprod(np.stack([z[0], z[1] * 0, z[0]])), z)),
    "a contraction": lambda z: where(z[0] > 0, np.sqrt(z[:1]) @ np.log(z[:1]), z[1]),
    "a matrix product": lambda z: np.sum(
        where(z[0] > 0, np.log(z[0] * np.eye(3) + 0.2 * z[1] ** 2) @ np.log(z[0] + 0 * z), z)
    ),
    "logsumexp": lambda z: where(z[0] > 0, sc.logsumexp(np.stack([np.log(z[0]), z[1]])), z[0]),
    "norms": lambda z: where(z[0] > 0, np.linalg.norm(np.maximum(z[0], 0) * np.ones(3)), 0.0) + z[1],
    "select": lambda z: np.sum(np.select([z > 1, z > 0], [np.log(z), z**0.5 - 1], z - 1)),
    "an element of roots": lambda z: where(z[0] > 0, np.sqrt(z)[0], 0.0) + np.log(z**2 * np.array([1, 0, 1]))[2],
    "an exponential that overflows, unread": lambda z: np.exp(z * np.array([1, 1e5, 1]))[0] + z[1],
    "a minimum of exponentials": lambda z: (
        np.minimum(np.exp(1e5 * z[0]) * z[1] ** 2, 0.7) + np.minimum(np.exp(1e5 * z[1]), 2)
    ),
    "every other element": lambda z: np.sum(np.sqrt(np.repeat(np.abs(z), 2) * np.array([1, 0, 1, 0, 1, 0]))[::2]),
    "elements taken": lambda z: np.sum(np.log(np.abs(z) * np.array([1, 0, 1]))[[0, 2, 0]]),
    "roots of a path from zero": lambda z: np.sum(np.sqrt(np.concatenate([[0.0], np.cumsum(z**2)]))),
    "roots of a padded path": lambda z: np.sum(np.sqrt(np.pad(np.cumsum(z**2), (1, 1)))),
    "data that are missing": lambda z: np.sum(where([True, False, True], np.array([1, np.nan, 2]) * z**2, 0.0)),
}
Q = mg.Normal(np.array([0.3, 0.2, -0.1]), 1.2)
DRAWS = 24


def drawn(problem):
    """Leaves: the noise of some draws, and the parameters."""
    eps = np.random.default_rng(3).standard_normal((3, DRAWS))
    found = {var: Q.flat_params[var.attrs.path][..., None] for var in problem.params.values()}
    return found | {var: eps for var in toposort([problem.value]) if var.op == "noise"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", INTEGRANDS)
def test_gradients_agree_with_differences_of_values(name, mode):
    with np.errstate(all="ignore"):
        problem = Problem(INTEGRANDS[name], Q, {}, {})
    wrt, at = list(problem.params.values()), drawn(problem)
    got = [evaluate(grad, at) for grad in MODES[mode](problem.value, wrt)]
    smooth = 0
    for draw in range(DRAWS):
        here = {var: x[..., [draw % x.shape[-1]]] for var, x in at.items()}
        value = float(evaluate(problem.value, here)[0])
        assert np.isfinite(value).all()
        fine, finer = (central_differences(problem.value, wrt, here, step) for step in (1e-4, 5e-5))
        for i, (want, check) in enumerate(zip(fine, finer, strict=True)):
            found = got[i][..., draw]
            assert np.isfinite(found).all()
            scale = 1 + np.abs(want).max() + np.abs(value)
            if np.isfinite(want).all() and np.abs(want - check).max() < 1e-6 * scale:  # no branch ends within the steps
                np.testing.assert_allclose(found, want, rtol=0, atol=1e-5 * scale)
                smooth += 1
    assert smooth > DRAWS


def program_of(dtype):
    """The values and the gradients of all integrands, in both modes."""
    outputs = []
    for i, (name, f) in enumerate(INTEGRANDS.items()):
        with np.errstate(all="ignore"):
            problem = Problem(f, Q, {}, {})
        wrt = list(problem.params.values())
        grads = list(MODES.values())[i % 2](problem.value, wrt)
        outputs += [Output(name, problem.value)]
        outputs += [Output(f"{name} {var.attrs.path}", grad) for var, grad in zip(wrt, grads, strict=True)]
    return simplify(Program(tuple(outputs), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_emitted_code_agrees_on_every_draw(plain_backend, dtype):  # noqa: F811
    program = program_of(dtype)
    inputs = named({path: x.astype(dtype) for path, x in Q.flat_params.items()})
    ours, reference = (each.compile(program).bind(inputs) for each in (plain_backend, NumpyBackend()))
    for draw in range(12):
        got, want = (one_chunk(bound, 5, draw, draw + 1, omit=False) for bound in (ours, reference))
        assert got.nonfinite == want.nonfinite == 0
        np.testing.assert_allclose(
            got.moments.mean, want.moments.mean, rtol=2e-3 if dtype == "float32" else 1e-9, atol=1e-4
        )


def test_machine_code_of_a_few():
    """E sqrt(max(z, 0)), written with a branch; the gradient from quadrature of the density."""
    x = np.linspace(0, 12, 200_001)[1:]
    density = np.exp(-0.5 * ((x - 0.3) / 1.2) ** 2) / (1.2 * np.sqrt(2 * np.pi)) * (x[1] - x[0])
    want = [np.sum(np.sqrt(x) * density), np.sum(np.sqrt(x) * (x - 0.3) / 1.44 * density)]
    estimator = mg.Estimator(lambda z: where(z > 0, np.sqrt(z), 0.0), mg.Normal(0.3, 1.2), backend=CpuBackend.name)
    found = estimator(n=40_000, seed=1)
    assert found.nonfinite == 0
    assert abs(found.value - want[0]) < 5 * found.stderr
    assert abs(found.grad["loc"] - want[1]) < 5 * found.grad_stderr["loc"] + 0.02


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_selected_where_there_is_no_branch(mode):
    """Neither beside one, nor for slices that read everything between them."""

    def f(z):
        x = np.sqrt(1 + z**2)
        y = np.sum(np.log(x[1:] / x[:-1])) + np.prod(np.arctan(x)) + np.sum(np.cumprod(np.exp(-x)))
        return y + where(z[0] > 0, z[1], 1.0)

    problem = Problem(f, Q, {}, {})
    grads = MODES[mode](problem.value, list(problem.params.values()))
    program = simplify(Program(tuple(Output(str(i), grad) for i, grad in enumerate(grads)), "float64"))
    assert not {"equal", "isfinite"} & {var.op for var in program.body()}


def test_parts_of_a_concatenation_that_are_read_as_a_whole_need_no_guards():
    """Elements that nothing reads are those of one part alone."""

    def reading(part):
        def f(p, z):
            x = np.exp(p) * z
            return np.sum(np.concatenate([np.sqrt(x**2 + 1.0), np.sqrt(x), np.log(x**2 + 1.0)])[part] ** 2)

        return f

    p, z = input_("p", (4,)), noise(0, "normal", (4,))
    for part, guards in ((slice(0, 4), False), (slice(8, 12), False), (slice(0, 5), True)):
        value = trace(reading(part), (p, z), {})
        (found,) = reverse(value, [p])
        assert any(var.op == "where" for var in toposort([found])) is guards
        at = {p: np.zeros((4, 1)), z: np.array([[0.0], [-1.0], [2.0], [0.5]])}
        if not guards:
            assert np.isfinite(interpret([found], at, "float64")[0]).all()
