"""What is kept of a path: reductions, which a loop carries from step to step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mcgrad.errors import ParameterError, shown
from mcgrad.sde.state import leafwise, shape_of
from mcgrad.trace.nested import is_nested, leaves, mapped

METHODS = ("each_step", "arrays", "begin", "next", "end")
NAMES = ("path", "last", "mean", "max", "min", "integral")


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """What a scheme steps in, where that is not the state itself, such as its logarithm.

    Parameters
    ----------
    inward, outward : callable
        From values of a part of the state to those that are stepped, and back; called with the value and the function
        that takes this part of nested values.
    """

    inward: Callable[[Any, Callable[[Any], Any]], Any] = lambda value, part: value
    outward: Callable[[Any, Callable[[Any], Any]], Any] = lambda value, part: value


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a reduction may read of a step.

    Parameters
    ----------
    t, end : number
        The times of both ends.
    before, after : nested arrays
        What was stepped, at both ends, before after a jump at the beginning of the step.
    variance : nested arrays
        Of a step's increment, each number's.
    seen : nested arrays
        What is observed at the end.
    weight : float
        Of the end, in the trapezoidal rule.
    marks : int
        How many times there are after the first.
    coordinates : Coordinates
    """

    t: Any
    end: Any
    before: Any
    after: Any
    variance: Any
    seen: Any
    weight: Any
    marks: int
    coordinates: Coordinates


class Reduction(Protocol):
    """What is kept of a path."""

    @property
    def each_step(self) -> bool:
        """Whether it looks at every step, or at the times that the user has given."""

    def arrays(self) -> Any:
        """Return what is read step by step, of shape (steps, ...), or None."""

    def begin(self, first: Step) -> Any:
        """Return what is carried into the first step, of which `after` is the first state."""

    def next(self, carry: Any, step: Step, extra: Any) -> Any:
        """Return what is carried after a step."""

    def end(self, carry: Any, last: Step) -> Any:
        """Return the result, from what is carried after the last step."""


@dataclass(frozen=True, slots=True)
class Running:
    """A reduction of what is observed that a name stands for.

    Parameters
    ----------
    name : str
        One of `NAMES` but "path", which is no reduction.
    """

    name: str

    @property
    def each_step(self) -> bool:
        """Whether it is the integral."""
        return self.name == "integral"

    def arrays(self) -> Any:
        """Return None."""
        return None

    def begin(self, first: Step) -> Any:
        """Return the first value, or zeros for the mean, which is that of the times after the first."""
        if self.name == "last":
            return None
        if self.name == "mean":
            return mapped(lambda path, y: np.zeros(shape_of(y)), first.seen)
        if self.name == "integral":
            return mapped(lambda path, y: first.weight * y, first.seen)
        return first.seen

    def next(self, carry: Any, step: Step, extra: Any) -> Any:
        """Return the sum, or the extremum, with one value more."""
        if self.name == "last":
            return None
        rules: dict[str, Callable[[Any, Any], Any]] = {
            "mean": lambda total, y: total + y,
            "integral": lambda total, y: total + step.weight * y,
            "max": np.maximum,
            "min": np.minimum,
        }
        return leafwise(rules[self.name], carry, step.seen)

    def end(self, carry: Any, last: Step) -> Any:
        """Return the mean of a sum, the last value, or what is carried."""
        if self.name == "mean":
            return mapped(lambda path, total: total / last.marks, carry)
        return last.seen if self.name == "last" else carry


def parsed(reduce: Any) -> dict[str, Reduction | None]:
    """Return the reductions by their path in `reduce`; None is the path itself.

    Raises
    ------
    ParameterError
        What is no reduction.
    """
    accepted = f"{', '.join(map(repr, NAMES))}, mg.sde.Survival and its kind, or nested dicts and tuples of these"
    given = leaves(reduce)
    if not given or _holds_none(reduce):
        raise ParameterError("reduce", shown(reduce), accepted)
    found: dict[str, Reduction | None] = {}
    for path, name in given.items():
        if isinstance(name, str) and name in NAMES:
            found[path] = None if name == "path" else Running(name)
        elif not isinstance(name, str) and all(hasattr(name, method) for method in METHODS):
            found[path] = name
        else:
            raise ParameterError(f"reduce{path}", shown(name), accepted)
    return found


def _holds_none(reduce: Any) -> bool:
    parts = reduce.values() if isinstance(reduce, Mapping) else reduce if is_nested(reduce) and reduce else ()
    return reduce is None or any(map(_holds_none, parts))


def part_of(x: Any, of: Any) -> Callable[[Any], Any]:
    """Return what takes the part of a state, and of what is nested as that, which a reduction is of.

    Raises
    ------
    ParameterError
        None for a nested state, of which reductions name a part, or a part that there is not.
    """
    if of is None:
        if is_nested(x):
            raise ParameterError("of", "None for a nested state", "which part it is of, such as of=0 or of='spot'")
        return lambda value: value
    try:
        x[of]
    except (KeyError, IndexError, TypeError):
        raise ParameterError("of", shown(of), f"a key or an index of x0, {shown(x)}") from None
    return lambda value: value[of] if is_nested(value) or shape_of(value) else value
