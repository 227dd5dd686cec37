"""Convert numbers of draws to numbers of groups of draws, which are the draws of a Program.

Leave-one-out baselines and importance-weighted bounds average several draws together. Their Program has the group as
an axis, so kernels and moments count groups. All other code counts draws; the conversion is here alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

from mcgrad.backends.base import Bound, Kernel, Partial, Shift
from mcgrad.backends.chunks import Chunk, Chunks
from mcgrad.ir.spaces import Values
from mcgrad.tasks.fold import Elsewhere, Piece


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of equally many draws.

    Parameters
    ----------
    size : int
        Draws in a group; 1 where a draw of the Program is one draw.
    """

    size: int

    def of(self, draws: int) -> int:
        """Return the number of groups in a number of draws."""
        return draws // self.size

    def whole(self, draws: int) -> int:
        """Return a number of draws rounded down to whole groups, of which there are at least two."""
        return max(self.of(draws), 2) * self.size

    def chunks(self, kernel: Kernel, first: int, n: int) -> Iterable[Chunk]:
        """Return the chunks of draws first .. first + n, cut where the kernel cuts their groups."""
        chunks = kernel.chunks(self.of(first), self.of(n))
        if self.size == 1:
            return chunks
        if isinstance(chunks, Chunks):
            return chunks.scaled(self.size)
        return ((start * self.size, stop * self.size) for start, stop in chunks)

    def bind(self, kernel: Kernel, inputs: Values) -> Bound:
        """Bind a kernel to values of its inputs, for ranges of draws."""
        bound = kernel.bind(inputs)
        return bound if self.size == 1 else _InDraws(bound, self)

    def elsewhere(self, pieces_of: Elsewhere) -> Elsewhere:
        """Return what yields the pieces of draws, of what yields those of their groups."""
        if self.size == 1:
            return pieces_of

        def in_draws(shift: Shift, start: int) -> Generator[Piece, None, None]:
            with closing(pieces_of(shift, self.of(start))) as pieces:
                for piece in pieces:
                    yield piece._replace(stop=piece.stop * self.size)

        return in_draws


@dataclass(frozen=True, slots=True)
class _InDraws:
    """A bound kernel whose ranges are of draws."""

    bound: Bound
    groups: Groups

    def shift(self, seed: int, start: int, stop: int, omit: bool) -> tuple[Shift, Partial]:
        return self.bound.shift(seed, self.groups.of(start), self.groups.of(stop), omit)

    def partial(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> Partial:
        return self.bound.partial(shift, seed, self.groups.of(start), self.groups.of(stop), omit)
