"""Find the steps of `mg.vibrato` in a Program, and the numbers of noise that each of them is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.program import Var, toposort
from mcgrad.ir.spread import Marks, Spread, States

NOTHING = -(1 << 40)
OWN, EARLIER, ANY = 1, 2, 3  # steps of a loop that an element brings noise to


@dataclass(frozen=True)
class Steps:
    """The steps that one call makes.

    Parameters
    ----------
    mean : Var
        Of f over them.
    places : tuple of Var
        Where they lead.
    within : tuple of Var
        The loops in whose bodies they are, the outermost first.
    """

    mean: Var
    places: tuple[Var, ...]
    within: tuple[Var, ...]

    @property
    def eps(self) -> list[Var]:
        """The noise."""
        return [place.args[1] for place in self.places]


def steps_of(roots: Iterable[Var]) -> Iterator[Steps]:
    """Yield the steps that roots depend on."""
    return _steps_of(toposort(roots), ())


def _steps_of(order: Iterable[Var], within: tuple[Var, ...]) -> Iterator[Steps]:
    for var in order:
        if var.op == "vibrato_mean":
            yield Steps(var, tuple(_places(var.args[1])), within)
        elif var.op == "loop":
            yield from _steps_of(var.attrs.body.equations, (*within, var))


def _places(var: Var) -> Iterator[Var]:
    """Yield the places that a sum is over."""
    found, stack = set[Var](), [var]
    while stack:
        var = stack.pop()
        if var in found:
            continue
        found.add(var)
        if var.op == "vibrato_step":
            yield var
        else:
            stack += var.args


def marks_inside(spread: Spread, wanted: Sequence[Var], within: Sequence[Var], given: Mapping[Var, Marks]) -> States:
    """Spread marks to Vars in the body of a loop, or of one in another.

    Returns
    -------
    dict of Var to array
        The last axis has the marks of all steps: those of the innermost loop first, in the order of its scanned
        arguments, of each those of the steps around it, of each a mark.
    """
    if not within:
        states = dict(given)
        spread.run(toposort(wanted), states)
        return states
    loop = within[-1]
    attrs, body = loop.attrs, loop.attrs.body
    read = _read(wanted, loop)
    indices = [i for i, param in enumerate(body.params) if param in read]
    around = marks_inside(spread, [loop.args[i] for i in indices], within[:-1], given)
    known = {i: around[loop.args[i]] for i in indices if loop.args[i] in around}
    states = {}
    carried = any(body.params[i] in read for i in range(attrs.carries))
    for i in indices:
        shape = body.params[i].shape
        if i < attrs.carries or carried:  # of a carry: all that the loop is given
            if known:
                whole = spread.whole(known.values())
                states[body.params[i]] = np.broadcast_to(whole, (*shape, attrs.length, len(whole)))
        elif i in known and i < attrs.carries + attrs.scanned:
            states[body.params[i]] = np.moveaxis(known[i], 0, -2)
        elif i in known:
            states[body.params[i]] = np.broadcast_to(known[i][..., None, :], (*shape, attrs.length, known[i].shape[-1]))
    states = {param: x.reshape(*param.shape, -1) for param, x in states.items()}
    spread.run(toposort(wanted), states)
    return states


def _read(wanted: Sequence[Var], loop: Var) -> set[Var]:
    """The Vars of a body that some depend on, in earlier steps, too."""
    body, carries = loop.attrs.body, loop.attrs.carries
    read = set(toposort(wanted))
    while True:
        more = {body.results[i] for i in range(carries) if body.params[i] in read} - read
        if not more:
            return read
        read |= set(toposort(more))


class Noise:
    """The numbers of noise that a Program reads, in one order, and which of them equations depend on.

    Parameters
    ----------
    root : Var
    """

    def __init__(self, root: Var) -> None:
        self._spread = Spread(np.maximum, NOTHING)
        self._places: dict[Var, npt.NDArray[np.int64]] = {}
        self.size = 0
        for var in toposort([root]):
            if var.op == "noise":
                self._places[var] = np.arange(self.size, self.size + var.size).reshape(var.shape)
                self.size += var.size
        self._marks = {var: np.stack([-i, i], -1) for var, i in self._places.items()}  # from, to

    def ranges(
        self, wanted: Sequence[Var], within: Sequence[Var]
    ) -> dict[Var, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Return from which to which number elements of Vars depend on noise, without those that do not.

        As `marks_inside`, whose last axis is that of the steps.
        """
        states = marks_inside(self._spread, wanted, within, self._marks)
        found = {}
        for var in wanted:
            if var in states:
                marks = states[var].reshape(*var.shape, -1, 2)
                found[var] = -marks[..., 0], marks[..., 1]
        return found

    def marked(self, numbers: npt.NDArray[np.bool_], mark: int) -> States:
        """Return a mark for the elements of noise that are some of the numbers."""
        found = {var: np.where(numbers[i], mark, 0).astype(np.int16)[..., None] for var, i in self._places.items()}
        return {var: marks for var, marks in found.items() if marks.any()}


@dataclass(frozen=True)
class Sources:
    """The noise of steps.

    Parameters
    ----------
    numbers : array of bool
        Which of the numbers of noise it is.
    turns : dict of Var to dict of int to array
        Of the loops around the steps, for each argument that is scanned: which step each element brings noise to. `OWN`
        for the one that reads it, `EARLIER` for one before that, `ANY` where it is not known, or a later one.
    """

    numbers: npt.NDArray[np.bool_]
    turns: Mapping[Var, Mapping[int, npt.NDArray[np.int64]]]


def sources(steps: Steps, noise: Noise) -> Sources:
    """Find the noise of steps."""
    loops = steps.within
    alone = np.zeros(noise.size, bool)
    ends = np.zeros(noise.size + 1, np.int64)  # of ranges: how many begin, less how many end
    first = np.full((len(loops), noise.size), np.iinfo(np.int64).max)  # of the steps of each loop that read a number
    last = np.full((len(loops), noise.size), -2)
    for low, high in noise.ranges(steps.eps, loops).values():
        step = np.broadcast_to(np.arange(low.shape[-1]), low.shape)
        single, several = (low == high) & (high >= 0), low < high
        for level, t in enumerate(_steps_at(step[single], loops)):
            np.minimum.at(first[level], low[single], t)
            np.maximum.at(last[level], low[single], t)
        alone[low[single]] = True
        np.add.at(ends, low[several], 1)
        np.add.at(ends, high[several] + 1, -1)
    blurred = np.cumsum(ends)[:-1] > 0
    first[:, blurred] = -1  # and so of several steps
    numbers = alone | blurred
    turns = {}
    for level, loop in enumerate(loops):
        start, to = loop.attrs.carries, level + 1
        scanned = {i: loop.args[i] for i in range(start, start + loop.attrs.scanned)}
        ranges = noise.ranges([*scanned.values()], loops[:level])
        turns[loop] = {
            i: _turns(*ranges[arg], numbers, first[:to], last[:to], loops[:to])
            for i, arg in scanned.items()
            if arg in ranges
        }
    return Sources(numbers, turns)


def _turns(
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.bool_],
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    loops: Sequence[Var],
) -> npt.NDArray[np.int64]:
    """Return to which step the elements of an argument of the last of loops bring noise; 0 where they bring none."""
    length, around = loops[-1].attrs.length, low.shape[-1]
    now = np.arange(length).reshape(-1, *(1,) * (low.ndim - 1))
    indices = [*(np.asarray(x) for x in _steps_at(np.arange(around), loops[:-1])), now]
    there = np.maximum(high, 0)
    before = np.concatenate([[0], np.cumsum(numbers)])
    read = (high >= 0) & (before[there + 1] > before[np.maximum(low, 0)])
    single = (low == high) & np.all((first == last)[:, there], 0)
    earlier, same = np.zeros_like(single), single
    for loop, index, owner in zip(loops, indices, first, strict=True):
        sign = -1 if loop.attrs.reverse else 1
        behind = sign * (owner[there] - index)
        earlier = earlier | (same & (behind < 0))
        same = same & (behind == 0)
    turn = np.where(read, np.where(same, OWN, np.where(earlier, EARLIER, ANY)), 0)
    most, least = turn.max(-1), np.where(turn == 0, ANY, turn).min(-1)
    return np.where((most == 0) | (most == least), most, ANY)


def _steps_at(number: Any, loops: Sequence[Var]) -> Sequence[Any]:
    """Return the step of each loop, of the number of a step in the order of `marks_inside`."""
    return np.unravel_index(number, [loop.attrs.length for loop in loops[::-1]])[::-1] if loops else ()
