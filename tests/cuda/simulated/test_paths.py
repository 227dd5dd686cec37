"""Paths on GPUs: kernels in Numba's simulator, against the reference."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cuda import alone, blocks
from tests.cuda.simulated.block_launches import agree, traced

TIMES = np.linspace(0.0, 1.0, 5)


def heston(z, *, rho, vol):
    """A nested state, correlated motions, Milstein's terms, a barrier."""

    def diffusion(t, x):
        root = (0.001 + x["v"] ** 2) ** 0.25
        return {"s": 0.3 + root * x["s"], "v": vol * root}

    alive = mg.sde.Survival(lower=0.7, of="s")
    last, mean, alive = mg.sde.milstein(
        lambda t, x: {"s": 0.1 * x["s"], "v": 0.09 - x["v"]},
        diffusion,
        {"s": 1.0, "v": 0.09},
        TIMES,
        z,
        correlation=rho,
        commutative=True,
        reduce=("last", "mean", alive),
    )
    return (last["s"] + mean["v"]) * alive


def jumping(z, *, rho, vol):
    """A log state with jumps, and a maximum between the times."""
    top = mg.sde.Maximum(0.5 + 0.4 * np.sin(z[:, 1]))
    return mg.sde.gbm(rho, TIMES, z[:, 0], drift=0.1, volatility=vol, jumps=0.1 * z[:, 1], reduce=top)


@pytest.mark.parametrize("f", [heston, jumping])
def test_values_and_derivatives(monkeypatch, f):
    monkeypatch.setattr(blocks, "MOST_TURNS", 2)
    q = mg.Normal(np.linspace(-0.5, 0.5, 8).reshape(4, 2), 0.8)
    program, inputs = traced(f, q, "float64", params={"rho": 0.6, "vol": 0.3}, wrt=["rho", "vol"], method="pathwise")
    agree(program, inputs, 1, 2, checked=True, n=11)
    assert blocks.emit(program).threads == alone.THREADS  # the state is in registers
