"""Rolled elements are read where they are, on the CPU: no assembly is left, and the meaning is the same."""

import numpy as np
import pytest

from mcgrad.backends.base import one_chunk
from mcgrad.backends.registry import BACKENDS
from mcgrad.codegen.loops.in_place import in_place
from mcgrad.ir.build import apply, broadcast, concatenate, const, einsum, flip, input_, noise, pad, reduce, slice_, take
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.ir.spaces import param


def part(x, start, stop):
    return slice_(x, [(start, stop, 1), *((0, n, 1) for n in x.shape[1:])])


def rolled(x, k):
    return concatenate([part(x, len_(x) - k, len_(x)), part(x, 0, len_(x) - k)], 0)


def rolled_back(x, k):
    """The derivative of a roll: a sum of two pads."""
    rest = [(0, 0, 0)] * (len(x.shape) - 1)
    low, high = pad(part(x, k, len_(x)), [(0, k, 0), *rest]), pad(part(x, 0, k), [(len_(x) - k, 0, 0), *rest])
    return low, high


def len_(x):
    return x.shape[0]


def add(*terms):
    total = terms[0]
    for term in terms[1:]:
        total = apply("add", total, term)
    return total


def ops(program):
    return {var.op for var in program.body()}


def of(var):
    return Program((Output("value", var),), "float64")


EPS = apply("exp", noise(0, "normal", (5, 3)))
TWICE = apply("multiply", EPS, broadcast(const(2.0), (5, 3)))
LOW, HIGH = rolled_back(EPS, 2)
IN_PLACE = {
    "roll": rolled(EPS, 2),
    "roll of a roll": rolled(flip(rolled(EPS, 2), [1]), 1),
    "halves": concatenate([part(EPS, 3, 5), part(EPS, 0, 3)], 0),
    "pads": add(LOW, HIGH),
    "pads added one by one": add(apply("sin", EPS), LOW, HIGH),
    "the other way round": add(HIGH, apply("sin", EPS), LOW),
    "of multiples": add(*rolled_back(TWICE, 1)),
    "repeated": concatenate([EPS, EPS], 1),
}
ASSEMBLED = {
    "parts of two": concatenate([EPS, TWICE], 0),
    "zeros left": add(LOW, pad(part(EPS, 0, 1), [(3, 1, 0), (0, 0, 0)])),
    "both there": add(LOW, pad(part(EPS, 0, 3), [(2, 0, 0), (0, 0, 0)])),
    "of two": add(LOW, rolled_back(apply("sin", EPS), 2)[1]),
}


@pytest.mark.parametrize("var", IN_PLACE.values(), ids=IN_PLACE)
def test_elements_are_read_where_they_are(var):
    program = of(var)
    assert ops(program) & {"concatenate", "pad"}
    found = in_place(program)
    assert not ops(found) & {"concatenate", "pad"}
    (source,) = (x for x in toposort(program.roots()) if x.op == "noise")
    leaves = {source: np.random.default_rng(0).normal(size=(5, 3, 4))}
    (ours,), (wanted,) = (interpret([x.outputs[0].var], leaves, "float64") for x in (found, program))
    np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize("var", ASSEMBLED.values(), ids=ASSEMBLED)
def test_other_assemblies_stay(var):
    program = of(var)
    assert ops(in_place(program)) == ops(program)


@pytest.mark.parametrize("n", [3, 300])
def test_means_over_draws_are_those_of_the_reference(n):
    rows = 300  # more than a tile has
    x, eps = input_("x", (rows, 4)), noise(0, "normal", (4,))
    z = apply("add", take(eps, np.array([3, 0, 1, 2])), rolled(eps, 1))
    logits = apply("tanh", einsum("ij,j->i", x, z))
    both = apply("multiply", logits, add(*rolled_back(logits, 100)))
    outputs = (
        Output("value", reduce("sum", apply("multiply", both, rolled(logits, 1)), (0,))),
        Output("z", rolled(z, 2)),
    )
    program, values = Program(outputs, "float64"), {param("x"): np.random.default_rng(1).normal(size=(rows, 4))}
    bound = [BACKENDS[name].compile(program).bind(values) for name in ("cpu", "numpy")]
    found, wanted = (one_chunk(one, 5, 0, n, False).moments for one in bound)
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-11)
    np.testing.assert_allclose(found.norm, wanted.norm, rtol=1e-9)
