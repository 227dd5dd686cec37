"""A Program whose noise is a point set: its sources have another generator, and coordinates of the points."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from mcgrad.ir.build import noise_of, rebuild
from mcgrad.ir.program import Program
from mcgrad.ir.rewrite import rewrite_program


def with_points(program: Program, generator: str) -> Program:
    """Return the Program that reads points.

    Parameters
    ----------
    program : Program
        Whose noise is independent draws.
    generator : {"sobol", "sobol_owen"}
        Of the points.

    Returns
    -------
    Program
        The coordinates are numbered over the sources that it reads, in the order of their streams, and in each in the C
        order of its shape.
    """
    noise = program.noise()
    starts = accumulate((var.size for var in noise), initial=0)
    points = {
        var: noise_of(replace(var.attrs, generator=generator, coordinate=start), var.shape)
        for var, start in zip(noise, starts, strict=False)
    }
    return rewrite_program(program, lambda var, args: rebuild(var, args), points)
