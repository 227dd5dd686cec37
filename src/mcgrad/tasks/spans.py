"""The pieces of a part of a run: merged as far as they can be without the rest of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mcgrad.backends.base import Partial
from mcgrad.backends.chunks import Chunk, spans
from mcgrad.tasks.fold import Fold, Parts, Piece, total


class Spans:
    """Merges pieces into the longest spans between two ends of chunks, which a `Fold` of the whole run takes.

    Parameters
    ----------
    chunks : iterable of (int, int)
        Of the whole run.
    start, stop : int
        Where chunks end: of the part.
    pieces : sequence of Piece
        Of an earlier part of the same draws, which this one continues.
    parts : tuple of Partial or None
        What that had merged of the span after these.

    Attributes
    ----------
    pieces : list of Piece
    """

    __slots__ = ("_chunks", "_end", "_fold", "_level", "_spans", "pieces")

    def __init__(
        self, chunks: Iterable[Chunk], start: int, stop: int, pieces: Sequence[Piece] = (), parts: Parts = ()
    ) -> None:
        self._chunks, self.pieces = chunks, [*pieces]
        self._spans = spans(chunks, self.pieces[-1].stop if self.pieces else start, stop)
        self._begin(parts)

    def _begin(self, parts: Parts = ()) -> None:
        self._fold = Fold(self._chunks, parts)
        _, self._end, self._level = next(self._spans, (0, 0, 0))

    def add(self, piece: Piece) -> None:
        """Merge the next piece, a span or a part of one."""
        self._fold.add(piece)
        if piece.stop == self._end:
            self.pieces.append(Piece(self._end, self._level, self._fold.total))
            self._begin()

    @property
    def parts(self) -> Parts:
        """What is merged of the span that has begun."""
        return self._fold.parts

    @property
    def total(self) -> Partial:
        """Of all draws so far: by one order of merging among several, as it is not that of the whole run."""
        open_parts = [self._fold.total] if self._fold.parts else []
        return total([*open_parts, *(piece.partial for piece in reversed(self.pieces))])
