"""Leaves: literals, inputs, noise, arguments of the bodies of loops."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.ir import attributes
from mcgrad.ir.attributes import Literal
from mcgrad.ir.infer import equation
from mcgrad.ir.program import Level, Shape, Var
from mcgrad.ir.spaces import Input, RowInput, Space
from mcgrad.noise.source import NoiseSource

Operand = Var | npt.ArrayLike


def const(value: npt.ArrayLike) -> Var:
    """Make a literal array; integers become floats, booleans stay booleans."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"an array of dtype {array.dtype} cannot enter a Program; accepted are floats, integers and booleans"
        )
    return equation("const", (), Literal(array if array.dtype == bool else array.astype(np.float64)))


def input_(path: str, shape: Shape, space: Space = Space.PARAM, by_row: bool = False) -> Var:
    """Make a draw-independent input, named by a path in a space; `by_row` if each row has its own value."""
    return equation("input", (), (RowInput if by_row else Input)(space, path), tuple(shape))


def noise(stream: int, law: str, shape: Shape) -> Var:
    """Make a noise source of Philox: component i of the stream is element i in C order."""
    return noise_of(NoiseSource(stream, law), shape)


def noise_of(source: NoiseSource, shape: Shape) -> Var:
    """Make a noise source: component i of the stream is element i in C order."""
    return equation("noise", (), source, tuple(shape))


def argument(number: int, shape: Shape, level: Level = Level.CONSTANT) -> Var:
    """Make a leaf that stands for an argument of the body of a loop."""
    return equation("argument", (), attributes.Argument(int(number), int(level)), tuple(shape))


def as_var(value: Operand) -> Var:
    """Return a Var as it is, anything else as a constant."""
    return value if isinstance(value, Var) else const(value)
