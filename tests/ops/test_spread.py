"""Marks of every op: what changes with an element of an argument has its mark; of what only moves, nothing else has."""

import numpy as np
import pytest

from mcgrad.ir import build
from mcgrad.ir.ops import ASSEMBLY, OPS, VIEWS
from mcgrad.ir.program import toposort
from mcgrad.ir.spread import OF_CATEGORY, RULES, Spread
from tests.ops.problems import ALL_SAMPLES, evaluate

EXACT = {"add", "multiply", "sum", "cumsum", "einsum", "scatter_add", *VIEWS, *ASSEMBLY} - {"part"}


def marks_of(root, leaves):
    """Which elements of leaves the elements of a root depend on, along the last axis."""
    size, states, start = sum(leaf.size for leaf in leaves), {}, 0
    for leaf in leaves:
        states[leaf] = np.eye(leaf.size, size, start, dtype=np.int64).reshape(*leaf.shape, size)
        start += leaf.size
    Spread(np.bitwise_or, 0).run(toposort([root]), states)
    return states.get(root, np.zeros((*root.shape, size), np.int64)) > 0


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=lambda sample: sample.id)
def test_marks_are_those_of_what_changes(sample):
    rng = np.random.default_rng(0)
    leaves = [build.noise(i, "uniform", shape) for i, shape in enumerate(sample.shapes)]
    root = build.apply("float", sample.build(*leaves))
    values = [rng.uniform(*domain, shape) for shape, domain in zip(sample.shapes, sample.domains, strict=True)]
    marked, column = marks_of(root, leaves), 0
    before = evaluate(root, {leaf: x[..., None] for leaf, x in zip(leaves, values, strict=True)})[..., 0]
    changed = np.zeros_like(marked)
    for i, domain in enumerate(sample.domains):
        for place in np.ndindex(values[i].shape):
            for now in rng.uniform(*domain, 4):
                moved = [x.copy() for x in values]
                moved[i][place] = now
                after = evaluate(root, {leaf: x[..., None] for leaf, x in zip(leaves, moved, strict=True)})[..., 0]
                changed[..., column] |= (before != after) & ~(np.isnan(before) & np.isnan(after))
            column += 1
    assert not np.any(changed & ~marked)
    if sample.id.split("-")[0] in EXACT:
        assert np.array_equal(changed, marked)


def test_larger_marks_are_joined():
    """Of a range, as of bits."""
    x, y = build.noise(0, "normal", (3,)), build.noise(1, "normal", (2, 3))
    root = build.reduce(
        "sum", build.pad(build.apply("multiply", build.broadcast(x, (2, 3)), y), [(1, 0, 0), (0, 0, 1)]), [0]
    )
    states = {x: np.arange(3)[:, None] + 10, y: np.arange(6).reshape(2, 3, 1)}
    Spread(np.maximum, -1).run(toposort([root]), states)
    assert states[root][:, 0].tolist() == [10, -1, 11, -1, 12]


def test_zeros_of_a_literal_matrix_read_nothing():
    x = build.noise(0, "normal", (3,))
    root = build.einsum("ab,b->a", build.const(np.tri(3, k=-1)), x)
    assert marks_of(root, [x]).tolist() == np.tri(3, k=-1, dtype=bool).tolist()


def test_a_long_loop_takes_few_steps():
    """Where arguments of all steps have the same marks, those of the carries settle; a swap of carries does not."""
    ran = []

    class Counting(Spread):
        def equation(self, var, args):
            ran.append(var)
            return super().equation(var, args)

    init, xs = build.noise(0, "normal", ()), build.noise(1, "normal", (100_000,))
    a, b, x = build.argument(0, (), 2), build.argument(1, (), 2), build.argument(2, (), 2)
    found = build.loop([a, b, x], [build.apply("add", b, x), a], [init, init, xs], (2, 1, 100_000, False))
    last = build.part(found, 0, ())
    states = {init: np.array([1]), xs: np.full((100_000, 1), 2)}
    Counting(np.bitwise_or, 0).run(toposort([last]), states)
    assert states[last].tolist() == [3]
    assert len(ran) < 200


def test_all_ops_have_rules():
    assert set(RULES) <= set(OPS)
    assert {row.category for row in OPS.values()} == {*OF_CATEGORY, "leaf"}
