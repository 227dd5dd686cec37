"""The names of a Program's inputs: each is a path in one of a few spaces, so that equal paths of two kinds differ.

Estimators make the inputs of their Programs with these names, backends are given a mapping from them to arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt

T = TypeVar("T")


class Space(StrEnum):
    """What an input is."""

    PARAM = "param"  # a parameter of q or of the integrand, by its dotted path
    DATA = "data"  # an array of the user's, by its name; it changes from call to call, if ever, as parameters do
    REFERENCE = "reference"  # a parameter of the distribution that a divergence is taken from
    PROPOSAL = "proposal"  # a parameter of the distribution that draws come from in place of q
    BASELINE = "baseline"  # of a score function, by the path of the parameter; "" for one that all parameters share
    POINTS = "points"  # where a central difference moves the components of a parameter to
    WIDTHS = "widths"  # the distances of these points
    SPREAD = "spread"  # of what a pilot of differences looks at, by number
    CENTER = "center"  # of the draws of a pilot of scores, by the path of the draw
    SCALE = "scale"  # of these draws
    VALUE = "value"  # at which a density is evaluated, by the path of the draw
    COTANGENT = "cotangent"  # weights of the numbers that f returns in what is differentiated, by the path of the array
    DIRECTION = "direction"  # that a Hessian is multiplied with, by the path of the parameter
    ORIGIN = "origin"  # about which products of the numbers that f returns are averaged
    CONTROL = "control"  # of control variates: coefficients, means, and what makes controls uncorrelated, by number
    TANGENT = "tangent"  # in whose direction a gradient is differentiated, by the path of the draw
    POWER = "power"  # of two, with which an output is multiplied, by the number of the output


# what an Estimator copies: on a device it stays
FIXED = frozenset({Space.DATA, Space.REFERENCE, Space.PROPOSAL, Space.COTANGENT, Space.DIRECTION})


class Input(NamedTuple):
    """The name of an input.

    Parameters
    ----------
    space : Space
    path : str
    """

    space: Space
    path: str

    def __str__(self) -> str:
        return self.path if self.space is Space.PARAM else f"{self.space}:{self.path}"


class RowInput(Input):
    """The name of an input of which each row has its own value; equal to the `Input` of the same space and path."""

    __slots__ = ()


Values = Mapping[Input, npt.NDArray[Any]]  # of a Program's inputs, in the dtypes that they were given in


def named(flat: Mapping[str, T], space: Space = Space.PARAM) -> dict[Input, T]:
    """Return what is given by path, by the inputs of these paths in a space."""
    return {Input(space, path): x for path, x in flat.items()}


def of_space(values: Mapping[Input, T], space: Space) -> dict[str, T]:
    """Return the values of the inputs in one space, by path."""
    return {path: x for (at, path), x in values.items() if at is space}


def param(path: str) -> Input:
    """Return the input that a parameter is."""
    return Input(Space.PARAM, path)
