"""Warn of long Python loops that stay unrolled, by the line that makes most equations, and say what differs."""

from __future__ import annotations

import linecache
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any, NamedTuple

from mcgrad.errors import UnrolledWarning
from mcgrad.ir.infer import recorded
from mcgrad.ir.ops import OPS, VIEWS
from mcgrad.ir.program import Var, toposort
from mcgrad.trace.frames import user_frame

MOST = 1000  # equations, but views, that change by draw: more take several seconds to compile
TURNS = 16  # of a loop that is worth a warning
_warned: dict[Any, Any] = {}


class _Place(NamedTuple):
    """An instruction of the user's code."""

    code: CodeType
    instruction: int
    line: int


class _Record(list[Var]):
    """Equations with the instructions that made them."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[Var, _Place] = {}

    def append(self, var: Var) -> None:
        frame = user_frame()
        if frame is not None:
            self.places[var] = _Place(frame.f_code, frame.f_lasti, frame.f_lineno)
        super().append(var)


def warn_if_long(roots: Sequence[Var], made: Iterable[Var], again: Callable[[], Iterable[Var]]) -> None:
    """Warn of a trace of very many equations that a loop makes.

    Parameters
    ----------
    roots : sequence of Var
    made : iterable of Var
        All equations of the trace.
    again : callable
        Traces once more, and returns the roots before loops are made of equations.
    """
    if len(_computed(roots, made)) <= MOST:
        return
    record = _Record()
    with recorded(record):
        roots = list(again())
    computed = [var for var in _computed(roots, record) if var in record.places]
    turns = _turns(computed, record)
    lines = Counter((place.code.co_filename, place.line) for var in computed if (place := record.places[var]) in turns)
    if not lines:
        return
    (file, line), many = lines.most_common(1)[0]
    text = linecache.getline(file, line).strip()
    message = (
        f'a Python loop stays unrolled: File "{file}", line {line}: {text}. It makes {many:,} of '
        f"{len(computed):,} equations, which compile one by one. {_difference(computed, record, file, line)}A loop "
        "whose iterations make the same equations compiles as one, so let all do what some do, and choose from a list "
        "of all afterwards, np.array(path)[days]; mg.scan(step, init, xs) is one by itself (docs/loops.md)"
    )
    warnings.warn_explicit(message, UnrolledWarning, file, line, registry=_warned)


def _computed(roots: Iterable[Var], made: Iterable[Var]) -> list[Var]:
    """What is computed of each draw, of the equations of a trace, in their order."""
    live = set(toposort(roots))
    return [var for var in dict.fromkeys(made) if var in live and var.by_draw and var.op not in VIEWS
            and OPS[var.op].category != "leaf"]  # fmt: skip


def _turns(computed: Sequence[Var], record: _Record) -> set[_Place]:
    """The instructions that run again and again, in turns of a loop."""
    times: Counter[_Place] = Counter()
    before = None
    for var in computed:
        place = record.places[var]
        times[place] += place != before
        before = place
    return {place for place, count in times.items() if count >= TURNS}


def _difference(computed: Sequence[Var], record: _Record, file: str, line: int) -> str:
    """What one turn computes and the others do not, as a sentence; "" where that is not to be seen."""
    own = [place for place in record.places.values() if (place.code.co_filename, place.line) == (file, line)]
    last = max(own, key=lambda place: place.instruction)  # with which a turn ends, as far as this line goes
    turns: list[list[str]] = [[]]
    for var, after in zip(computed, [*computed[1:], None], strict=True):
        turns[-1].append(f"{var.op} of shape {var.shape}")
        if record.places[var] == last and (after is None or record.places[after] != last):
            turns.append([])
    turns = turns[:-1]
    kinds = Counter(map(tuple, turns))
    if len(kinds) < 2:
        return ""
    usual, often = kinds.most_common(1)[0]
    if often < len(turns) / 2:
        return f"Its {len(turns):,} turns make {len(kinds):,} different sets of equations. "
    t = next((t for t, turn in enumerate(turns) if t > 0 and tuple(turn) != usual), 0)
    here, there = next(((a, b) for a, b in zip(turns[t], usual, strict=False) if a != b), ("", ""))
    if not here:
        return f"Turn {t} makes {len(turns[t])} equations, others {len(usual)}. "
    return f"Turn {t} computes {here} where others compute {there}. "
