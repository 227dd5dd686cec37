"""Tasks: a range of the draws of a run, worked out by any process that has the payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcgrad.backends.base import Shift

if TYPE_CHECKING:
    from mcgrad.tasks.fold import Piece


@dataclass(frozen=True, slots=True)
class Payload:
    """What all tasks of a run have in common.

    Parameters
    ----------
    digest : str
        Of the content.
    content : bytes
        The Program, values of its inputs, and the rest of a run but its range.
    """

    digest: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Task:
    """Some consecutive chunks of a run: a pure function of the payload and these fields.

    Parameters
    ----------
    digest : str
        Of the payload.
    seed : int
    shift : array
        About which sums are taken.
    start, stop : int
        Draws: ends of chunks.
    """

    digest: str
    seed: int
    shift: Shift
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Done:
    """What comes back of a task.

    Parameters
    ----------
    pieces : tuple of Piece
        In the order of the draws.
    seconds : float
        Of the chunks.
    worker : str
        Which worked it out.
    compile_seconds : float
        To make the kernel, where this task was the first there.
    missing : bool
        Whether the worker lacks the payload: then there are no pieces.
    """

    pieces: tuple[Piece, ...]
    seconds: float
    worker: str
    compile_seconds: float = 0.0
    missing: bool = False
