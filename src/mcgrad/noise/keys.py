"""Keys: what compiled code reads of a seed, for the generator of a Program's noise.

Of generators of words these are the lower and the upper half of the seed. Of a point set they are the table of a
replicate, and what the coordinates beyond it are made of: how many coordinates the table has, and the seed's halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.noise.generators import POINT_SETS
from mcgrad.noise.rows import Seeds
from mcgrad.noise.sobol import COORDINATES

KEPT = 16  # tables, or sets of them


class RowKeys(NamedTuple):
    """Keys of many rows: row r has those at ``places[r]`` along the first axes of the other two."""

    first: npt.NDArray[Any]
    second: npt.NDArray[Any]
    places: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Keys:
    """The keys of one generator.

    Parameters
    ----------
    generator : str
    coordinates : int
        Of a point set, how many are read.
    bits : int
        Of an integer of the generator: 32 in float32, 64 in float64.
    """

    generator: str
    coordinates: int
    bits: int

    @property
    def of_points(self) -> bool:
        """Whether draws are points, so that keys are tables."""
        return self.generator in POINT_SETS

    @property
    def random(self) -> int:
        """How many coordinates points do not have: their integers are independent random numbers."""
        return max(self.coordinates - COORDINATES, 0) if self.of_points else 0

    def of(self, seed: int) -> tuple[Any, Any]:
        """Return both keys of a seed."""
        if not self.of_points:
            return np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
        first, second, _ = self.of_rows(seed, 1)
        return first[0], second[0]

    def of_rows(self, seeds: Seeds, rows: int) -> RowKeys:
        """Return the keys of rows, that have one seed, or one each."""
        if isinstance(seeds, int):
            distinct, places = np.array([seeds], np.uint64), np.zeros(rows, np.int64)
        else:
            distinct, places = np.unique(seeds, return_inverse=True)
        halves = distinct.astype(np.uint32), (distinct >> np.uint64(32)).astype(np.uint32)
        if not self.of_points:
            return RowKeys(*halves, places)
        tables = _tables(self, distinct.tobytes())
        sizes = np.full(len(distinct), tables.shape[1], np.uint32)
        return RowKeys(tables.reshape(len(distinct), -1), np.stack([sizes, *halves], axis=1), places)

    def in_memory(self, seed: int) -> npt.NDArray[Any]:
        """Return the table of a replicate as CUDA kernels read it: see `kernels/cuda_points.py`."""
        (table,) = _tables(self, np.array([seed], np.uint64).tobytes())
        halves = (seed & 0xFFFFFFFF, seed >> 32) if self.bits == 32 else (seed, 0)
        return np.concatenate([np.array([len(table), *halves, 0], table.dtype), table.reshape(-1)])


@lru_cache(KEPT)
def _tables(keys: Keys, seeds: bytes) -> npt.NDArray[Any]:
    """Return the tables of replicates in C order, by the bytes of an array of their seeds: kernels read addresses."""
    coordinates = np.arange(min(keys.coordinates, COORDINATES), dtype=np.uint64)
    tables = POINT_SETS[keys.generator].table(np.frombuffer(seeds, np.uint64), coordinates, keys.bits)
    return np.ascontiguousarray(tables)
