"""Parameter trees: flattening loses nothing, and names select whole paths or whole subtrees."""

import pytest
from hypothesis import given, strategies as st

from mcgrad import tree
from mcgrad.errors import ParameterError

names = st.text(st.characters(exclude_characters="."), min_size=1, max_size=4)
trees = st.recursive(
    st.dictionaries(names, st.integers(), min_size=1, max_size=3),
    lambda inner: st.dictionaries(names, st.integers() | inner, min_size=1, max_size=3),
)


@given(trees)
def test_unflatten_inverts_flatten(nested):
    flat = tree.flatten(nested)
    assert tree.unflatten(flat) == nested
    assert list(tree.flatten(tree.unflatten(flat))) == list(flat)
    assert tree.flatten(tree.map(lambda leaf: leaf + 1, nested)) == {path: leaf + 1 for path, leaf in flat.items()}


def test_flatten_keeps_insertion_order_and_takes_leaves():
    assert list(tree.flatten({"b": {"y": 1, "x": 2}, "a": 3}).items()) == [("b.y", 1), ("b.x", 2), ("a", 3)]
    assert tree.flatten(7) == {"": 7}
    assert tree.unflatten({"": 7}) == 7
    assert tree.flatten({}) == tree.unflatten({}) == {}


@pytest.mark.parametrize("nested", [{"a.b": 1}, {"a": {"b.c": 1}}, {"": 1}, {3: 1}])
def test_names_that_make_no_path_are_refused(nested):
    with pytest.raises(ParameterError, match=r"name: given .*; accepted: a string"):
        tree.flatten(nested)


@pytest.mark.parametrize("paths", [["a", "a.b"], ["a.b", "a"], ["a.b", "a.b.c"]])
def test_a_path_through_a_leaf_is_refused(paths):
    with pytest.raises(ParameterError, match="none is the beginning of another"):
        tree.unflatten(dict.fromkeys(paths, 1))


def test_select():
    paths = ["a.loc", "a.scale", "ab.loc", "tau"]
    assert tree.select(paths, "a") == ("a.loc", "a.scale")
    assert tree.select(paths, ("tau", "a.scale")) == ("a.scale", "tau")
    assert tree.select(paths, ()) == ()
    with pytest.raises(ParameterError, match=r"'a\.mean'; accepted: any of a\.loc, a\.scale, ab\.loc, tau"):
        tree.select(paths, ["tau", "a.mean"])
