"""x[key] is NumPy's x[key] for random shapes and keys."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays, basic_indices, integer_array_indices

from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace


def traced(shape: tuple[int, ...], key: Any) -> np.ndarray[Any, Any]:
    """Index places by way of the tracer."""
    x = build.noise(0, "uniform", shape)
    result = trace(lambda x: x[key], (x,), {})
    places = np.arange(x.size, dtype=float).reshape(*shape, 1)
    value = interpret([result], {x: places}, "float64")[0][..., 0]
    assert value.shape == result.shape
    return value


@st.composite
def shapes_and_keys(draw: st.DrawFn, kind: str) -> tuple[tuple[int, ...], Any]:
    shape = draw(array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
    if kind == "basic":
        return shape, draw(basic_indices(shape, allow_newaxis=True))
    if kind == "integer":
        return shape, draw(integer_array_indices(shape))
    if kind == "mask":
        return shape, draw(arrays(bool, shape[: draw(st.integers(1, len(shape)))]))
    key = draw(basic_indices(shape, allow_ellipsis=False))
    key = list(key) if isinstance(key, tuple) else [key]
    for axis, part in enumerate(key):
        if isinstance(part, slice) and draw(st.booleans()):
            key[axis] = draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=2, max_size=2))
    return shape, tuple(key)


@pytest.mark.parametrize("kind", ["basic", "integer", "mask", "mixed"])
def test_equals_numpy(kind: str):
    @given(shapes_and_keys(kind))
    def check(shape_and_key: tuple[tuple[int, ...], Any]) -> None:
        shape, key = shape_and_key
        places = np.arange(float(np.prod(shape))).reshape(shape)
        np.testing.assert_array_equal(traced(shape, key), places[key])

    check()


@pytest.mark.parametrize(
    "key", [3, -4, (0, 0, 0), (..., 0, ...), [5], np.zeros(4, bool), "a", 1.5, slice(None, None, 0)]
)
def test_raises_as_numpy(key: Any):
    with pytest.raises((IndexError, ValueError, TypeError)) as expected:
        np.zeros((3, 2))[key]
    with pytest.raises(expected.type):
        traced((3, 2), key)


def test_basic_keys_move_no_element_one_by_one():
    x = build.noise(0, "uniform", (4, 5, 6))
    result = trace(lambda x: x[1, ::-2, None, 2:5], (x,), {})
    seen = []
    while result.args:
        seen.append(result.op)
        (result,) = result.args
    assert seen == ["reshape", "flip", "slice"]
