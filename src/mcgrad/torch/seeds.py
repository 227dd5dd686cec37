"""Seeds as tensors: as given, or drawn from a generator of PyTorch's, so that torch.manual_seed reproduces a run."""

from __future__ import annotations

from typing import Any

import torch

from mcgrad.errors import ParameterError, shown
from mcgrad.reals import seed as whole_seed

MOST = (1 << 63) - 1


def seed_tensor(seed: Any, generator: torch.Generator | None) -> torch.Tensor:
    """Return a seed as an int64 tensor without axes; those from 2**63 on as the negative number with the same bits.

    Parameters
    ----------
    seed : int, Tensor or None
        None to draw one.
    generator : torch.Generator, optional
        To draw it from; default PyTorch's own, of the CPU.
    """
    if seed is None:
        if generator is None:
            return torch.randint(MOST, (), device="cpu")
        return torch.randint(MOST, (), generator=generator, device=generator.device)
    if generator is not None:
        raise ParameterError("generator", "a generator, and a seed", "one of the two")
    if isinstance(seed, torch.Tensor):
        if seed.dtype != torch.int64 or seed.ndim:
            raise ParameterError("seed", shown(seed), "an int, or an int64 tensor without axes")
        return seed
    return as_tensor(whole_seed(seed))


def seed_number(seed: Any, generator: torch.Generator | None) -> int:
    """Return a seed as `seed_tensor` makes it, as a number."""
    if type(seed) is int and generator is None:
        return whole_seed(seed)
    return seed_of(seed_tensor(seed, generator))


def as_tensor(seed: int) -> torch.Tensor:
    """Return the tensor of a seed."""
    return torch.full((), seed if seed <= MOST else seed - (1 << 64), dtype=torch.int64)


def seed_of(tensor: torch.Tensor) -> int:
    """Return the seed, 0 <= seed < 2**64, that a tensor holds."""
    return int(tensor.item()) % (1 << 64)
