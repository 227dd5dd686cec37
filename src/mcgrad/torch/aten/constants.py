"""Tensors that f reads besides its arguments: constants, refused where autograd would expect a gradient in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from mcgrad.trace.refuse import refusal

REMEDY = (
    "give it in params=, for a gradient in it (of modules: mg.from_torch(f, name=module).tensors), or x.detach() for a "
    "constant"
)

PLAIN = (torch.Tensor, torch.nn.Parameter)  # types of tensors with memory

_refused: ContextVar[bool] = ContextVar("refused", default=False)


@contextmanager
def refusing_constants(refused: bool) -> Iterator[None]:
    """Refuse constants that require grad, or take their values, while f is traced."""
    token = _refused.set(refused)
    try:
        yield
    finally:
        _refused.reset(token)


def check_constants(tensors: Iterable[torch.Tensor]) -> None:
    """Refuse tensors with memory that require grad, where constants that do are refused.

    Raises
    ------
    TraceError
    """
    if not _refused.get():
        return
    for x in tensors:
        if x.requires_grad and type(x) in PLAIN:
            raise refusal(f"a tensor of shape {tuple(x.shape)} that requires grad, but is no argument of f,", REMEDY)
