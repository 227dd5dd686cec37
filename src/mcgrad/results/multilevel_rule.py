"""When a multilevel run ends: its tolerance, how that is divided between bias and noise, and its limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from mcgrad import tree
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.moments import Float64Array
from mcgrad.reals import count
from mcgrad.results.components import Components
from mcgrad.results.stopping import ALL, GRAD, MOST, VALUE, StoppingRule

START = 1024  # draws that each level has at least
FIRST, DEEPEST = 2, 12  # the last level at first, and at most
MOST_LEVELS = 48  # 2 to this power is beyond any number of steps
SHARE = 0.25  # of the mean square error, for the bias
ZERO = 2.0  # standard errors, within which a mean cannot be told from zero
LATER = ("max_cost", "max_seconds")  # fields that files of earlier versions lack


@dataclass(frozen=True, kw_only=True)
class MultilevelRule:
    """When a multilevel run ends: its arguments are those of `mlmc`, which documents them.

    Raises
    ------
    ParameterError
        An argument is not accepted.
    """

    rtol: float = 1e-2
    atol: float = 0.0
    of: str | Iterable[str] = ALL
    bias_share: float = SHARE
    alpha: float | None = None
    start: int = START
    min_level: int = FIRST
    max_level: int = DEEPEST
    max_draws: int = MOST
    max_cost: float | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        checked = StoppingRule(rtol=self.rtol, atol=self.atol, of=self.of, start=self.start, max_draws=self.max_draws)
        found = {name: getattr(checked, name) for name in ("rtol", "atol", "of", "start", "max_draws")}
        if found["start"] > found["max_draws"]:
            raise ParameterError("max_draws", f"{found['max_draws']:,}", f"at least start = {found['start']:,}")
        share, alpha = _number("bias_share", self.bias_share, "a number between 0 and 1"), self.alpha
        if not 0 < share < 1:
            raise ParameterError("bias_share", shown(share), "a number between 0 and 1, such as 0.25")
        if alpha is not None and (alpha := _number("alpha", alpha, "None, or a number above 0")) <= 0:
            raise ParameterError("alpha", shown(alpha), "None, or a number above 0")
        least = count("min_level", self.min_level, 2, MOST_LEVELS)
        most = count("max_level", self.max_level, least, MOST_LEVELS)
        found |= {"bias_share": share, "alpha": alpha, "min_level": least, "max_level": most}
        for name in ("max_cost", "max_seconds"):
            given = getattr(self, name)
            found[name] = None if given is None else _number(name, given, "None, or a number above 0")
            if given is not None and found[name] <= 0:
                raise ParameterError(name, shown(given), "None, or a number above 0")
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def for_components(self, components: Components) -> Self:
        """Return the rule with the parts that there are.

        Raises
        ------
        ParameterError
            A part is asked for that there is not.
        """
        parts = list(self.of)
        if not components.shapes and VALUE in parts:
            parts = [part for part in parts if part != GRAD]
        for part in parts:
            if part == VALUE:
                continue
            if not components.shapes:
                raise ParameterError("of", shown(part), "'value', as there is no gradient")
            if part != GRAD:
                tree.select(components.shapes, [part], "of")
        return type(self)(**{**{each.name: getattr(self, each.name) for each in fields(self)}, "of": tuple(parts)})

    def places(self, components: Components) -> dict[str, list[int]]:
        """Return which components each part consists of."""
        found = {}
        for part in self.of:
            where = {VALUE: [components.values], GRAD: [components.gradient]}.get(part)
            where = where or [components.slices[path] for path in tree.select(components.shapes, [part], "of")]
            found[part] = [i for each in where for i in range(each.start, each.stop)]
        return found

    def tolerances(self, components: Components, means: Float64Array) -> Float64Array:
        """Return what the error of each component may be: infinite where it is in no part."""
        found = np.full(len(means), np.inf)
        for where in self.places(components).values():
            tolerance = self.rtol * float(np.abs(means[where]).max(initial=0.0)) + self.atol
            found[where] = np.minimum(found[where], tolerance)
        return found

    def to_fields(self) -> dict[str, Any]:
        """Return the arguments as values of a file."""
        return asdict(self) | {"of": list(self.of)}

    @classmethod
    def of_fields(cls, given: Any) -> Self:
        """Return the rule that is in a file."""
        names = [each.name for each in fields(cls)]
        if not isinstance(given, Mapping) or {*given, *LATER} != set(names):
            raise ParameterError("rule", shown(given), f"an object with {', '.join(names)}")
        with renamed(lambda key: f"rule.{key}"):
            return cls(**given)


def zero_parts(rule: MultilevelRule, components: Components, means: Float64Array, noise: Float64Array) -> list[str]:
    """Return the parts whose tolerance is relative alone, and none of whose means is two standard errors from zero."""
    if rule.atol or not rule.rtol:
        return []
    places = rule.places(components)
    return [part for part, where in places.items() if where and (np.abs(means[where]) <= ZERO * noise[where]).all()]


def _number(name: str, given: Any, accepted: str) -> float:
    number = isinstance(given, int | float | np.floating | np.integer) and not isinstance(given, bool)
    if not number or not math.isfinite(given):
        raise ParameterError(name, shown(given), accepted)
    return float(given)
