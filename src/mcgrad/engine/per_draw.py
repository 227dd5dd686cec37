"""Evaluate the outputs of a Program draw by draw, on the reference, for verification and finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad.backends.host_values import HostValues
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input
from mcgrad.moments import Float64Array


class PerDraw:
    """The outputs of a Program draw by draw, rather than their means.

    Parameters
    ----------
    program : Program
    noise_dtype : {"float32", "float64"}, optional
        Whose noise it reads, if not that of its own dtype.
    """

    def __init__(self, program: Program, noise_dtype: str | None = None) -> None:
        self.program, self.kernel = program, NumpyKernel(program, noise_dtype)
        fixed = [out.var for out in program.outputs if not out.var.by_draw]
        scales = [out.scale for out in program.outputs if out.scale is not None]
        self.host, self.fixed = HostValues(fixed + scales, program.dtype), len(fixed)

    def __call__(self, inputs: Mapping[Input, Any], seed: int, n: int, first: int = 0) -> Float64Array:
        """Return the outputs of the draws first .. first + n, shape (components, n)."""
        host = self.host(inputs)
        random = iter(self._random(inputs, seed, first, n) if self.kernel.outputs else ())
        fixed, scales = iter(host[: self.fixed]), iter(host[self.fixed :])
        blocks: list[Float64Array] = []
        for out in self.program.outputs:
            if out.var.by_draw:
                values: Float64Array = np.stack([next(random) for _ in range(out.var.size)])
            else:
                values = np.repeat(next(fixed).reshape(-1, 1), n, axis=1)
            with np.errstate(all="ignore"):
                blocks.append(values if out.scale is None else values * next(scales).reshape(-1, 1))
        return np.concatenate(blocks)

    def _random(self, inputs: Mapping[Input, Any], seed: int, first: int, n: int) -> Float64Array:
        bound, block, stop = self.kernel.bind(inputs), self.kernel.block, first + n
        return np.concatenate(
            [bound.samples(seed, start, min(start + block, stop)) for start in range(first, stop, block)], axis=1
        )
