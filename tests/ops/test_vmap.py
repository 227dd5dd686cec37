"""Every op vectorised over a new leading axis means what a loop over that axis means; so does its derivative."""

import numpy as np
import pytest

from mcgrad.ir import build
from mcgrad.ir.check import check
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program
from mcgrad.ir.rewrite import substitute
from mcgrad.ir.vmap import RULES, vmap, vmap_noise
from mcgrad.noise.source import NoiseSource
from tests.ops.problems import ALL_SAMPLES, MODES, evaluate, weighted

EXTENT, DRAWS = 3, 2


def test_every_op_has_a_rule():
    own = {op for op in OPS if OPS[op].category not in ("leaf", "elementwise", "contraction", "loop", "native")}
    assert own == set(RULES)


def values_of(sample):
    rng = np.random.default_rng(0)
    pairs = zip(sample.shapes, sample.domains, strict=True)
    return [rng.uniform(*domain, (EXTENT, *shape, DRAWS)) for shape, domain in pairs]


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=lambda sample: sample.id)
def test_vmap_is_a_loop(sample):
    """With every argument mapped, and with each alone while the others stay as they are."""
    leaves = [build.noise(i, "uniform", shape) for i, shape in enumerate(sample.shapes)]
    wide = [build.noise(i, "uniform", (EXTENT, *leaf.shape)) for i, leaf in enumerate(leaves)]
    values = values_of(sample)
    results = [build.apply("float", sample.build(*leaves))]
    if sample.smooth:
        results += MODES["reverse"](weighted(results[0]), leaves)
    which = [tuple(range(len(leaves))), *((i,) for i in range(len(leaves)) if len(leaves) > 1)]
    for chosen in which:
        got = vmap(results, {leaves[i]: wide[i] for i in chosen}, EXTENT)
        check(Program(tuple(Output(str(i), x) for i, x in enumerate(got)), "float64"))
        at = {wide[i]: values[i] for i in chosen} | {x: values[i][0] for i, x in enumerate(leaves) if i not in chosen}
        for result, root in zip(results, got, strict=True):
            assert root.shape == (EXTENT, *result.shape)
            found = evaluate(root, at)
            for k in range(EXTENT):
                one = {leaf: values[i][k if i in chosen else 0] for i, leaf in enumerate(leaves)}
                np.testing.assert_allclose(found[k], evaluate(result, one), rtol=1e-12, atol=1e-13)


def test_what_does_not_depend_on_it_is_repeated_and_matrices_stay_one():
    x, y, matrix = build.noise(0, "normal", (4,)), build.noise(1, "normal", (4,)), build.input_("X", (5, 4))
    product = build.einsum("ij,j->i", matrix, x)
    wide, repeated = vmap([product, y], {x: build.noise(0, "normal", (3, 4))}, 3)
    assert wide.args[0] is matrix
    assert repeated.shape == (3, 4)
    assert repeated.op == "broadcast"


def test_several_draws_are_components_of_one_source():
    x = build.noise(2, "uniform", (2,))
    (wide,) = vmap_noise([build.reduce("sum", x, (0,))], 4)
    assert wide.shape == (4,)
    assert wide.args[0].attrs == NoiseSource(2, "uniform")
    assert wide.args[0].shape == (4, 2)


def test_substitution():
    x, y = build.noise(0, "normal", (2,)), build.noise(1, "normal", (2,))
    (root,) = substitute([build.apply("exp", build.apply("add", x, 1.0))], {x: y})
    assert root.args[0].args[0] is y
