"""Loops that are read back from their end run in segments of steps, where all steps would not fit in the cache.

Reverse mode reads, from the last step to the first, what carries were before each step: a loop of n steps keeps them
all. Here it becomes a loop over segments of about sqrt(n) steps, which keeps the carries before each segment. The loop
back runs each segment once more, keeps what it reads of its steps, and goes back over these. That is one more forward
pass, and memory in O(sqrt(n)) (Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse
automatic differentiation, 1992, with one level). Noise of a segment is made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod

from mcgrad.ir.attributes import Loop
from mcgrad.ir.build import argument, broadcast, concatenate, const, loop, rebuild, reshape, slice_
from mcgrad.ir.fuse_loops import in_order
from mcgrad.ir.loop_results import needed, vector_of, with_results
from mcgrad.ir.program import Program, Shape, Var, toposort
from mcgrad.ir.rewrite import rewrite, rewrite_program, substitute

AGAIN = 4  # times as many rows are kept before segments are cut into segments


def segmented(program: Program, most: int, left: int = 1) -> Program:
    """Return the Program with loops in segments, where what another loop reads of them from the end takes many rows.

    Parameters
    ----------
    program : Program
    most : int
        Numbers of a draw up to which those of all steps are kept.
    left : int
        How many times as many are kept of a loop that draws leave: memory of steps that none takes is not touched.
    """
    if not any(var.op == "loop" for var in program.body()):
        return program
    roots = program.roots()
    new = dict(zip(roots, _segmented(roots, most, left), strict=True))
    return program if all(new[root] is root for root in roots) else rewrite_program(program, rebuild, new)


def _segmented(roots: Sequence[Var], most: int, left: int = 1) -> list[Var]:
    """Compute roots by loops in segments: of a Program, or of the body of a loop."""
    loops = [var for var in toposort(roots) if var.op == "loop" and var.by_draw]
    readers = _readers(roots) if len(loops) > 1 else {}
    for var in loops:
        cut = _cut(var, readers, most * (left if var.attrs.running is not None else 1))
        if cut is not None:
            new = rewrite(roots, _Segments(cut))
            return _segmented([new[root] for root in roots], AGAIN * most, left)
    new = rewrite(roots, lambda var, args: _with_body(rebuild(var, args), most)) if loops else {}
    return [new.get(root, root) for root in roots]


def _with_body(var: Var, most: int) -> Var:
    """A loop whose body has loops in segments."""
    if var.op != "loop" or not var.by_draw:
        return var
    attrs, body = var.attrs, var.attrs.body
    results = _segmented(body.results, most)
    if results == [*body.results]:
        return var
    steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
    return loop(body.params, results, var.args, steps, running=attrs.running)


@dataclass(frozen=True)
class _Cut:
    """A loop to run in segments: in order of its steps, first these, then the steps that are left.

    Parameters
    ----------
    forward : Var
    kept : tuple of int
        Its results that are read from the end, and nowhere else.
    backward : dict from Var to dict from int to int
        The loops that read them, and which of their arguments is which result.
    count, length : int
        Number of segments, and of steps in each.
    """

    forward: Var
    kept: tuple[int, ...]
    backward: Mapping[Var, Mapping[int, int]]
    count: int
    length: int


def _readers(roots: Sequence[Var]) -> dict[Var, list[Var | None]]:
    """What reads each Var; None says that it is a root."""
    readers: dict[Var, list[Var | None]] = {root: [None] for root in roots}
    for var in toposort(roots):
        for arg in dict.fromkeys(var.args):
            readers.setdefault(arg, []).append(var)
    return readers


def _cut(var: Var, readers: Mapping[Var, Sequence[Var | None]], most: int) -> _Cut | None:
    """How to cut a loop; None if all of its steps may be kept, or have to be."""
    attrs, places = var.attrs, var.attrs.places()
    stacked = range(attrs.carries, len(places))
    if attrs.length * sum(var.attrs.body.results[j].size for j in stacked) <= most:
        return None
    read_back: dict[int, bool] = {}
    backward: dict[Var, dict[int, int]] = {}
    for part in readers.get(var, ()):
        low, high = (part.attrs.start, part.attrs.start + part.size) if part and part.op == "part" else (0, var.size)
        for j in stacked:
            start, shape = places[j]
            if not (start < high and low < start + prod(shape)):
                continue
            found = _read_by_step(part, shape, readers) if (low, high - low) == (start, prod(shape)) else None
            back = found is not None and all(
                reader.attrs.length == attrs.length and reader.attrs.reverse != attrs.reverse for reader, _ in found
            )
            read_back[j] = read_back.get(j, True) and back
            for reader, i in (found or ()) if back else ():
                backward.setdefault(reader, {})[i] = j
    kept = tuple(j for j in stacked if read_back.get(j))
    backward = {reader: {i: j for i, j in each.items() if j in kept} for reader, each in backward.items()}
    of_step = sum(attrs.body.results[j].size for j in kept)
    of_start = sum(attrs.body.results[i].size for i in needed(var, kept) if i < attrs.carries)
    count, length = _sizes(attrs.length, of_start, of_step)
    if attrs.length * of_step <= max(most, 2 * (count * of_start + length * of_step)):
        return None
    return _Cut(var, kept, {reader: each for reader, each in backward.items() if each}, count, length)


def _read_by_step(
    x: Var | None, shape: Shape, readers: Mapping[Var, Sequence[Var | None]]
) -> list[tuple[Var, int]] | None:
    """The loops that read a Var by step, in this shape, and as which argument; None if anything else reads it."""
    found: list[tuple[Var, int]] = []
    for reader in readers.get(x, ()) if x is not None else (None,):
        if reader is None:
            return None
        if reader.op == "reshape":
            inside = _read_by_step(reader, shape, readers)
            if inside is None:
                return None
            found += inside
            continue
        where = [i for i, arg in enumerate(reader.args) if arg is x]
        carries = reader.attrs.carries if reader.op == "loop" and reader.by_draw else 0
        by_step = range(carries, carries + reader.attrs.scanned) if reader.op == "loop" and reader.by_draw else ()
        if x is None or x.shape != shape or any(i not in by_step for i in where):
            return None
        found += [(reader, i) for i in where]
    return found


def _sizes(steps: int, of_start: int, of_step: int) -> tuple[int, int]:
    """How many segments, and steps in each, need the fewest rows, or nearly so if no steps are left then."""
    best = max(2, min(steps // 2, isqrt(max(1, steps * of_start // max(of_step, 1)))))
    dividing = [n for n in range(max(2, best // 4), min(4 * best, steps // 2) + 1) if steps % n == 0]
    length = min(dividing, key=lambda n: steps // n * of_start + n * of_step, default=best)
    return steps // length, length


class _Segments:
    """The rule that cuts a loop, and those that read it from its end, into loops over segments."""

    def __init__(self, cut: _Cut) -> None:
        self._cut = cut
        self._starts: dict[int, Var] = {}  # carries before each segment
        self._views: dict[Var, Var] = {}  # of arguments, their segments
        self._left: dict[int, Var] = {}  # what is kept of the steps that are left
        self._args: tuple[Var, ...] = ()

    def __call__(self, var: Var, args: tuple[Var, ...]) -> Var:
        if var is self._cut.forward:
            return self._forward(var, args)
        return self._backward(var, args) if var in self._cut.backward else rebuild(var, args)

    def _forward(self, var: Var, args: tuple[Var, ...]) -> Var:
        """The results of the loop, but for those that are read back."""
        cut, attrs, body = self._cut, var.attrs, var.attrs.body
        carries, last = attrs.carries, attrs.carries + attrs.scanned
        others = [j for j in range(carries, len(body.results)) if j not in cut.kept]
        starts = sorted(i for i in needed(var, cut.kept) if i < carries)
        leaves = self._leaves(attrs)
        inner = loop(body.params, body.results, leaves, (carries, attrs.scanned, cut.length, attrs.reverse))
        made = _results(with_results(inner, [*range(carries), *others]) or inner, inner)
        results = [*made[:carries], *(leaves[i] for i in starts), *(made[j] for j in others)]
        given = [*args[:carries], *(self._segments(arg) for arg in args[carries:last]), *args[last:]]
        outer = loop(leaves, results, given, (carries, attrs.scanned, cut.count, attrs.reverse))
        found = _results(outer, outer)
        self._starts, self._args = dict(zip(starts, found[carries:], strict=False)), args
        final, whole = found[:carries], dict(zip(others, found[carries + len(starts) :], strict=True))
        left: list[Var] = []
        if self._rest:
            given = [*final, *(self._left_of(arg) for arg in args[carries:last]), *args[last:]]
            rest = loop(body.params, body.results, given, (carries, attrs.scanned, self._rest, attrs.reverse))
            left = in_order(rest, _shapes(body.results, carries, self._rest))
            final, self._left = left[:carries], {j: left[j] for j in cut.kept}
        wholes = {j: self._joined(x, left[j] if left else None) for j, x in whole.items()}
        return vector_of(var, {**dict(enumerate(final)), **wholes})

    def _backward(self, var: Var, args: tuple[Var, ...]) -> Var:
        """The results of a loop that reads the first one back."""
        cut, attrs, body, read = self._cut, var.attrs, var.attrs.body, self._cut.backward[var]
        carries, last = attrs.carries, attrs.carries + attrs.scanned
        carried, left = [*args[:carries]], list[Var]()
        if self._rest:  # these come first
            own = [self._left[read[i]] if i in read else self._left_of(args[i]) for i in range(carries, last)]
            given = [*carried, *own, *args[last:]]
            rest = loop(body.params, body.results, given, (carries, attrs.scanned, self._rest, attrs.reverse))
            left = in_order(rest, _shapes(body.results, carries, self._rest))
            carried = left[:carries]
        ahead = cut.forward.attrs
        first, end = ahead.carries, ahead.carries + ahead.scanned
        of_forward = self._leaves(ahead)
        own = self._leaves(attrs)
        again = [x if i in self._starts else broadcast(const(0.0), x.shape) for i, x in enumerate(of_forward[:first])]
        inner = loop(
            ahead.body.params, ahead.body.results, [*again, *of_forward[first:]],
            (first, ahead.scanned, cut.length, ahead.reverse),
        )  # fmt: skip
        kept = _results(with_results(inner, cut.kept) or inner, inner)
        given = [kept[read[i]] if i in read else x for i, x in enumerate(own)]
        back = loop(body.params, body.results, given, (carries, attrs.scanned, cut.length, attrs.reverse))
        by_step = {of_forward[i]: start for i, start in self._starts.items()}
        by_step |= {of_forward[i]: self._segments(self._args[i]) for i in range(first, end)}
        by_step |= {own[i]: self._segments(args[i]) for i in range(carries, last) if i not in read}
        same = dict(zip([*of_forward[end:], *own[last:]], [*self._args[end:], *args[last:]], strict=True))
        results = substitute(_results(back, back), _first_of_equals(by_step) | _first_of_equals(same))
        outer = loop(
            [*own[:carries], *by_step, *same], results, [*carried, *by_step.values(), *same.values()],
            (carries, len(by_step), cut.count, attrs.reverse),
        )  # fmt: skip
        found = _results(with_results(outer, range(len(results))) or outer, outer)
        stacked = [self._joined(x, left[j] if left else None) for j, x in enumerate(found) if j >= carries]
        return vector_of(var, dict(enumerate([*found[:carries], *stacked])))

    # --- steps -------------------------------------------------------------------------------------------------------
    @property
    def _rest(self) -> int:
        """How many steps are left."""
        return int(self._cut.forward.attrs.length) - self._cut.count * self._cut.length

    def _leaves(self, attrs: Loop) -> list[Var]:
        """Arguments of a segment: those of a step, with all steps of the segment where each has its own."""
        by_step, length = range(attrs.carries, attrs.carries + attrs.scanned), (self._cut.length,)
        return [
            argument(i, length + x.shape if i in by_step else x.shape, x.level) for i, x in enumerate(attrs.body.params)
        ]

    def _segments(self, x: Var) -> Var:
        """The steps in segments, with an axis for these in front."""
        first = self._rest if self._cut.forward.attrs.reverse else 0
        steps = self._cut.count * self._cut.length
        if x not in self._views:
            shape = (self._cut.count, self._cut.length, *x.shape[1:])
            self._views[x] = reshape(_steps(x, first, first + steps), shape)
        return self._views[x]

    def _left_of(self, x: Var) -> Var:
        """The steps that are left."""
        steps = self._cut.count * self._cut.length
        return _steps(x, 0, self._rest) if self._cut.forward.attrs.reverse else _steps(x, steps, x.shape[0])

    def _joined(self, x: Var, left: Var | None) -> Var:
        """All steps, of those in segments and those that are left."""
        whole = reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
        if left is None:
            return whole
        return concatenate([left, whole] if self._cut.forward.attrs.reverse else [whole, left], 0)


def _first_of_equals(given: Mapping[Var, Var]) -> dict[Var, Var]:
    """For each argument of a body, the first that is given the same."""
    first: dict[Var, Var] = {}
    return {leaf: first.setdefault(x, leaf) for leaf, x in given.items()}


def _steps(x: Var, first: int, stop: int) -> Var:
    return slice_(x, [(first, stop, 1), *((0, n, 1) for n in x.shape[1:])])


def _shapes(results: Sequence[Var], carries: int, length: int) -> list[Shape]:
    return [x.shape if i < carries else (length, *x.shape) for i, x in enumerate(results)]


def _results(vector: Var, of: Var) -> list[Var]:
    """The results in a vector of those of a loop."""
    return in_order(vector, [shape for _, shape in of.attrs.places()])
