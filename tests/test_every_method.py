"""Every method of every family in float32, against finite differences of the same draws in float64."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.gradients.methods import TABLE
from tests.families import FAMILIES

METHODS = ["score+mean" if method.controls else method.name for method in TABLE if method.suits(np.sin)]


def checked(row, method, wrt=None):
    """Return what `verify` finds, or None where the method does not apply."""
    try:
        return mg.verify(row.f, row.q, 4000, wrt=wrt, method=method, dtype="float32", components=3, backends=["numpy"])
    except mg.ParameterError:
        return None


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_in_float32(name):
    """A method that does not apply is refused; one that does is right, though its numbers are rounded."""
    row, looked = FAMILIES[name], 0
    for method in METHODS:
        whole = checked(row, method)
        for found in [whole] if whole else [checked(row, method, path) for path in row.q.flat_params]:
            if found:
                assert found.ok, str(found)
                looked += 1
    assert looked
