"""Arrays of the user's that results are written into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import Shape

SECOND = ("hessian", "hessian_stderr", "hvp", "hvp_stderr")
NAMES = ("value", "stderr", "grad", "grad_stderr", *SECOND)


@dataclass(frozen=True)
class Out:
    """Arrays under some of the names of results, each with the dotted path of its parameter.

    Parameters
    ----------
    targets : dict of (str, str) to array
    """

    targets: Mapping[tuple[str, str], Any]

    @classmethod
    def of(
        cls,
        given: Any,
        value: Mapping[str, Shape],
        grad: Mapping[str, Shape],
        second: Mapping[str, Mapping[str, Shape]] = MappingProxyType({}),
    ) -> Self:
        """Check the arrays of a user.

        Parameters
        ----------
        given : dict
            Arrays under some of the names of results, those of derivatives nested dicts by parameter: of the shapes of
            the results, and of float32 or float64.
        value : dict of str to tuple of int
            The shapes of the value, by dotted path; of a number or an array with the path "".
        grad : dict of str to tuple of int
            The shapes of the gradient, by dotted path.
        second : dict of str to dict of str to tuple of int
            The shapes of second derivatives under their name, "hessian" or "hvp", by dotted path.

        Raises
        ------
        ParameterError
            Another name, or what is no array of that shape that may be written.
        """
        if not isinstance(given, Mapping) or set(given) - set(NAMES):
            raise ParameterError("out", shown(given), f"a dict of arrays under some of the names {', '.join(NAMES)}")
        targets = {}
        for name, part in given.items():
            shapes = value if name in ("value", "stderr") else grad
            if name in SECOND:
                shapes = second.get(name.removesuffix("_stderr"), {})
            for path, target in tree.flatten(part).items():
                place = f"out.{name}.{path}" if path else f"out.{name}"
                if path not in shapes:
                    raise ParameterError(place, "no result", ", ".join(shapes) or "nothing")
                if not _is_writable(target, shapes[path]):
                    accepted = f"an array of float32 or float64 of shape {shapes[path]} that may be written"
                    raise ParameterError(place, shown(target), accepted)
                targets[name, path] = target
        return cls(targets)

    def fill(self, result: Any) -> None:
        """Write the results of an estimate into the arrays."""
        flat = {name: tree.flatten(getattr(result, name)) for name in dict.fromkeys(name for name, _ in self.targets)}
        for (name, path), target in self.targets.items():
            target[...] = flat[name][path]


def _is_writable(target: Any, shape: Shape) -> bool:
    return (
        isinstance(target, np.ndarray)
        and target.shape == shape
        and target.dtype.char in "fd"
        and bool(target.flags.writeable)
    )
