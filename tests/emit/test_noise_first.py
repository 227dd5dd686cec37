"""Where lanes carry rows of a batch, the noise of a nest's components is made before the nest, where it can be."""

from dataclasses import replace

import pytest

from mcgrad.codegen.cpu.noise_first import MOST_BYTES, noise_first
from mcgrad.codegen.loops.cells import Index, Lane, Value
from mcgrad.codegen.loops.loop_tree import Address, Let, Load, Loop, Noise, Section
from mcgrad.ir.attributes import Literal
from mcgrad.noise.source import NoiseSource

LANES, SIZE, EXTENT = 128, 4, 7
X, Y, R = Value("x"), Value("y"), Value("r", lanewise=False)
ROW, NUMBER = Index(3, (1,), ("i",), (EXTENT,)), Index(2, (1,), ("i",), (EXTENT,))
NOISE = Noise(X, Lane(R), NoiseSource(0, "normal"), NUMBER)
LANE = Loop("w", None, "lane", (Load(X, Lane(R)), Let(Y, "sin", (X,))))
NEST = Loop("i", EXTENT, "element", (Address(R, ROW), NOISE, LANE))


def first(tree):
    return noise_first(tree, LANES, SIZE)


def test_noise_of_all_components_is_made_before_the_nest():
    all_of_it = replace(NOISE, cell=Lane(3 * LANES), component=Index(2), components=EXTENT)
    without = replace(NEST, body=(NEST.body[0], LANE))
    assert first((LANE, NEST)) == (LANE, all_of_it, without)
    assert first((Section((NEST,)),)) == (Section((all_of_it, without)),)


@pytest.mark.parametrize(
    "nest",
    [
        replace(NEST, body=(Address(R, replace(ROW, ring=(3, 4))), NOISE, LANE)),  # rows that are used in turn
        replace(NEST, body=(Address(R, replace(ROW, strides=(2,))), NOISE, LANE)),  # not neighbours
        replace(NEST, body=(Address(R, ROW), replace(NOISE, component=Index(0, (1,), ("j",), (9,))), LANE)),
        replace(NEST, body=(Address(R, ROW), replace(NOISE, component=replace(NUMBER, table=Literal([5, 0]))), LANE)),
        replace(NEST, body=(replace(NOISE, cell=Lane(0)), LANE)),  # one row for all components
        replace(NEST, extent=MOST_BYTES // (LANES * SIZE) + 1),
        replace(NEST, kind="serial"),
    ],
)  # fmt: skip
def test_other_nests_stay_whole(nest):
    assert first((nest,)) == (nest,)
