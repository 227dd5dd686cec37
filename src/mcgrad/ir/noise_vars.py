"""Noise Vars of a noise spec, the numbers of one in a range of draws, and the keys of those of a Program."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.build import noise
from mcgrad.ir.program import Program, Var
from mcgrad.noise import NoiseSpec, sources
from mcgrad.noise.keys import Keys
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import PHILOX


def noise_vars(spec: NoiseSpec) -> dict[str, Var]:
    """Make the noise Vars of a spec, by path: source i reads stream i."""
    return {path: noise(i, source.kind, source.shape) for i, (path, source) in enumerate(sources(spec).items())}


def draws(var: Var, seed: int, start: int, stop: int, dtype: str) -> npt.NDArray[Any]:
    """Return the numbers of a noise Var in the draws start .. stop, shape (*var.shape, stop - start)."""
    found = numbers(var.attrs, seed, np.arange(var.size), start, stop - start, dtype)
    return found.reshape(*var.shape, stop - start)


def keys_of(program: Program) -> Keys:
    """Return what makes the keys that compiled code reads: those of the one generator of all noise of a Program."""
    noise = program.noise()
    generator = noise[0].attrs.generator if noise else PHILOX
    coordinates = max((var.attrs.coordinate + var.size for var in noise), default=0)
    return Keys(generator, coordinates, int(program.dtype[-2:]))
