"""Components of a result: each name, each slice and each array of a parameter's shape mean the same number."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mcgrad.results.components import Component, Components

SHAPES = st.dictionaries(
    st.sampled_from(["value", "loc", "a.loc", "a.scale_tril", "tau"]),
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
    max_size=5,
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(SHAPES)
def test_names_slices_and_arrays_agree(shapes):
    components = Components(shapes)
    vector = np.arange(len(components), dtype=float)
    arrays = components.split(vector)
    assert {path: array.shape for path, array in arrays.items()} == shapes
    assert [*components] == components[:] == [components[i] for i in range(len(components))]
    assert (components[0], components[-1]) == (Component("value"), components[len(components) - 1])
    for i, (path, indices, *_) in enumerate(components[1:], 1):
        assert arrays[path][indices] == vector[i]
        assert components.slices[path].start <= i < components.slices[path].stop


def test_a_component_is_named_as_it_is_indexed():
    assert [str(x) for x in Components({"a.loc": (), "tau": (2,), "m": (1, 2)})] == [
        *("value", "a.loc", "tau[0]", "tau[1]", "m[0,0]", "m[0,1]")
    ]


def test_positions_and_vectors_of_other_sizes_are_refused():
    components = Components({"loc": (3,)})
    with pytest.raises(IndexError):
        components[4]
    with pytest.raises(ValueError, match="4 components, the vector has 3"):
        components.split(np.zeros(3))
