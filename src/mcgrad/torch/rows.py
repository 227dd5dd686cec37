"""Rows of a batch among tensors: which have the batch axes, and what a cotangent by row does to a gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Self

import torch

from mcgrad.distributions.base import Distribution
from mcgrad.reals import count

FEW = 8  # numbers of f, or of the parameters, up to which all derivatives are estimated with the value
MOST_KEPT = 1 << 22  # of these in all rows
KEPT = 256  # lists of shapes
Q, PARAMS, DATA = "q", "params", "data"  # the arguments in which a tensor may be


class Axes(NamedTuple):
    """The axes of a batch, as the arguments state them.

    Parameters
    ----------
    ndim : int
        How many they are; 0 without a batch.
    of_q : frozenset of str or None
        The parameters of q that have them; None for those with as many axes.
    params, data : tuple of str
        Names of those that have them; of parameters also the beginning of paths.
    shape : tuple of int
        Their extents where q itself has them; else empty.
    """

    ndim: int
    of_q: frozenset[str] | None
    params: tuple[str, ...]
    data: tuple[str, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, q: Any, params: str | Iterable[str], data: str | Iterable[str]) -> Self:
        """Return the axes that a distribution has, or one for parameters and data by row."""
        names = [(each,) if isinstance(each, str) else tuple(each) for each in (params, data)]
        if isinstance(q, Distribution) and q.batch is not None:
            return cls(q.batch.ndim, q.batch.by_row, names[0], names[1], q.batch.shape)
        own = frozenset[str]() if isinstance(q, Distribution) else None
        return cls(1 if names[0] or names[1] else 0, own, names[0], names[1], ())

    def stated_by(self, static: tuple[tuple[str, Any], ...]) -> Self:
        """Return the axes, as many as ``batch_ndim`` among the arguments of a family says."""
        for path, value in static:
            if path == "batch_ndim":
                return self._replace(ndim=count("batch_ndim", value, 0))
        return self if self.of_q is not None else self._replace(of_q=frozenset())

    def has(self, argument: str, path: str, ndim: int) -> bool:
        """Return whether a tensor has the axes."""
        if self.ndim == 0:
            return False
        if argument == DATA:
            return path in self.data
        if argument == PARAMS:
            return any(path == name or path.startswith(f"{name}.") for name in self.params)
        return ndim >= self.ndim if self.of_q is None else path in self.of_q


class Rows(NamedTuple):
    """The axes of a value, and what they and its reduction over rows make of gradients.

    Parameters
    ----------
    batch : tuple of int
        Extents of the batch axes; empty where there are none.
    shape : tuple of int
        Of what f returns: of all its numbers, one after the other, where it returns a dict.
    by_row : list of bool
        For each parameter that has a gradient, whether it has the batch axes. The gradient in one that has not is by
        row where the value is.
    weight : float or None
        Of each row's value in the reduced one; None for values by row.
    """

    batch: tuple[int, ...]
    shape: tuple[int, ...]
    by_row: list[bool]
    weight: float | None

    @classmethod
    def of(cls, axes: Axes, known: Iterable[Any], reduce: str | None, shape: tuple[int, ...]) -> Self:
        """Return the rows of some tensors, as `Leaf` describes these."""
        leaves = list(known)
        own = [leaf.shape[: axes.ndim] for leaf in leaves if leaf.by_row]
        batch = tuple(own[0] if own else axes.shape)
        by_row = [leaf.by_row for leaf in leaves if leaf.differentiable]
        if reduce in ("sum", "mean"):
            return cls(batch, shape, by_row, 1.0 / max(math.prod(batch), 1) if reduce == "mean" else 1.0)
        return cls(batch, shape, by_row, None)

    def keeps(self, known: Iterable[Any]) -> bool:
        """Whether gradients of all numbers of the value are kept for the backward pass.

        Else it estimates again, which takes about as long as a value with the gradient of one number.
        """
        leaves = [leaf for leaf in known if leaf.differentiable]
        sizes = [math.prod(self.gradient(leaf.shape, leaf.by_row)) for leaf in leaves]
        own = [math.prod(leaf.shape[len(self.batch) if leaf.by_row else 0 :]) for leaf in leaves]
        return min(math.prod(self.shape), sum(own)) <= FEW and sum(sizes) <= MOST_KEPT

    @property
    def value(self) -> tuple[int, ...]:
        """Shape of the value: without the batch axes where it is reduced."""
        return (*self.batch, *self.shape) if self.weight is None else self.shape

    @property
    def is_plain(self) -> bool:
        """Whether the value is one number, whose gradient in each parameter has the parameter's shape as it is kept."""
        return not self.value and (self.weight is None or self.weight == 1.0)

    def gradient(self, shape: tuple[int, ...], own: bool) -> tuple[int, ...]:
        """Return the shape of the gradient in a parameter, with the axes of f's value before those of a row's own."""
        ndim = len(self.batch)
        return (*shape[:ndim], *self.shape, *shape[ndim:]) if own else (*self.value, *shape)

    def shapes(self, parameters: list[Kind]) -> list[tuple[int, ...]]:
        """Return the shapes of gradients."""
        try:
            kinds = tuple([shape for shape, _ in parameters])
            return [*_shapes(self.batch, self.shape, self.weight, tuple(self.by_row), kinds)]
        except TypeError:  # in a graph with extents that are symbols, which have no hash
            return [self.gradient(tuple(shape), own) for (shape, _), own in zip(parameters, self.by_row, strict=True)]

    def multiplied(self, grad: torch.Tensor, cotangent: torch.Tensor, parameters: list[Kind]) -> list[torch.Tensor]:
        """Return the gradient in each parameter of what has some cotangent by the value.

        Parameters
        ----------
        grad : Tensor
            Gradients of the value, flat and one after the other.
        cotangent : Tensor, of the value's shape
        parameters : list of (torch.Size, torch.dtype)
        """
        if not self.value:
            parts = split(grad * cotangent, self.shapes(parameters))
        else:
            numbers, flat = math.prod(self.shape), cotangent.reshape(-1)
            by_row, parts = cotangent.reshape(-1, 1, numbers), []
            for x, (shape, _), own in zip(split(grad, self.shapes(parameters)), parameters, self.by_row, strict=True):
                if own:
                    rows = math.prod(self.batch)
                    x = x.reshape(rows, numbers, shape.numel() // max(rows, 1))
                    parts.append((by_row * x if numbers == 1 else by_row @ x).reshape(shape))
                else:
                    parts.append((flat @ x.reshape(flat.numel(), shape.numel())).reshape(shape))
        return self._weighted(parts, parameters)

    def contracted(self, flat: torch.Tensor, parameters: list[Kind]) -> list[torch.Tensor]:
        """Return the gradient in each parameter of what was estimated for a cotangent: flat, one after the other."""
        return self._weighted(split(flat, [shape for shape, _ in parameters]), parameters)

    def _weighted(self, parts: list[torch.Tensor], parameters: list[Kind]) -> list[torch.Tensor]:
        if self.weight is not None and self.weight != 1.0:
            parts = [x * self.weight if own else x for x, own in zip(parts, self.by_row, strict=True)]
        return [x if x.dtype == dtype else x.to(dtype) for x, (_, dtype) in zip(parts, parameters, strict=True)]


Kind = tuple[torch.Size, torch.dtype]  # of a tensor


@lru_cache(KEPT)
def _shapes(
    batch: tuple[int, ...],
    shape: tuple[int, ...],
    weight: float | None,
    by_row: tuple[bool, ...],
    shapes: tuple[torch.Size, ...],
) -> list[tuple[int, ...]]:
    """Return what `Rows.shapes` does, which each step of a training asks for."""
    rows = Rows(batch, shape, [*by_row], weight)
    return [rows.gradient(tuple(own), flag) for own, flag in zip(shapes, by_row, strict=True)]


def split(flat: torch.Tensor, shapes: list[Any]) -> list[torch.Tensor]:
    """Return views of a flat tensor in some shapes, one after the other."""
    if len(shapes) == 1:
        return [flat.view(shapes[0])]
    parts = flat.split_with_sizes([math.prod(shape) for shape in shapes])
    return [part if len(shape) == 1 else part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
