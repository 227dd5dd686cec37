"""Kernels of blocks of threads: whatever reads a product with many rows of data."""

import numpy as np
import pytest

import mcgrad as mg
from tests.cuda.simulated.block_launches import agree, low_thresholds, set_tile, short_chunks, traced  # noqa: F401
from tests.emit.test_tiles import INTEGRANDS, TILED


@pytest.mark.usefixtures("low_thresholds")
@pytest.mark.parametrize(("rows", "tile_rows"), [(3, 8), (5, 100)])
@pytest.mark.parametrize("name", INTEGRANDS)
def test_any_reader_of_a_product(monkeypatch, name, rows, tile_rows):
    set_tile(monkeypatch, tile_rows)
    q = mg.Normal(np.array([0.1, -0.2, 0.3, 0.0]), 0.6)
    spoiled = rows == 3
    program, inputs = traced(lambda z: INTEGRANDS[name](z) + (np.log(z[0]) if spoiled else 0.0), q)
    emitted, _, reference = agree(program, inputs, rows, 1, checked=spoiled, omit=spoiled and tile_rows == 8)
    assert (reference.nonfinite > 0) == spoiled
    assert "while t0 < " in emitted.source or name not in TILED
