"""Merge the files of the shards of a run, or results over disjoint draws, where they belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mcgrad import __version__
from mcgrad.backends.chunks import Chunks, spans
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, ShardState
from mcgrad.engine.shard_merge import merged
from mcgrad.errors import MergeError, ParameterError, renamed, shown
from mcgrad.jobs import shardfile
from mcgrad.jobs.shardfile import ShardFile
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.files import result_of
from mcgrad.system.kind import Kind

NAMED = 10  # shards that a message lists
OPTION = "--require-same"


def merge(files: Sequence[Path], require_same: bool = False) -> Estimate | BatchEstimate:
    """Return the estimate over what all files hold, whatever their order.

    Parameters
    ----------
    files : sequence of Path
        Of all shards of one run; or of results over disjoint draws of one problem. NPZ files next to the JSON files of
        results are passed over.
    require_same : bool
        Whether to refuse shards of processors, or versions of libraries, of several kinds, which differ in the last
        bits.

    Raises
    ------
    ParameterError
        A file is damaged, is not there, or is of something else; a shard is not there, or there twice.
    """
    listed = {path.resolve() for path in files}
    files = [path for path in files if path.suffix != ".npz" or path.with_suffix(".json").resolve() not in listed]
    if not files:
        raise ParameterError("parts", "no file", "files of all shards of a run, or of results")
    shards, results = [], []
    for path in files:
        fields = shardfile.content(path)
        if str(fields.get("format")).startswith(shardfile.KIND):
            shards.append(shardfile.read(path, fields))
        else:
            with renamed(lambda name, path=path: f"{path}, {name}"):  # type: ignore[misc]
                results.append((path, result_of(fields)))
    if shards and results:
        raise ParameterError(str(results[0][0]), f"a result, with {shards[0].path}, a shard", "files of one kind")
    if shards:
        return _of_shards(shards, require_same)
    return _of_results(results, require_same)


def _of_results(
    results: Sequence[tuple[Path, Estimate | BatchEstimate]], require_same: bool
) -> Estimate | BatchEstimate:
    """Return the merge of results in the order of their draws."""
    ordered = sorted(results, key=lambda each: (each[1].ranges, _replicates(each[1])))
    whole: Any = ordered[0][1]
    for path, estimate in ordered[1:]:
        try:
            whole = whole.merge(estimate)
        except MergeError as error:
            raise ParameterError(str(path), str(error), "a result of the same problem over other draws") from error
    if require_same:
        kinds = {path: estimate.kinds for path, estimate in ordered}
        for path, known in kinds.items():
            if not known:
                raise ParameterError(OPTION, f"{path}, which does not say where it was worked out", "results that do")
        _refuse_mixture(kinds)
    found: Estimate | BatchEstimate = whole
    return found


def _replicates(estimate: Estimate | BatchEstimate) -> Any:
    return estimate.replicates.numbers if estimate.replicates else ()


def _of_shards(files: Sequence[ShardFile], require_same: bool) -> Estimate | BatchEstimate:
    files = sorted(files, key=lambda each: (each.shard.number, str(each.path)))
    head = files[0]
    for each in files[1:]:
        _refuse_foreign(each, head)
    if head.identity["version"] != __version__:
        given = f"{head.identity['version']!r}, as of all shards"
        raise ParameterError(f"{head.path}, version", given, f"{__version__!r}, or merge with mcgrad of that version")
    for early, late in pairwise(files):
        if early.shard == late.shard:
            raise ParameterError(str(late.path), f"shard {late.shard} again, as {early.path}", "each shard once")
    there = {each.shard.number for each in files}
    lost = [number for number in range(1, head.shard.count + 1) if number not in there]
    if lost:
        few = ", ".join(map(str, lost[:NAMED])) + (f" and {len(lost) - NAMED:,} more" if len(lost) > NAMED else "")
        which = f"shard {few}" if len(lost) == 1 else f"shards {few}"
        raise ParameterError("parts", f"{len(files)} of {head.shard.count} shards, without {which}", "all shards")
    _refuse_gaps(files)
    if require_same:
        _refuse_mixture({each.path: each.state.kinds for each in files})
    shape = tuple(head.identity.get("batch_shape", ()))
    states, estimates = [each.state for each in files], [each.run.estimate for each in files]
    assert head.run.outline  # checked by `_refuse_gaps`
    return merged(states, estimates, head.run.outline, head.identity["problem"], shape)


def _refuse_foreign(each: ShardFile, head: ShardFile) -> None:
    """Refuse a shard of another run than the first one is of; name what differs."""
    of = f"that of {head.path}"
    if each.shard.count != head.shard.count:
        given = f"one of {each.shard.count} shards"
        raise ParameterError(f"{each.path}, shard", given, f"one of {head.shard.count}, as {head.path}")
    for name in {**head.identity, **each.identity}:
        mine, other = each.identity.get(name), head.identity.get(name)
        if mine != other and name == "problem":
            raise ParameterError(f"{each.path}, problem", "another integrand, distribution, parameters or data", of)
        if mine != other:
            raise ParameterError(f"{each.path}, {name}", shown(mine), f"{shown(other)}, {of}")
    if type(each.state) is not type(head.state) or each.state.backend != head.state.backend:
        accepted = f"{head.state.backend!r}, {of}: backends cut runs into other chunks, see --backend"
        raise ParameterError(f"{each.path}, backend", repr(each.state.backend), accepted)


def _refuse_gaps(files: Sequence[ShardFile]) -> None:
    """Refuse shards whose parts are not those of one run, one after the other, each whole."""
    cut = next((each.state.cut for each in files if isinstance(each.state, DrawsOfShard) and each.state.cut), None)
    stop = 0
    for each in files:
        state = each.state
        if state.start != stop and state.start != state.stop:
            raise ParameterError(f"{each.path}, start", f"{state.start:,}", f"{stop:,}, where the shard before it ends")
        stop = max(stop, state.stop)
        if not _is_whole(state, cut):
            raise ParameterError(f"{each.path}, state", "a shard that is not done", "one that is")
    end = _end(files[0])
    if stop != end:
        raise ParameterError(f"{files[-1].path}, stop", f"{stop:,}", f"{end:,}")
    if files[0].run.outline is None:
        raise ParameterError(f"{files[0].path}, outline", "null", "what completes the moments, as of every first shard")
    if not any(each.run.estimate for each in files):
        raise ParameterError(f"{files[0].path}, estimate", "null in all shards", "an estimate over some draws")


def _end(file: ShardFile) -> int:
    """Return where the last part ends: of draws, of replicates, or of rows."""
    identity = file.identity
    if isinstance(file.state, DrawsOfShard):
        return int(identity["n"])
    replicates = identity.get("replicates", 1)
    if replicates > 1:
        return int(replicates)
    return math.prod(identity["batch_shape"])


def _is_whole(state: ShardState, cut: Chunks | None) -> bool:
    if isinstance(state, RowsOfShard):
        return state.row is None and state.rows == state.stop - state.start
    ends = [(piece.stop, piece.level) for piece in state.pieces]
    if state.parts or state.done != state.stop or (ends[-1][0] if ends else state.start) != state.stop:
        return False
    return cut is None or [(end, level) for _, end, level in spans(cut, state.start, state.stop)] == ends


def _refuse_mixture(kinds: Mapping[Path, Sequence[Kind]]) -> None:
    """Refuse parts of several kinds of processors and versions."""
    found: dict[Kind, Path] = {}
    for path, several in kinds.items():
        for kind in several:
            found.setdefault(kind, path)
    if len(found) > 1:
        given = "; ".join(f"{kind}: {path}" for kind, path in found.items())
        raise ParameterError(OPTION, given, "parts of one kind")
