"""The state of a run as fields of a checkpoint, which are checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad.backends.base import Partial, RowPartial, Shift
from mcgrad.engine.call import RowState, RunState, State
from mcgrad.engine.until import UntilState
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs.sampler import MOST_REPLICATES
from mcgrad.results import record
from mcgrad.results.files import result_of
from mcgrad.results.packed import pack, unpack

OF_DRAWS, OF_ROWS = "mcgrad.Checkpoint/5", "mcgrad.Checkpoint/rows/2"  # formats, by the kind of the state
OF_LOOKS = "mcgrad.Checkpoint/until/1"
EARLIER = {"mcgrad.Checkpoint/4": OF_DRAWS, "mcgrad.Checkpoint/rows/1": OF_ROWS}  # with all draws of a run as one part
DONE = "replicates_done"  # of a batch over points: how many, and how many there are
BY_ROW, SUMS = ("counts", "means", "norms", "nonfinite"), ("totals", "variances", "degrees")


def to_fields(state: State | UntilState) -> dict[str, Any]:
    """Return the fields of a state: moments of many rows in base64, as there may be millions."""
    if isinstance(state, UntilState):
        return {
            "format": OF_LOOKS,
            "looks": state.looks,
            "found": None if state.found is None else state.found.to_dict(),
            "state": None if state.state is None else to_fields(state.state),
        }
    common = {"backend": state.backend, "seconds": state.seconds}
    if isinstance(state, RunState):
        return {"format": OF_DRAWS, **common, **_of_draws(state)}
    partial = state.partial
    arrays = {name: getattr(partial, name) for name in (*BY_ROW, *SUMS[:2])} | {"degrees": partial.total_degrees}
    return {
        "format": OF_ROWS,
        **common,
        "done": state.rows,
        "partial": {name: pack(x) for name, x in arrays.items()},
        "row": None if state.row is None else _of_draws(state.row),
        **({DONE: list(state.replicates)} if state.replicates else {}),
    }


def _of_draws(state: RunState) -> dict[str, Any]:
    parts = [part and {"nonfinite": part.nonfinite, "moments": record.of_moments(part.moments)} for part in state.parts]
    return {"stop": state.stop, "shift": state.shift.tolist(), "parts": parts}


def from_fields(fields: Mapping[str, Any], n: int, rows: int, dtype: str) -> State | UntilState:
    """Return the state that fields describe.

    Parameters
    ----------
    fields : dict
        What :func:`to_fields` returned.
    n, rows : int
        Draws, of each row of a batch, and rows.
    dtype : {"float32", "float64"}

    Raises
    ------
    ParameterError
        Names a field that cannot be one of such a state.
    """
    if fields["format"] == OF_LOOKS:
        return _until_state(fields, n, rows, dtype)
    return _state(_upgraded(fields), n, rows, dtype)


def _until_state(fields: Mapping[str, Any], n: int, rows: int, dtype: str) -> UntilState:
    looks = record.integer("looks", fields.get("looks"), 0, n.bit_length())
    found, state = fields.get("found"), fields.get("state")
    if (found is not None) != (looks > 0) or not isinstance(found, Mapping | None):
        raise ParameterError("found", shown(found), "an estimate, or null before the first look")
    if not isinstance(state, Mapping | None):
        raise ParameterError("state", shown(state), "an object, or null at a look")
    with renamed(lambda name: f"found.{name}"):
        estimate = None if found is None else result_of(found)
    with renamed(lambda name: f"state.{name}"):
        inside = None if state is None else _state(_upgraded(state), n, rows, dtype)
    return UntilState(estimate, looks, inside)


def _upgraded(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a state as those of the current format."""
    form = fields.get("format")
    if not isinstance(form, str) or form not in EARLIER:
        return fields
    row = fields.get("row")
    changes = _one_part(fields) if EARLIER[form] == OF_DRAWS else {"row": _one_part(row) if row else row}
    return {**fields, **changes, "format": EARLIER[form]}


def _one_part(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**fields, "parts": [{name: fields.get(name) for name in ("nonfinite", "moments")}]}


def _state(fields: Mapping[str, Any], n: int, rows: int, dtype: str) -> State:
    if fields.get("format") == OF_DRAWS:
        return _run_state(fields, n, dtype, record.seconds(fields.get("seconds")), fields.get("backend"))
    done = record.integer("done", fields.get("done"), 0, rows)
    seconds, backend = record.seconds(fields.get("seconds")), record.word("backend", fields.get("backend"))
    given = fields.get("partial")
    if not isinstance(given, Mapping) or set(given) != {*BY_ROW, *SUMS}:
        raise ParameterError("partial", shown(given), f"an object with {', '.join((*BY_ROW, *SUMS))}")
    counts, nonfinite = (unpack(f"partial.{name}", given[name], "int64", (done,)) for name in ("counts", "nonfinite"))
    for name, x in (("counts", counts), ("nonfinite", nonfinite)):
        if len(x) and not 0 <= int(x.min()) <= int(x.max()) <= n:
            raise ParameterError(f"partial.{name}", f"{x.min()} to {x.max()}", f"whole numbers from 0 to {n}")
    means = unpack("partial.means", given["means"], "float64", (done, -1))
    norms = unpack("partial.norms", given["norms"], "float64", means.shape)
    totals = unpack("partial.totals", given["totals"], "float64", (-1,))
    variances, degrees = (unpack(f"partial.{name}", given[name], "float64", totals.shape) for name in SUMS[1:])
    for name, x in (("norms", norms), ("variances", variances), ("degrees", degrees)):
        if (x < 0).any():
            raise ParameterError(f"partial.{name}", "a negative number", "0 or more")
    partial = RowPartial(counts, means, norms, nonfinite, totals, variances, degrees)
    row = fields.get("row")
    if row is not None:
        if done == rows or not isinstance(row, Mapping):
            raise ParameterError("row", shown(row), "null, or an object with the state of the next row")
        row = _run_state(row, n, dtype, seconds, backend)
    return RowState(done, partial, row, seconds, backend, _replicates(fields.get(DONE)))


def _replicates(given: Any) -> tuple[int, int] | None:
    """Return how many replicates are done, and how many there are."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != 2:
        raise ParameterError(DONE, shown(given), "two whole numbers: those done, and all")
    count = record.integer(DONE, given[1], 2, MOST_REPLICATES)
    return record.integer(DONE, given[0], 1, count), count


def _run_state(fields: Mapping[str, Any], n: int, dtype: str, seconds: float, backend: Any) -> RunState:
    stop, given = record.integer("stop", fields.get("stop"), 1, n), fields.get("parts")
    if not isinstance(given, list) or not given or given[-1] is None:
        raise ParameterError("parts", shown(given), "a list of parts, or nulls, of which the last is a part")
    last = _part(len(given) - 1, given[-1], stop, None)
    size = len(last.moments.mean)
    lower = (each and _part(i, each, stop, size) for i, each in enumerate(given[:-1]))
    shift = _shift(fields.get("shift"), size, dtype)
    return RunState(stop, shift, (*lower, last), seconds, record.word("backend", backend))


def _part(i: int, fields: Any, stop: int, size: int | None) -> Partial:
    with renamed(lambda name: f"parts.{i}.{name}"):
        if not isinstance(fields, Mapping):
            raise ParameterError("moments", shown(fields), "an object with moments and nonfinite")
        nonfinite = record.integer("nonfinite", fields.get("nonfinite"), 0, stop)
        return Partial(record.moments(fields.get("moments"), size=size), nonfinite)


def _shift(given: Any, size: int, dtype: str) -> Shift:
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
