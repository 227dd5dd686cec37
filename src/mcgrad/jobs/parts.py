"""Write the merged parts of a run over draws as fields of a file, and read them with checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad.backends.base import Partial, Shift
from mcgrad.engine.call import RunState
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.results import record
from mcgrad.tasks.fold import Parts


def of_run(state: RunState) -> dict[str, Any]:
    """Return the fields of a state, but for its time and backend."""
    return {"stop": state.stop, "shift": state.shift.tolist(), "parts": to_fields(state.parts)}


def run_state(fields: Mapping[str, Any], n: int, dtype: str, seconds: float, backend: Any) -> RunState:
    """Return the state of fields."""
    stop = record.integer("stop", fields.get("stop"), 1, n)
    found = from_fields(fields.get("parts"), stop)
    assert found[-1]
    about = shift(fields.get("shift"), len(found[-1].moments.mean), dtype)
    return RunState(stop, about, found, seconds, record.word("backend", backend))


def to_fields(parts: Parts) -> list[Any]:
    """Return the parts of a fold as fields."""
    return [part and {"nonfinite": part.nonfinite, "moments": record.of_moments(part.moments)} for part in parts]


def from_fields(given: Any, stop: int, empty: bool = False) -> Parts:
    """Return the parts of a fold of draws up to `stop`; none, if that may be."""
    if given == [] and empty:
        return ()
    if not isinstance(given, list) or not given or given[-1] is None:
        raise ParameterError("parts", shown(given), "a list of parts, or nulls, of which the last is a part")
    last = _part(len(given) - 1, given[-1], stop, None)
    size = len(last.moments.mean)
    return (*(each and _part(i, each, stop, size) for i, each in enumerate(given[:-1])), last)


def _part(i: int, fields: Any, stop: int, size: int | None) -> Partial:
    with renamed(lambda name: f"parts.{i}.{name}"):
        if not isinstance(fields, Mapping):
            raise ParameterError("moments", shown(fields), "an object with moments and nonfinite")
        nonfinite = record.integer("nonfinite", fields.get("nonfinite"), 0, stop)
        return Partial(record.moments(fields.get("moments"), size=size), nonfinite)


def shift(given: Any, size: int, dtype: str) -> Shift:
    """Return the shift of a run: about which sums of so many components are taken."""
    accepted = f"a list of {size} finite numbers, or of none"
    if not isinstance(given, list) or len(given) not in (0, size) or not all(type(x) in (int, float) for x in given):
        raise ParameterError("shift", shown(given), accepted)
    try:
        with np.errstate(over="ignore"):
            found = np.array([float(x) for x in given], dtype)
    except OverflowError:
        found = np.array([np.inf])
    if not np.isfinite(found).all():
        raise ParameterError("shift", "numbers that are too large", accepted)
    return found
