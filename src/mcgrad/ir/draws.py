"""What a noise Var means: its numbers in a range of draws."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.program import Var
from mcgrad.noise.numbers import numbers


def draws(var: Var, seed: int, start: int, stop: int, dtype: str) -> npt.NDArray[Any]:
    """Return the numbers of a noise Var in the draws start .. stop, shape (*var.shape, stop - start)."""
    found = numbers(var.attrs, seed, np.arange(var.size), start, stop - start, dtype)
    return found.reshape(*var.shape, stop - start)
