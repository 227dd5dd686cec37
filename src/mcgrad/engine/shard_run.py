"""Run one shard of a run: an estimate over its part, and what the merge of all shards needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mcgrad.engine.call import Call, PartOfDraws
from mcgrad.engine.outline import Outline
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, ShardState
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate


class ShardRun(NamedTuple):
    """What a shard has worked out.

    Parameters
    ----------
    state : DrawsOfShard or RowsOfShard
        When all is done.
    estimate : Estimate, BatchEstimate or None
        Over the draws, the rows or the replicates of the shard; None where it has none.
    outline : Outline or None
        Of the first shard: what completes the moments of all.
    """

    state: ShardState
    estimate: Estimate | BatchEstimate | None
    outline: Outline | None


@dataclass(frozen=True)
class PartOfRun:
    """The part of a run that a shard has.

    Parameters
    ----------
    call : Call
        With a part.
    backend : str
    estimate : callable
        Estimates over the part, as a call of the runner.
    resumes : callable
        Whether that goes on from the state of a call.
    outline : callable
        Returns what completes the moments of the whole run.
    has_all : bool
        Whether the run is over no rows.
    """

    call: Call
    backend: str
    estimate: Callable[[Call], Estimate | BatchEstimate]
    resumes: Callable[[Call], bool]
    outline: Callable[[], Outline]
    has_all: bool = False

    @property
    def bounds(self) -> tuple[int, int]:
        """The first draw, row or replicate, and the end."""
        assert self.call.part
        return self.call.part.start, self.call.part.stop

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do: there are more shards than chunks. Of no rows, each shard has all."""
        return self.bounds[0] == self.bounds[1] and not self.has_all

    @property
    def begun(self) -> ShardState:
        """The state before anything is done."""
        start, stop = self.bounds
        if isinstance(self.call.part, PartOfDraws):
            return DrawsOfShard(start, stop, start, None, np.zeros(0), (), (), 0.0, self.backend)
        return RowsOfShard(start, stop, (), None, 0.0, self.backend)
