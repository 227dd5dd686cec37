"""Merge the shards of a run: in the order of its draws, rows or replicates, with the bits of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from mcgrad.backends.row_by_row import together
from mcgrad.engine.common_noise import CommonFinisher, CommonMoments
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.outline import Outline
from mcgrad.engine.replicates import MeansOfReplicates, finished_of
from mcgrad.engine.row_epilogue import RowFinisher
from mcgrad.engine.row_fold import RowFold
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, ShardState
from mcgrad.noise import Shape
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.tasks.fold import Fold


def merged(
    states: Sequence[ShardState],
    estimates: Sequence[Estimate | BatchEstimate | None],
    outline: Outline,
    problem: str,
    batch_shape: Shape = (),
) -> Estimate | BatchEstimate:
    """Return the estimate of a whole run.

    Parameters
    ----------
    states : sequence of DrawsOfShard, or of RowsOfShard
        Of all shards, in order.
    estimates : sequence of Estimate, or of BatchEstimate, or None
        Over the part of each; None where it has none.
    outline : Outline
        Of the run.
    problem : str
        The fingerprint of the whole run.
    batch_shape : tuple of int
        Of a batch.
    """
    found = [estimate for estimate in estimates if estimate is not None]
    if isinstance(states[0], DrawsOfShard):
        whole = _over_draws([state for state in states if isinstance(state, DrawsOfShard)], found[0], outline)
    elif isinstance(found[0], Estimate):  # over replicates, of which each has its means
        whole = reduce(Estimate.merge, found)  # type: ignore[arg-type]  # all of one kind
    else:
        of_rows = [state for state in states if isinstance(state, RowsOfShard)]
        batch = [estimate for estimate in found if isinstance(estimate, BatchEstimate)]
        if batch[0].replicates:
            whole = _over_replicates(of_rows, batch[0])
        else:
            whole = _over_rows(of_rows, batch, outline, batch_shape)
    kinds = tuple(sorted({kind for state in states for kind in state.kinds}))
    return replace(whole, seconds=sum(state.seconds for state in states), problem=problem, kinds=kinds)


def _over_draws(
    states: Sequence[DrawsOfShard], head: Estimate | BatchEstimate, outline: Outline
) -> Estimate | BatchEstimate:
    fold = Fold(states[0].cut or ())
    for state in states:
        for piece in state.pieces:
            fold.add(piece)
    ranges = ((states[0].start, states[-1].stop),)
    if isinstance(head, Estimate):
        finish = Finisher(outline.program, outline.free, head.components)
        found = finish.estimate(fold.total, outline.values, head.omitted)
        return replace(head, moments=found.moments, nonfinite=found.nonfinite, ranges=ranges)
    complete = CommonFinisher(outline.program, outline.free).estimate(fold.total, outline.values, head.omitted)
    layout = head.components, head.components.over_rows(head.shared)
    (moments, nonfinite), together = CommonMoments(outline.program, head.size, layout)(complete)
    return replace(
        head,
        moments=moments,
        nonfinite=nonfinite.reshape(head.batch_shape),
        total=together.total,
        differences=together.differences,
        ranges=ranges,
    )


def _over_rows(
    states: Sequence[RowsOfShard], parts: Sequence[BatchEstimate], outline: Outline, batch_shape: Shape
) -> BatchEstimate:
    head = parts[0]
    fold = RowFold(states[-1].stop, together(outline.program, []), head.backend)
    for state in states:
        for stop, partial in state.partials:
            fold.add((fold.rows, state.start + stop), partial)
    layout = head.components, head.components.over_rows(head.shared)
    finish = RowFinisher(outline.program, outline.free, *layout)
    moments, nonfinite = finish(fold.partial, outline.values, head.omitted)
    return replace(
        head,
        batch_shape=batch_shape,
        rows=np.concatenate([part.rows for part in parts]).reshape(batch_shape),
        moments=moments,
        nonfinite=nonfinite.reshape(batch_shape),
    )


def _over_replicates(states: Sequence[RowsOfShard], head: BatchEstimate) -> BatchEstimate:
    count = states[-1].stop
    means = MeansOfReplicates(count)
    for state in states:
        for _, partial in state.partials:
            means.add(finished_of(partial))
    (moments, nonfinite), replicates = means.finished, head.replicates
    assert replicates
    draws = head.n // len(replicates)
    return replace(
        head,
        moments=moments,
        nonfinite=nonfinite.reshape(head.batch_shape),
        replicates=replace(replicates, numbers=((0, count),)),
        ranges=((0, draws * count),),
    )
