"""Expectations of tensors on a CUDA device: put into PyTorch's current stream, with memory of PyTorch's allocator.

Nothing waits for the device, and a CUDA graph may capture the call. Where the Estimator needs numbers on the host,
`outputs` returns None, and the caller estimates by way of the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from mcgrad.arrays import as_cupy, cupy, stream_at
from mcgrad.engine.estimator import Estimator
from mcgrad.errors import BackendError, ParameterError
from mcgrad.ir.spaces import Input, Space, param
from mcgrad.torch.leaves import Leaf
from mcgrad.torch.rows import DATA

REFUSED = "a CUDA graph cannot capture this expectation"
WARM = "call it once, with tensors of these kinds, and torch.cuda.synchronize()"
WHOLE = "holds integers or booleans, which are part of the compiled code; pass a tensor on the CPU"


def outputs(
    solved: Any,
    tensors: Sequence[torch.Tensor],
    arrays: Sequence[Any],
    n: int,
    seed: int | torch.Tensor,
    dtype: torch.dtype,
    errors: bool,
    shape: tuple[int, ...],
    size: int,
    device: torch.device,
) -> list[torch.Tensor] | None:
    """Return the value, the gradient and, if asked for, the standard errors and the number of draws not finite.

    Parameters
    ----------
    solved : Problem
    tensors, arrays : sequences
        The tensors, and the same as arrays where they are in host memory.
    n : int
    seed : int or int64 Tensor on the device
    dtype, errors, shape
        As for the operator.
    size : int
        How many numbers the gradient has.
    device : torch.device
        Of the tensors that are not on the host.

    Returns
    -------
    list of Tensor, or None
        None where it has to go by way of the host.

    Raises
    ------
    BackendError
        That is so while a CUDA graph is captured.
    """
    for leaf, x in zip(solved.known, tensors, strict=True):
        if not x.is_cpu and x.device != device:
            raise ParameterError(leaf.path, f"a tensor on {x.device}, beside others on {device}", "one device for all")
    capturing = torch.cuda.is_current_stream_capturing()
    if capturing and not solved.has_estimator(arrays):
        raise BackendError(f"{REFUSED}: it was not called before, which compiles it; {WARM}")
    estimator = solved.estimator(arrays)
    obstacle = _obstacle(solved, estimator, tensors, shape, size)
    if obstacle is not None and capturing:
        raise BackendError(f"{REFUSED}: {obstacle}")
    if obstacle is not None:
        return None
    stream = torch.cuda.current_stream(device).cuda_stream
    value = torch.empty(shape, dtype=dtype, device=device)
    grad = torch.empty(size, dtype=dtype, device=device)
    stderr = torch.empty(value.numel() + size if errors else 0, dtype=dtype, device=device)
    nonfinite = torch.empty((), dtype=torch.int64, device=device)
    library = cupy()
    with stream_at(stream), library.cuda.using_allocator(Allocator(device)):
        changes = {}
        for leaf, x, array in zip(solved.known, tensors, arrays, strict=True):
            if not leaf.is_fixed:
                changes[_name(leaf)] = array if x.is_cpu else as_cupy(leaf.path, x.detach())
        places = [x.data_ptr() for x in ((value, grad, stderr, nonfinite) if errors else (value, grad))]
        key = seed if isinstance(seed, int) else (seed.data_ptr(), seed.data_ptr() + 4)
        estimator.in_streams.put(changes, n, key, places, solved.wrt, _index(device), stream)
    return [value, grad, stderr, nonfinite] if errors else [value, grad]


def check_integers(path: str) -> None:
    """Refuse to read integers on the device, by name of the data, while a CUDA graph is captured."""
    if torch.cuda.is_current_stream_capturing():
        raise BackendError(f"{REFUSED}: {path} {WHOLE}")


class Allocator:
    """Gives CuPy memory of PyTorch's, which belongs to the stream that is PyTorch's current one, or to its graph."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, nbytes: int) -> Any:
        """Return CuPy's pointer to memory that is free again when nothing refers to the pointer."""
        held = torch.empty(max(nbytes, 1), dtype=torch.uint8, device=self._device)
        kind = cupy().cuda
        return kind.MemoryPointer(kind.UnownedMemory(held.data_ptr(), nbytes, held, _index(self._device)), 0)


def _obstacle(
    solved: Any, estimator: Estimator, tensors: Sequence[torch.Tensor], shape: tuple[int, ...], size: int
) -> str | None:
    """Return why the estimate cannot stay on the device, or None."""
    for leaf, x in zip(solved.known, tensors, strict=True):
        if leaf.is_fixed and not x.is_cpu:
            return f"{leaf.path} {WHOLE}"
    derived = estimator.derived
    if derived.batch and not all(x.numel() for x in tensors):
        return "a batch without rows"
    if derived.batch and any(leaf.by_row != (_name(leaf) in derived.batch.by_row) for leaf in solved.known):
        return "other tensors have rows than q says"
    if not derived.batch and math.prod(shape) + size != len(derived.components):
        return "the value has other axes"
    return estimator.in_streams.obstacle()


def _name(leaf: Leaf) -> Input:
    return Input(Space.DATA, leaf.path) if leaf.argument == DATA else param(leaf.path)


def _index(device: torch.device) -> int:
    return device.index or 0
