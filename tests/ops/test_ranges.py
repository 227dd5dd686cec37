"""Ranges hold whatever values there are, of every op; those of smooth equations prove them smooth."""

import numpy as np
import pytest

from mcgrad.differentiate.domains import DOMAINS, is_smooth
from mcgrad.ir import build
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import toposort
from mcgrad.ir.ranges import RULES, between, of_signs, positive, ranges
from tests.ops.problems import ALL_SAMPLES, evaluate


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=lambda sample: sample.id)
def test_values_lie_in_their_ranges(sample):
    rng = np.random.default_rng(0)
    leaves = [build.noise(i, "uniform", shape) for i, shape in enumerate(sample.shapes)]
    root = build.apply("float", sample.build(*leaves))
    domains = zip(leaves, sample.domains, strict=True)
    given = {leaf: np.broadcast_to(between(*domain), (*leaf.shape, 3)) for leaf, domain in domains}
    found = ranges(toposort([root]), given)[root]
    values = {
        leaf: rng.uniform(*domain, (*leaf.shape, 32)) for leaf, domain in zip(leaves, sample.domains, strict=True)
    }
    got = evaluate(root, values)
    low, high, free = (found[..., i, None] for i in range(3))
    inside = (got >= low - 1e-9 * abs(low)) & (got <= high + 1e-9 * abs(high)) & ~((free != 0) & (got == 0))
    assert np.all(inside | np.isnan(got))


def smooth(f, *laws):
    """Whether the last equation of a function of noise is smooth, by ranges."""
    leaves = [build.noise(i, law, ()) for i, law in enumerate(laws)]
    root = f(*leaves)
    found = ranges(toposort([root]), {})
    return is_smooth(root, *(found[arg] for arg in root.args))


def op(name):
    return lambda *args: build.apply(name, *args)


sqrt, log, exp, mul, add, div, power = map(op, ["sqrt", "log", "exp", "multiply", "add", "divide", "power"])


def masked(x):
    """The first of two numbers, and zero."""
    return op("where")(build.const(np.array([True, False])), x, 0.0)


def factor_of(x):
    return build.matrices("cholesky", mul(x, build.const(np.eye(3))))


def test_what_is_proved_smooth_and_what_is_not():
    one = add
    for f in (
        lambda z: sqrt(one(mul(z, z), 1.0)),
        lambda z: sqrt(exp(z)),
        lambda z: log(one(mul(z, z), 0.1)),
        lambda z: div(z, add(2.0, build.apply("sin", z))),
        lambda z: power(z, 3.0),
        lambda z: power(exp(z), -0.5),
        lambda z: op("arcsin")(op("tanh")(z)),
        lambda z: op("ndtri")(op("ndtr")(z)),
        lambda z: op("arctan2")(z, one(mul(z, z), 1.0)),
        lambda z: op("hypot")(z, 1.0),
        lambda z: sqrt(build.reduce("sum", exp(build.broadcast(z, (3,))), [0])),
        lambda z: log(op("subtract")(1.0, div(1.0, one(1.0, exp(z))))),
        lambda z: log(op("subtract")(1.0, exp(op("negative")(exp(z))))),
        lambda z: log(op("subtract")(exp(exp(z)), 1.0)),
        lambda z: log(build.take(masked(exp(build.broadcast(z, (2,)))), np.array([0]))),
        lambda z: log(build.take(factor_of(exp(z)), np.array([0, 4, 8]))),
    ):
        assert smooth(f, "normal")
    for f in (
        lambda z: sqrt(mul(z, z)),
        lambda z: log(mul(z, z)),
        lambda z: div(1.0, z),
        lambda z: div(1.0, add(1.0, build.apply("sin", z))),
        lambda z: power(z, -1.0),
        lambda z: power(mul(z, z), 0.5),
        lambda z: op("arcsin")(op("sin")(z)),
        lambda z: op("arctan2")(z, -1.0),
        lambda z: op("hypot")(z, 0.0),
        lambda z: log(masked(exp(build.broadcast(z, (2,))))),
        lambda z: log(build.take(factor_of(exp(z)), np.array([0, 1]))),
        op("tan"),
        op("cbrt"),
        op("arccosh"),
    ):
        assert not smooth(f, "normal")
    assert smooth(sqrt, "uniform")
    assert smooth(lambda x: log(op("subtract")(1.0, x)), "uniform")
    assert positive(of_signs([3.0, -1.0, 0.0])).tolist() == [True, False, False]


def test_a_loop_has_the_ranges_of_all_its_steps():
    """Of a carry that stays positive, one that grows without bound, and one that passes zero."""
    params = [build.argument(i, (), 2) for i in range(4)]
    a, b, c, x = params
    results = [mul(a, exp(x)), add(b, 1.0), add(c, x), a]
    init = [build.const(1.0), build.const(2.0), build.const(1.0), build.noise(0, "normal", (5,))]
    var = build.loop(params, results, init, (3, 1, 5, False))
    found = ranges(toposort([var]), {})[var]
    assert found[0].tolist() == [0.0, np.inf, 1.0]
    assert found[1].tolist() == [3.0, np.inf, 1.0]
    assert found[2].tolist() == [-np.inf, np.inf, 0.0]
    assert np.all(positive(found[3:]))


def test_rules_and_domains_are_those_of_ops():
    assert set(RULES) <= set(OPS)
    assert set(DOMAINS) == {
        name for name, row in OPS.items() if row.derivative == "ends" and row.category == "elementwise"
    }
