"""Run tasks on an executor: make their payload, take their pieces in order, note the kinds of the workers."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import all_to_host
from mcgrad.backends.base import Kernel, Shift
from mcgrad.backends.chunks import Chunk
from mcgrad.backends.registry import kind_of
from mcgrad.backends.row_by_row import by_row
from mcgrad.errors import ExecutorError
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import FIXED, Values
from mcgrad.noise.rows import Seeds
from mcgrad.system.kind import Kind, Kinds
from mcgrad.tasks.adapter import Adapter, adapter_of
from mcgrad.tasks.content import PLAIN, SMALL, Content, to_bytes, with_program
from mcgrad.tasks.cutting import TasksOfDraws, TasksOfRows
from mcgrad.tasks.digests import digest_of, keep_digest
from mcgrad.tasks.fold import Elsewhere, Piece
from mcgrad.tasks.ordered import in_order
from mcgrad.tasks.runs import Run, RunOfDraws, RunOfRows
from mcgrad.tasks.task import Done, Payload, RowPiece

Numbers = npt.NDArray[np.int64]


class Work(NamedTuple):
    """What a run averages, wherever that is.

    Parameters
    ----------
    program : Program
    values : mapping from Input to array
        Of all inputs.
    backend : str
        Name of the backend.
    omit : bool
        Whether draws with a non-finite output are left out.
    """

    program: Program
    values: Values
    backend: str
    omit: bool


class Remote:
    """An executor for the runs of one call.

    Parameters
    ----------
    adapter : Adapter
    require_same : bool
        Whether workers of other kinds than this process are refused.
    """

    def __init__(self, adapter: Adapter, require_same: bool = False) -> None:
        self.adapter, self._require_same = adapter, require_same
        self._kinds: dict[Kind, str] = {}  # with the first worker of each
        self._last: tuple[Work, Values, Payload] | None = None

    def of_draws(self, work: Work, kernel: Kernel, seed: int, first: int, n: int) -> Elsewhere:
        """Return what yields the pieces of a run over chunks of draws, after the first.

        Parameters
        ----------
        work : Work
        kernel : Kernel
            Which cuts the chunks.
        seed, first, n : int
            Of the whole run, in draws of the Program.
        """
        own = by_row(work.program)
        fixed = {name: x for name, x in work.values.items() if name.space in FIXED and name not in own}
        others = to_bytes({name: x for name, x in work.values.items() if name not in fixed})

        def pieces(shift: Shift, start: int) -> Generator[Piece, None, None]:
            payload, small = self._payload(work, fixed, RunOfDraws(seed, first, n, shift, others))
            for done in self._done(payload, TasksOfDraws(payload.digest, small, kernel.chunks(first, n), start)):
                yield from done.pieces  # type: ignore[misc]

        return pieces

    def of_rows(
        self, work: Work, draws: tuple[int, int], ranges: Iterable[Chunk], start: int, numbers: Numbers, seeds: Seeds
    ) -> Generator[RowPiece, None, None]:
        """Yield the pieces of a run over ranges of rows.

        Parameters
        ----------
        work : Work
            Inputs by row have the rows on the first axis.
        draws : (int, int)
            Of each row, in draws of the Program: the first, and the end.
        ranges : iterable of (int, int)
            Of all rows.
        start : int
            The first row that is left.
        numbers : int array, shape (rows,)
        seeds : int, or uint64 array of shape (rows,)
        """
        own = by_row(work.program)
        mine = all_to_host({name: x for name, x in work.values.items() if name in own})
        shared = {name: x for name, x in work.values.items() if name not in own}
        fixed = {name: x for name, x in shared.items() if name.space in FIXED}
        others = to_bytes({name: x for name, x in shared.items() if name not in fixed})
        payload, small = self._payload(work, fixed, RunOfRows(seeds if isinstance(seeds, int) else 0, *draws, others))
        for done in self._done(payload, TasksOfRows(payload.digest, small, ranges, start, mine, numbers, seeds)):
            yield from done.pieces  # type: ignore[misc]

    def _done(self, payload: Payload, tasks: TasksOfDraws | TasksOfRows) -> Iterator[Done]:
        with closing(in_order(self.adapter, payload, tasks, tasks.left)) as results:
            for done in results:
                self._note(done)
                yield done

    def _payload(self, work: Work, fixed: Values, run: Run) -> tuple[Payload, bytes]:
        """Return the payload of a run, and what its tasks carry of it: nothing of a large run."""
        content = pickle.dumps(run, PLAIN)
        if len(content) > SMALL:
            return Payload(_content(work, fixed, content)), b""
        last = self._last
        if last and _same(last[0], work) and _is(last[1], fixed):
            return last[2], content
        parts: dict[Hashable, Any] = {"": work.program}
        parts.update(fixed.items())
        others = work.backend, work.omit
        known = digest_of(parts, others)
        payload = Payload(partial(_content, work, fixed, b""), known)
        if known is None:
            keep_digest(parts, others, payload.digest)
        self._last = work, fixed, payload
        return payload, content

    def _note(self, done: Done) -> None:
        """Note the kind of a worker; refuse it where it has to be that of this process and is not."""
        if done.kind in self._kinds:
            return
        here = kind_of(done.kind.backend)
        if self._require_same and done.kind != here:
            raise ExecutorError(
                f"require_same=True: {done.worker} is of another kind than this process, so that last digits may "
                f"differ: {done.kind}; here: {here}. Use workers of one kind, or require_same=False"
            )
        self._kinds[done.kind] = done.worker

    @property
    def kinds(self) -> Kinds:
        """The kinds of the workers whose results were taken."""
        return (*self._kinds,)


def _content(work: Work, fixed: Values, run: bytes) -> bytes:
    program, functions = with_program(work.program)
    return Content(program, functions, work.backend, work.omit, to_bytes(fixed), run).to_bytes()


def _same(last: Work, work: Work) -> bool:
    return last.program is work.program and (last.backend, last.omit) == (work.backend, work.omit)


def _is(last: Values, values: Values) -> bool:
    """Whether two mappings have the very same arrays."""
    return last.keys() == values.keys() and all(x is values[name] for name, x in last.items())


@contextmanager
def on(executor: Any, require_same: bool = False) -> Iterator[Remote | None]:
    """Return a context in which runs use an executor, or none where none is given.

    Parameters
    ----------
    executor : concurrent.futures.Executor, dask.distributed.Client, Adapter, Remote or None
        An Adapter or Remote is left open for further calls.
    require_same : bool

    Raises
    ------
    ParameterError
        It is none of these.
    """
    if executor is None or isinstance(executor, Remote):
        yield executor
        return
    adapter = adapter_of(executor)
    try:
        yield Remote(adapter, require_same)
    finally:
        if adapter is not executor:
            adapter.close()
