"""Noise specs: sources in order, and nothing that is not a shape."""

import numpy as np
import pytest

from mcgrad import noise
from mcgrad.errors import ParameterError


def test_sources_are_numbered_in_insertion_order():
    spec = {"b": noise.uniform(3), "a": {"y": noise.normal((2, 4)), "x": noise.normal()}}
    assert list(noise.sources(spec).items()) == [
        ("b", noise.Noise("uniform", (3,))),
        ("a.y", noise.Noise("normal", (2, 4))),
        ("a.x", noise.Noise("normal", ())),
    ]
    assert noise.sources(noise.normal()) == {"": noise.Noise("normal")}
    assert [source.components for source in noise.sources(spec).values()] == [3, 8, 1]


def test_noise_is_a_value():
    assert noise.normal([np.int64(2), 3]) == noise.Noise("normal", (2, 3))
    assert hash(noise.uniform(2)) == hash(noise.uniform((2,)))
    with pytest.raises(AttributeError):
        noise.normal().shape = (3,)


@pytest.mark.parametrize("shape", [0, (2, 0), -1, 2.0, "ab", (1.5,), None])
def test_shapes_that_are_refused(shape):
    with pytest.raises(ParameterError, match=r"shape: given .* accepted: a tuple of whole numbers of at least 1"):
        noise.normal(shape)


def test_specs_that_are_refused():
    with pytest.raises(ParameterError, match="kind: given 'cauchy'"):
        noise.Noise("cauchy")
    with pytest.raises(ParameterError, match=r"noise\.a: given 'normal'"):
        noise.sources({"a": "normal"})
    with pytest.raises(ParameterError, match="at least one source"):
        noise.sources({})
