"""Noise specs, the argument of transforms: standard normal, or uniform on the open interval (0, 1).

A noise spec is one :class:`Noise`, or a dict name -> spec whose noise reaches the transform as a dict of the same
names. Flattened in order, the sources are numbered 0, 1, ...: source i is stream i of the generator, its `kind` is the
law of its numbers, and they are numbered in C order (docs/draws.md).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mcgrad import tree
from mcgrad.errors import ParameterError, shown

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """One source of noise: the law of its numbers, and how many a draw has.

    Parameters
    ----------
    kind : {"normal", "uniform"}
        Standard normal, or uniform on (0, 1); 0 and 1 themselves are never drawn.
    shape : tuple of int
        Shape of one draw; no axis of length 0.
    """

    kind: Literal["normal", "uniform"]
    shape: Shape = ()

    def __post_init__(self) -> None:
        if self.kind not in ("normal", "uniform"):
            raise ParameterError("kind", shown(self.kind), "'normal' or 'uniform'")
        object.__setattr__(self, "shape", _shape(self.shape))

    @property
    def components(self) -> int:
        """Numbers in one draw."""
        return math.prod(self.shape)


NoiseSpec: TypeAlias = "Noise | Mapping[str, NoiseSpec]"


def normal(shape: int | Shape = ()) -> Noise:
    """Return standard normal noise of the given shape."""
    return Noise("normal", _shape(shape))


def uniform(shape: int | Shape = ()) -> Noise:
    """Return noise that is uniform on (0, 1), of the given shape."""
    return Noise("uniform", _shape(shape))


def sources(spec: NoiseSpec) -> dict[str, Noise]:
    """Return the sources of a spec by dotted path (``""`` for a lone one); the i-th is stream i.

    Raises
    ------
    ParameterError
        Where the spec holds something else than :class:`Noise`, or nothing.
    """
    flat = tree.flatten(spec)
    for path, source in flat.items():
        if not isinstance(source, Noise):
            raise ParameterError(
                f"noise.{path}" if path else "noise", shown(source), "noise.normal(shape) or noise.uniform(shape)"
            )
    if not flat:
        raise ParameterError("noise", "an empty dict", "at least one source")
    return flat


def _shape(shape: Any) -> Shape:
    try:
        axes = (operator.index(shape),) if not isinstance(shape, tuple | list) else tuple(map(operator.index, shape))
    except TypeError:
        axes = (0,)
    if any(length < 1 for length in axes):
        raise ParameterError("shape", shown(shape), "a tuple of whole numbers of at least 1")
    return axes
