"""The state of a run as fields of a checkpoint, which are checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mcgrad.backends.base import RowPartial
from mcgrad.engine.call import RowState, RunState, State
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard
from mcgrad.engine.until import UntilState
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs.sampler import MOST_REPLICATES
from mcgrad.jobs import parts, shard_states
from mcgrad.jobs.identity import AnyState
from mcgrad.results import record
from mcgrad.results.files import result_of
from mcgrad.results.packed import pack, unpack

OF_DRAWS, OF_ROWS = "mcgrad.Checkpoint/5", "mcgrad.Checkpoint/rows/2"  # formats, by the kind of the state
OF_LOOKS = "mcgrad.Checkpoint/until/1"
EARLIER = {"mcgrad.Checkpoint/4": OF_DRAWS, "mcgrad.Checkpoint/rows/1": OF_ROWS}  # with all draws of a run as one part
FORMATS = (OF_DRAWS, OF_ROWS, OF_LOOKS, *EARLIER, *shard_states.FORMATS)
DONE = "replicates_done"  # of a batch over points: how many, and how many there are
BY_ROW, SUMS = ("counts", "means", "norms", "nonfinite"), ("totals", "variances", "degrees")


def to_fields(state: AnyState) -> dict[str, Any]:
    """Return the fields of a state: moments of many rows in base64, as there may be millions."""
    if isinstance(state, DrawsOfShard | RowsOfShard):
        return shard_states.to_fields(state)
    if isinstance(state, UntilState):
        return {
            "format": OF_LOOKS,
            "looks": state.looks,
            "found": None if state.found is None else state.found.to_dict(),
            "state": None if state.state is None else to_fields(state.state),
        }
    common = {"backend": state.backend, "seconds": state.seconds, **record.of_kinds(state.kinds)}
    if isinstance(state, RunState):
        return {"format": OF_DRAWS, **common, **parts.of_run(state)}
    partial = state.partial
    arrays = {name: getattr(partial, name) for name in (*BY_ROW, *SUMS[:2])} | {"degrees": partial.total_degrees}
    return {
        "format": OF_ROWS,
        **common,
        "done": state.rows,
        "partial": {name: pack(x) for name, x in arrays.items()},
        "row": None if state.row is None else parts.of_run(state.row),
        **({DONE: list(state.replicates)} if state.replicates else {}),
    }


def from_fields(fields: Mapping[str, Any], n: int, rows: int, dtype: str) -> AnyState:
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
    if fields["format"] in shard_states.FORMATS:
        return shard_states.from_fields(fields, n, dtype)
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
        state = parts.run_state(fields, n, dtype, record.seconds(fields.get("seconds")), fields.get("backend"))
        return replace(state, kinds=record.kinds(fields.get("kinds", [])))
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
        row = parts.run_state(row, n, dtype, seconds, backend)
    kinds = record.kinds(fields.get("kinds", []))
    return RowState(done, partial, row, seconds, backend, _replicates(fields.get(DONE)), kinds)


def _replicates(given: Any) -> tuple[int, int] | None:
    """Return how many replicates are done, and how many there are."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != 2:
        raise ParameterError(DONE, shown(given), "two whole numbers: those done, and all")
    count = record.integer(DONE, given[1], 2, MOST_REPLICATES)
    return record.integer(DONE, given[0], 1, count), count
