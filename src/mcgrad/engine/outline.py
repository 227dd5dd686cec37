"""Outlines: a Program's outputs without the equations, with which moments are completed where there is no Program.

In an outline noise stands for what draws change, and an input for each constant output and each factor; their values go
with it. A `Finisher` or `RowFinisher` of an outline completes moments with the bits of one of the Program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.host_values import WIDE, HostValues
from mcgrad.ir import build
from mcgrad.ir.program import Level, Program, Var
from mcgrad.ir.spaces import Input, Space, Values

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outline:
    """What completes the moments of a Program.

    Parameters
    ----------
    program : Program
        Noise and inputs alone.
    values : mapping from Input to array of float64
        Of these inputs; those by row with the rows on the first axis.
    free : mapping from path to bool array
        Entries of a parameter that are free, where not all are.
    """

    program: Program
    values: Values
    free: Mapping[str, Mask]


def outline(program: Program, values: Values, free: Mapping[str, Mask]) -> Outline:
    """Return the outline of a Program.

    Parameters
    ----------
    program : Program
    values : mapping from Input to array
        Of all inputs, those of pilots among them, on the host.
    free : mapping from path to bool array
        Entries of a parameter that are free.
    """
    roots = [*dict.fromkeys(x for out in program.outputs for x in (out.var, out.scale) if x is not None)]
    known = [root for root in roots if not root.by_draw]
    arrays = HostValues(known, WIDE).rows(values) if known else []
    found: dict[Input, npt.NDArray[Any]] = {}
    stands_for: dict[Var, Var] = {}
    for number, (root, x) in enumerate(zip(known, arrays, strict=True)):
        by_row = root.level is Level.ROW
        stands_for[root] = build.input_(str(number), root.shape, Space.DATA, by_row)
        found[stands_for[root].attrs] = np.moveaxis(np.asarray(x, np.float64), -1, 0) if by_row else x[..., 0]
    for number, root in enumerate(root for root in roots if root.by_draw):
        stands_for[root] = build.noise(number, "normal", root.shape)
    outputs = tuple(
        replace(out, var=stands_for[out.var], scale=None if out.scale is None else stands_for[out.scale])
        for out in program.outputs
    )
    masks = {
        out.path: np.broadcast_to(free[out.path], out.var.shape)
        for out in program.outputs
        if out.path in free and not free[out.path].all()
    }
    return Outline(Program(outputs, program.dtype), found, masks)
