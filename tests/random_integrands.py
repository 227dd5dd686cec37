"""Random integrands: NumPy expressions of a draw z, parameters t, w, m and data c, u, A, B, k, typed by shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sc
from hypothesis import strategies as st

import mcgrad as mg

Shape = tuple[int, ...]
SCALAR, VECTOR, MATRIX = (), (3,), (2, 3)
RNG = np.random.default_rng(11)
PARAMS = {"t": 0.7, "w": RNG.uniform(-1, 1, 3), "m": RNG.uniform(-1, 1, (2, 3))}
DATA = {"c": RNG.uniform(0.5, 1.5, 3), "u": RNG.uniform(-1, 1, 2), "A": RNG.uniform(-1, 1, (2, 3)),
        "B": RNG.uniform(-1, 1, (3, 3)), "k": np.array([2, 0, 2])}  # fmt: skip
Q = mg.Normal(RNG.uniform(-0.5, 0.5, 3), 0.8)

LEAVES = {
    SCALAR: ["t", "z[0]", "z[-1]", "0.7", "w[1]", "m[1, 2]", "np.take(z, 2)", "z[k][1]", "z[::-2][1]"],
    VECTOR: ["z", "w", "c", "z[::-1]", "z[k]", "m[0]", "np.arange(3)", "z[k][::-1]", "np.repeat(z, 2)[::-2]"],
    MATRIX: ["m", "A", "np.stack([z, w])", "z * m", "np.outer(u, z)", "np.ones((2, 3))", "z[[[0, 1, 1], [2, 0, 2]]]"],
}
ELEMENTWISE = [
    *("np.sin({})", "np.cos({})", "np.tanh({})", "np.arctan({})", "np.arcsinh({})", "sc.expit({})", "sc.erf({})"),
    *("np.exp(np.tanh({}))", "np.log1p(np.square({}))", "np.sqrt(1 + np.square({}))", "sc.ndtr({})", "-{}", "{} ** 2"),
    *("np.logaddexp(0, {})", "np.abs({})", "np.maximum({}, 0.1)", "np.clip({}, -1.0, 1.0)", "np.hypot(1.0, {})"),
    *("sc.gammaln(2 + np.tanh({}))", "np.power(2 + np.tanh({}), t)", "np.cbrt(2 + np.sin({}))", "1 / (2 + np.cos({}))"),
    *("({} + {})", "({} - {})", "({} * {})", "{} / (1 + {} ** 2)", "np.maximum({}, {})", "np.minimum({}, {})"),
    *("np.where({} > {}, {}, t)", "np.arctan2({}, 1 + {} ** 2)", "np.logaddexp({}, {})", "np.hypot({}, 1 + {} ** 2)"),
    *("1e4 * ({} * 1e-4)", "({} + 90.0) - 90.0", "(lambda x: x / 0.3 * 0.3)({})", "(lambda x: np.maximum(x, x))({})"),
    *("(lambda x: np.where(x > 0, np.sqrt(x), t))({})", "(lambda x: np.where(x < 0.5, 0.2, np.log(x) * x))({})"),
    *("(lambda x, y: np.where(x > y, y / np.sqrt(x - y), y))({}, {})", "np.tanh(np.sqrt(np.maximum({} - 0.01, 0)))"),
    *("(lambda x: np.where(x > 0, 1 / (x + 0.1), np.exp(1e3 * x)))({})", "np.clip({}, 0.0, 1.0) ** 1.5"),
    *("sc.xlogy(c[0], 1 + {} ** 2)", "np.expm1(np.tanh({}))", "np.sinh(np.tanh({}))", "sc.log_ndtr({})"),
]
RULES: dict[Shape, list[tuple[str, list[Shape]]]] = {
    SCALAR: [
        *((text, [VECTOR]) for text in (
            *("np.sum({})", "np.mean({})", "np.max({})", "np.prod(np.tanh({}))", "np.sqrt(0.5 + np.var({}))"),
            *("np.max(np.concatenate([{}, z]))", "np.prod({} * np.arange(3))", "np.min(np.repeat({}, 2))"),
            *("np.take({}, 2)", "np.sum({}[[1, 1]])", "np.flip({})[k][0]", "np.sum(np.take({}, k)[::-1] * z)"),
            *("sc.logsumexp({})", "{}[1]", "np.linalg.norm(1 + {} ** 2)", "np.diff({})[0]", "np.cumsum({})[-1]"))),
        *((text, [MATRIX]) for text in ("{}.sum()", "np.var({})", "{}[1, 2]", "np.min({})", "np.trace({} @ B)")),
        ("{} @ {}", [VECTOR, VECTOR]),
        ("np.max({} + {})", [MATRIX, VECTOR]),
        ("np.take({}, 1) * np.sum({})", [VECTOR, VECTOR]),
        ("np.einsum('ij,ij', {}, {})", [MATRIX, MATRIX]),
    ],
    VECTOR: [
        *((text, [VECTOR]) for text in (
            *("np.roll({}, 1)", "{}[::-1]", "np.cumsum({})", "np.cumprod(np.tanh({}))", "(B @ {})", "sc.softmax({})"),
            *("{}[k][::-1]", "np.tile({}, 2)[::-2]", "np.repeat({}, 2).reshape(2, 3)[:, ::-1][0]", "({} * 0 + 1)[k]"),
            *("np.broadcast_to({}[1], (3,))", "np.cumprod({} * np.array([1, 0, 2]))", "np.cumprod(np.clip({}, 0, 1))"),
            *("np.cumsum({}[::-1])[::-1]", "np.flip(np.repeat({}, 2))[1:4]", "np.cumsum({} - 70.0)"),
            *("np.diff(np.pad({}, (1, 0)))", "{}[k]", "np.outer({}, z)[1]", "np.repeat({}, 2)[1:4]"))),
        *((text, [MATRIX]) for text in (
            *("{}.T[::-1, 0]", "np.ravel({})[[5, 0, 5]]", "np.take({}, k)", "{}[::-1, ::-1][1]"),
            *("np.sum({}[[1, 1]], 0)", "np.max({}[[1, 1]], 0)"),
            *("{}[0]", "{}.sum(0)", "np.mean({}, axis=0)", "np.max({}, axis=0)", "np.prod(np.tanh({}), axis=0)"),
            *("(u @ {})", "sc.logsumexp({}, axis=0)", "{}.T[:, 1]", "np.einsum('ij,i->j', {}, u)"))),
        ("np.concatenate([{}[1:], {}[:1]])", [VECTOR, VECTOR]),
        ("np.concatenate([{}, {}])[::-2]", [VECTOR, VECTOR]),
        ("np.broadcast_to({}, (3,))[k]", [SCALAR]),
        ("({} * {})", [SCALAR, VECTOR]),
        ("({} @ {})[0] * {}", [MATRIX, VECTOR, VECTOR]),
    ],
    MATRIX: [
        *((text, [MATRIX]) for text in (
            *("np.cumsum({}, axis=0)", "np.cumprod(np.tanh({}), axis=1)", "{}[::-1]", "({} @ B)"),
            *("np.repeat({}, 2, axis=0)[::-2]", "{}[[1, 1]][:, [2, 0, 0]]", "np.broadcast_to({}[:, :1], (2, 3))"),
            *("np.reshape({}, (3, 2)).T[:, ::-1]", "{}.T[k].T", "np.cumsum({}[:, ::-1], axis=1)[:, ::-1]"),
            *("np.roll({}, 1, axis=1)", "{}.reshape(3, 2).T", "np.flip({})"),
            *("np.einsum('ij,jk->ik', {}, B)", "sc.softmax({}, axis=1)"))),
        ("np.stack([{}, {}])", [VECTOR, VECTOR]),
        ("np.broadcast_to({}, (2, 3))", [VECTOR]),
        ("np.take({}, [[0, 2, 2], [1, 0, 1]])[::-1]", [VECTOR]),
        ("{}[:, None][[0, 2, 0, 1, 1, 2]].reshape(2, 3)", [VECTOR]),
        ("np.outer(u, {})", [VECTOR]),
        ("({} + {})", [MATRIX, VECTOR]),
    ],
}  # fmt: skip


@st.composite
def expressions(draw: Any, shape: Shape = SCALAR, depth: int = 5) -> str:
    """Draw the text of an expression of some shape."""
    if depth == 0 or draw(st.integers(0, 9)) == 0:
        return str(draw(st.sampled_from(LEAVES[shape])))
    rules = RULES[shape]
    choice = draw(st.integers(0, len(rules) + len(ELEMENTWISE) - 1))
    text, shapes = rules[choice] if choice < len(rules) else (ELEMENTWISE[choice - len(rules)], None)
    shapes = shapes or [shape] * text.count("{}")
    return text.format(*(f"({draw(expressions(inner, depth - 1))})" for inner in shapes))


def integrand(text: str) -> Callable[..., Any]:
    """Return the function f(z, t, w, m, c, u, A, B, k) that computes the expression; it always depends on z."""
    return eval(f"lambda z, *, t, w, m, c, u, A, B, k: {text} + 0.1 * np.sum(z)", {"np": np, "sc": sc})  # type: ignore[no-any-return]
