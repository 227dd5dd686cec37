"""What travels: a payload, with all that the tasks of a run share; tasks, which say what to average; and what is done.

A task is a pure function of itself and its payload: any process may work it out, more than once. `tasks.work` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from mcgrad.backends.base import RowPartial
from mcgrad.system.kind import Kind
from mcgrad.tasks.fold import Piece

DIGEST = 16  # bytes
EACH = 500  # bytes that a piece takes besides its arrays, and so many a result


class Payload:
    """What the tasks of one or several runs share: a Program, values of its inputs, a backend's name.

    Parameters
    ----------
    content : bytes or callable
        As `tasks.content` makes and reads it, or a function that returns it when a worker lacks it.
    digest : str, optional
        Of equal content that was made before.

    Attributes
    ----------
    digest : str
        Of the content: equal payloads have equal digests, in any process.
    """

    __slots__ = ("_content", "digest")

    def __init__(self, content: bytes | Callable[[], bytes], digest: str | None = None) -> None:
        self._content = content
        self.digest = digest or blake2b(self.content, digest_size=DIGEST).hexdigest()

    @property
    def content(self) -> bytes:
        """As bytes."""
        if not isinstance(self._content, bytes):
            self._content = self._content()
        return self._content


class Task(NamedTuple):
    """What to average: a few hundred bytes, and arrays as large as the gradient.

    Parameters
    ----------
    digest : str
        Of the payload.
    start, stop : int
        Draws, in the numbers of the Program, where chunks end; of a batch rows.
    chunks : int
        About how many chunks these are, or how many ranges of rows.
    run : bytes
        What all tasks of the run share and the payload does not have.
    rows : bytes
        Of a batch, what its rows have for themselves.
    """

    digest: str
    start: int
    stop: int
    chunks: int
    run: bytes
    rows: bytes = b""


class RowPiece(NamedTuple):
    """The partial of one range of rows.

    Parameters
    ----------
    rows : (int, int)
        The first, and the end.
    partial : RowPartial
    """

    rows: tuple[int, int]
    partial: RowPartial


Pieces: TypeAlias = tuple[Piece, ...] | tuple[RowPiece, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What a task returned.

    Parameters
    ----------
    pieces : tuple of Piece or RowPiece
        In the order of the draws, or of the rows; of all of the task, or none.
    seconds : float
        That it took, compiling aside.
    worker : str
        Host and number of the process.
    kind : Kind
        Of the process.
    compile_seconds : float
        To load the payload, and to compile or to find what was compiled.
    missing : bool
        Whether the process lacks the payload: the task is to be sent again with it.
    """

    pieces: Pieces
    seconds: float
    worker: str
    kind: Kind
    compile_seconds: float = 0.0
    missing: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the pieces, about."""
        return EACH * (1 + len(self.pieces)) + sum(piece.partial.nbytes for piece in self.pieces)
