"""What a noise source means: its numbers in a range of draws, by the reference of the draw contract."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.program import Var


def draws(source: Var, seed: int, start: int, stop: int, dtype: str) -> npt.NDArray[Any]:
    """Return the numbers of a noise Var in the draws start .. stop, shape (*source.shape, stop - start)."""
    from mcgrad.kernels import reference_noise

    stream, law = source.attrs.stream, source.attrs.law
    draw: Any = reference_noise.normals if law == "normal" else reference_noise.uniforms
    found: npt.NDArray[Any] = draw(seed, stream, np.arange(source.size), start, stop - start, dtype)
    return found.reshape(*source.shape, stop - start)
