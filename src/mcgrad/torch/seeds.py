"""Seeds as tensors: as given, or drawn from a generator of PyTorch's, so that torch.manual_seed reproduces a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ParameterError("generator", shown(generator), "a torch.Generator; seed= takes a number")
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


def seed_number(seed: Any, generator: torch.Generator | None, like: Sequence[torch.Tensor]) -> int | torch.Tensor:
    """Return a seed as `seed_tensor` makes it, as a number; one on a CUDA device as it is, for nothing to wait for it.

    Parameters
    ----------
    seed, generator
        As for `seed_tensor`.
    like : sequence of Tensor
        Those of the call: while a CUDA graph captures work on them, a seed is drawn from their device's generator, so
        that each replay of the graph has another.
    """
    if type(seed) is int and generator is None:
        return whole_seed(seed)
    if seed is None and generator is None:
        device = next((x.device for x in like if x.is_cuda), None)
        if device is not None and torch.cuda.is_current_stream_capturing():
            return torch.randint(MOST, (), device=device)
    found = seed_tensor(seed, generator)
    return found if found.is_cuda else seed_of(found)


def as_tensor(seed: int) -> torch.Tensor:
    """Return the tensor of a seed."""
    return torch.full((), seed if seed <= MOST else seed - (1 << 64), dtype=torch.int64)


def seed_of(tensor: torch.Tensor) -> Any:
    """Return the seed, 0 <= seed < 2**64, that a tensor holds; of one with rows an array of them."""
    if tensor.ndim:
        return tensor.numpy(force=True).astype(np.int64).view(np.uint64)
    return int(tensor.item()) % (1 << 64)
