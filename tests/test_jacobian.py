"""Jacobians by both modes, against each other and against a loop of gradients, for the ways a value can be made."""

import numpy as np
import pytest

from mcgrad.differentiate import jacobian as module
from mcgrad.differentiate.jacobian import jacobian
from mcgrad.differentiate.modes import gradient
from mcgrad.ir import build
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.program import toposort
from mcgrad.trace.trace import trace

PARAMS = {"p": build.input_("p", (3,)), "s": build.input_("s", ())}
MATRIX = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
VALUES = {
    "elementwise": lambda p, s: np.exp(p * s),
    "one number, many times": lambda p, s: np.maximum(np.sum(p**2) * s - np.linspace(0.0, 2.0, 5), 0.0),
    "two numbers, many times": lambda p, s: np.tanh(np.sum(p) - np.linspace(0.0, 1.0, 4) * np.prod(p) * s),
    "a few numbers, many times": lambda p, s: np.sin(p[:2, None] * s + np.linspace(0.0, 1.0, 5)),
    "a product": lambda p, s: np.tanh(MATRIX @ p) * s,
    "sums of each": lambda p, s: np.sum(np.tanh(MATRIX * p * s), axis=1),
    "maxima of each": lambda p, s: np.max(np.cos(MATRIX * p * s), axis=1),
    "sums of each, of a thing with an axis of both": lambda p, s: np.sum(
        np.sin(MATRIX + p[[0, 1, 2, 0], None]), axis=1
    ),
    "sums of the first axis": lambda p, s: np.sum(np.tanh(MATRIX * p * s), axis=0),
    "scans": lambda p, s: np.cumsum(np.exp(p)) * np.cumprod(p),
    "slices": lambda p, s: p[1:] * p[:-1] + s,
    "parts": lambda p, s: 2.0 * np.concatenate([p[::-1] ** 2, np.stack([s, s * p[0]])]),
    "many parts": lambda p, s: np.stack([np.sin(k * s) * p[k % 3] for k in range(20)]),
    "two axes": lambda p, s: np.multiply.outer(p, p) * s,
    "a branch not taken": lambda p, s: np.where(np.linspace(-1.0, 1.0, 4) > 0, np.sum(p), np.sqrt(s - 0.7)),
    "roots of zero beside others": lambda p, s: np.sqrt(p - p[0])[1:] * s,
    "no dependence": lambda p, s: np.linspace(0.0, 1.0, 3) * s,
}


def evaluated(roots):
    at = {"p": np.array([0.3, 0.9, 1.4]), "s": np.array(0.7)}
    run = Interpreter(roots)
    leaves = {var: at[var.attrs.path][..., None] for var in run.inputs}
    with np.errstate(all="ignore"):
        return [x[..., 0] for x in run(leaves)]


def each(value, wrt):
    flat = build.reshape(value, (value.size,))
    numbers = [build.reshape(build.slice_(flat, [(i, i + 1, 1)]), ()) for i in range(value.size)]
    columns = zip(*(evaluated(gradient(x, wrt)) for x in numbers), strict=True)
    return [np.stack(x).reshape(*value.shape, *var.shape) for x, var in zip(columns, wrt, strict=True)]


@pytest.mark.parametrize("limit", [0, 8], ids=["reverse", "the cheaper"])
@pytest.mark.parametrize("name", VALUES)
def test_rows_are_the_gradients_of_the_numbers(name, limit, monkeypatch):
    monkeypatch.setattr(module, "FORWARD_LIMIT", limit)
    value, wrt = trace(VALUES[name], (), PARAMS), list(PARAMS.values())
    found = jacobian(value, wrt)
    assert [x.shape for x in found] == [(*value.shape, 3), value.shape]
    for mine, right in zip(evaluated(found), each(value, wrt), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", VALUES)
def test_forward_mode_agrees(name):
    value = trace(VALUES[name], (), PARAMS)
    for var in PARAMS.values():
        forwards = module._forward(value, var)
        (mine,), (right,) = evaluated([forwards]), each(value, [var])
        if name not in ("a branch not taken", "roots of zero beside others"):
            np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-14)


def test_forward_mode_where_reverse_mode_takes_too_much_memory(monkeypatch):
    """A long value in ten parameters, of which no number can be differentiated by itself."""
    params = build.input_("p", (10,))
    value = trace(lambda p: np.cumsum(np.sin(np.tile(p, 5) * np.arange(50.0))), (params,), {})
    (right,) = jacobian(value, [params])
    monkeypatch.setattr(module, "MOST", 1000)
    (found,) = jacobian(value, [params])
    assert max(var.size for var in toposort([found])) == found.size
    run, at = Interpreter([found, right]), np.linspace(0.1, 1.0, 10)[:, None]
    np.testing.assert_allclose(*run(dict.fromkeys(run.inputs, at)), rtol=1e-12, atol=1e-13)


def test_a_number_that_many_read_is_differentiated_once():
    """Sixty strikes of a path of 100 steps, in 100 parameters: no array has an element for each strike and step but
    those of the result."""
    steps = build.input_("p", (100,))
    noise = build.noise(0, "normal", (100,))

    def prices(p, z):
        return np.maximum(np.mean(np.exp(np.cumsum(p * z))) - np.linspace(0.5, 1.5, 60), 0.0)

    value = trace(prices, (steps, noise), {})
    (found,) = jacobian(value, [steps])
    large = [var for var in toposort([found]) if var.size >= 6000]
    assert found.shape == (60, 100)
    assert len(large) <= 4, large
