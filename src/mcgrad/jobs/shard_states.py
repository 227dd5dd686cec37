"""The state of a shard as fields of a file, which are checked when they are read: moments in base64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Partial, RowPartial
from mcgrad.backends.chunks import Chunks
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, ShardState
from mcgrad.errors import ParameterError, shown
from mcgrad.jobs import parts
from mcgrad.moments import Moments
from mcgrad.reals import MOST_DRAWS
from mcgrad.results import record
from mcgrad.results.packed import pack, unpack
from mcgrad.tasks.fold import Piece

OF_DRAWS, OF_ROWS = "mcgrad.Checkpoint/shard/draws/1", "mcgrad.Checkpoint/shard/rows/1"  # formats
FORMATS = (OF_DRAWS, OF_ROWS)
CUT = ("first", "stop", "head", "step", "block", "most")
OF_PIECES, OF_PARTIALS = ("stops", "levels"), ("stops", "sizes")
INTEGERS, BY_ROW, SUMS = ("counts", "nonfinite"), ("means", "norms"), ("totals", "variances", "degrees")


def to_fields(state: ShardState) -> dict[str, Any]:
    """Return the fields of a state."""
    common = {"backend": state.backend, "seconds": state.seconds, "start": state.start, "stop": state.stop}
    common |= record.of_kinds(state.kinds)
    if isinstance(state, DrawsOfShard):
        partials = [piece.partial for piece in state.pieces]
        arrays: dict[str, Any] = {
            "stops": np.array([piece.stop for piece in state.pieces], np.int64),
            "levels": np.array([piece.level for piece in state.pieces], np.int64),
            "counts": np.array([partial.moments.count for partial in partials], np.int64),
            "nonfinite": np.array([partial.nonfinite for partial in partials], np.int64),
            "means": _stacked([partial.moments.mean for partial in partials]),
            "norms": _stacked([partial.moments.norm for partial in partials]),
        }
        return {
            "format": OF_DRAWS,
            **common,
            "done": state.done,
            "cut": state.cut and {name: getattr(state.cut, name) for name in CUT},
            "shift": state.shift.tolist(),
            "pieces": {name: pack(x) for name, x in arrays.items()},
            "parts": parts.to_fields(state.parts),
        }
    of_rows = [partial for _, partial in state.partials]
    arrays = {
        "stops": np.array([stop for stop, _ in state.partials], np.int64),
        "sizes": np.array([len(partial.counts) for partial in of_rows], np.int64),
        **{name: _joined([getattr(partial, name) for partial in of_rows], np.int64) for name in INTEGERS},
        **{name: _joined([getattr(partial, name) for partial in of_rows]) for name in BY_ROW},
        "totals": _stacked([partial.totals for partial in of_rows]),
        "variances": _stacked([partial.variances for partial in of_rows]),
        "degrees": _stacked([partial.total_degrees for partial in of_rows]),
    }
    return {
        "format": OF_ROWS,
        **common,
        "partials": {name: pack(x) for name, x in arrays.items()},
        "row": None if state.row is None else parts.of_run(state.row),
    }


def from_fields(fields: Mapping[str, Any], n: int, dtype: str) -> ShardState:
    """Return the state that fields describe.

    Parameters
    ----------
    fields : dict
        What :func:`to_fields` returned.
    n : int
        Draws of the whole run, of each row of a batch.
    dtype : {"float32", "float64"}

    Raises
    ------
    ParameterError
        Names a field that cannot be one of such a state.
    """
    seconds, backend = record.seconds(fields.get("seconds")), record.word("backend", fields.get("backend"))
    if fields.get("format") == OF_DRAWS:
        return _of_draws(fields, n, dtype, seconds, backend)
    stop = record.integer("stop", fields.get("stop"), 0, MOST_DRAWS)
    start = record.integer("start", fields.get("start"), 0, stop)
    given = _object("partials", fields.get("partials"), (*OF_PARTIALS, *INTEGERS, *BY_ROW, *SUMS))
    stops = _increasing("partials.stops", given["stops"], 0, stop - start)
    sizes = _integers("partials.sizes", given["sizes"], (len(stops),), MOST_DRAWS)
    size = int(sizes.sum())
    integers = {name: _integers(f"partials.{name}", given[name], (size,), n) for name in INTEGERS}
    means = unpack("partials.means", given["means"], "float64", (size, -1))
    norms = _positive("partials.norms", given["norms"], means.shape)
    totals = unpack("partials.totals", given["totals"], "float64", (len(stops), -1))
    variances, degrees = (_positive(f"partials.{name}", given[name], totals.shape) for name in SUMS[1:])
    ends = np.cumsum(sizes)[:-1]
    counts, nonfinite, means_of, norms_of = (
        np.split(x, ends) for x in (integers["counts"], integers["nonfinite"], means, norms)
    )
    partials = tuple(
        (int(at), RowPartial(counts[i], means_of[i], norms_of[i], nonfinite[i], totals[i], variances[i], degrees[i]))
        for i, at in enumerate(stops)
    )
    row = fields.get("row")
    if not isinstance(row, Mapping | None):
        raise ParameterError("row", shown(row), "null, or an object with the state of the next row")
    of_row = None if row is None else parts.run_state(row, n, dtype, seconds, backend)
    kinds = record.kinds(fields.get("kinds", []))
    return RowsOfShard(start, stop, partials, of_row, seconds, backend, kinds)


def _of_draws(fields: Mapping[str, Any], n: int, dtype: str, seconds: float, backend: str) -> DrawsOfShard:
    stop = record.integer("stop", fields.get("stop"), 0, n)
    start = record.integer("start", fields.get("start"), 0, stop)
    done = record.integer("done", fields.get("done"), start, stop)
    given = _object("pieces", fields.get("pieces"), (*OF_PIECES, *INTEGERS, *BY_ROW))
    stops = _increasing("pieces.stops", given["stops"], start, stop)
    levels = _integers("pieces.levels", given["levels"], stops.shape, 64)
    counts, nonfinite = (_integers(f"pieces.{name}", given[name], stops.shape, n) for name in INTEGERS)
    means = unpack("pieces.means", given["means"], "float64", (len(stops), -1))
    norms = _positive("pieces.norms", given["norms"], means.shape)
    pieces = tuple(
        Piece(int(stops[i]), int(levels[i]), Partial(Moments(int(counts[i]), means[i], norms[i]), int(nonfinite[i])))
        for i in range(len(stops))
    )
    merged = parts.from_fields(fields.get("parts"), stop, empty=True)
    size = len(merged[-1].moments.mean) if merged and merged[-1] else means.shape[1]
    shift = parts.shift(fields.get("shift"), size, dtype)
    cut, kinds = _cut(fields.get("cut"), n), record.kinds(fields.get("kinds", []))
    return DrawsOfShard(start, stop, done, cut, shift, pieces, merged, seconds, backend, kinds)


def _cut(given: Any, n: int) -> Chunks | None:
    """Return the chunks of the whole run."""
    if given is None:
        return None
    fields = _object("cut", given, CUT)
    most = fields["most"] if fields["most"] is None else record.integer("cut.most", fields["most"], 1, MOST_DRAWS)
    first, stop, head = (record.integer(f"cut.{name}", fields[name], 0, n) for name in CUT[:3])
    step, block = (record.integer(f"cut.{name}", fields[name], 1, MOST_DRAWS) for name in CUT[3:5])
    if not first < head <= stop:
        raise ParameterError("cut.head", f"{head}", f"beyond {first} and not beyond {stop}")
    return Chunks(first, stop, head, step, block, most)


def _object(name: str, given: Any, fields: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or set(given) != {*fields}:
        raise ParameterError(name, shown(given), f"an object with {', '.join(fields)}")
    return given


def _integers(name: str, given: Any, shape: tuple[int, ...], most: int) -> npt.NDArray[np.int64]:
    found = unpack(name, given, "int64", shape)
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) <= most:
        raise ParameterError(name, f"{found.min()} to {found.max()}", f"whole numbers from 0 to {most}")
    return found


def _increasing(name: str, given: Any, start: int, stop: int) -> npt.NDArray[np.int64]:
    found = _integers(name, given, (-1,), stop)
    if len(found) and not (found[0] > start and (np.diff(found) > 0).all()):
        raise ParameterError(name, shown(found.tolist()), f"increasing numbers beyond {start}")
    return found


def _positive(name: str, given: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    found = unpack(name, given, "float64", shape)
    if (found < 0).any():
        raise ParameterError(name, "a negative number", "0 or more")
    return found


def _stacked(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack(arrays) if arrays else np.empty((0, 0))


def _joined(arrays: Sequence[npt.NDArray[Any]], dtype: Any = np.float64) -> npt.NDArray[Any]:
    if arrays:
        return np.concatenate(arrays)
    return np.empty((0,) if dtype is np.int64 else (0, 0), dtype)
