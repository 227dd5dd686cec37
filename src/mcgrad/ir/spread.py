"""Spread marks of some Vars to all that depend on them, element by element.

A mark is a row of numbers along a last axis, of which the larger ones, or the union of bits, are those of several
marks together. Views and the like move the marks as they move elements; what computes joins those of all it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.interpret import IMPL
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var

Marks = npt.NDArray[Any]  # of a Var: (*shape, numbers of a mark)
States = dict[Var, Marks]  # without those that have no marks
SETTLED = 64  # steps of a loop after which the marks of its carries only grow
MOST = 1 << 24  # marks of the single products of a contraction
EACH = 1024  # steps with arguments of different marks; of more, all have the marks of all


class Spread:
    """Spreads marks.

    Parameters
    ----------
    join : ufunc
        Of two marks: `np.maximum` or `np.bitwise_or`.
    nothing : int
        Joined with a mark it changes nothing.
    """

    def __init__(self, join: np.ufunc, nothing: int) -> None:
        self.join, self.nothing = join, nothing

    def run(self, order: Iterable[Var], states: States) -> None:
        """Add the marks of Vars, in order, to those of some."""
        for var in order:
            args = [states.get(arg) for arg in var.args]
            if var not in states and any(x is not None for x in args):
                found = self.equation(var, args)
                if found is not None:
                    states[var] = found

    def equation(self, var: Var, args: Sequence[Marks | None]) -> Marks | None:
        """Return the marks of an equation, whose arguments have some."""
        rule = RULES.get(var.op) or OF_CATEGORY[OPS[var.op].category]
        return rule(self, var, args)

    def entering(self, loop: Var, i: int, marks: Marks) -> Marks:
        """Return the marks of an argument of a loop in the loop."""
        return marks

    def leaving(self, loop: Var, marks: Marks) -> Marks:
        """Return the marks of a result of a step for the next steps, and behind the loop."""
        return marks

    # Rules

    def filled(self, var: Var, args: Sequence[Marks | None]) -> list[Marks]:
        """Return marks that are nothing for arguments without."""
        some = next(x for x in args if x is not None)
        shape = some.shape[-1:]
        return [
            np.full((*arg.shape, *shape), self.nothing, some.dtype) if x is None else x
            for arg, x in zip(var.args, args, strict=True)
        ]

    def over(self, x: Marks, axes: Sequence[int]) -> Marks:
        """Join marks along axes."""
        found: Marks = self.join.reduce(x, axis=tuple(axes), initial=self.nothing) if axes else x
        return found

    def along(self, x: Marks, axis: int, backwards: bool) -> Marks:
        """Join the marks of each element with those of the elements before it."""
        found: Marks = self.join.accumulate(np.flip(x, axis) if backwards else x, axis)
        return np.flip(found, axis) if backwards else found

    def _elementwise(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        return reduce(self.join, [x for x in args if x is not None])

    def _moved(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        return IMPL[var.op](var, *self.filled(var, args))

    def _padded(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        (x,) = self.filled(var, args)
        found: Marks = IMPL["pad"](var, x - self.nothing) + self.nothing
        return found

    def _gathered(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        x, index = self.filled(var, args)
        batch, _, rest = var.attrs.split(var.args[0].shape)
        chosen = len(var.shape) - len(batch) - len(rest)
        any_of = self.over(x, [len(batch)])
        any_of = any_of.reshape(*batch, *(1,) * chosen, *rest, x.shape[-1])
        index = index.reshape(*index.shape[:-1], *(1,) * len(rest), x.shape[-1])
        return np.broadcast_to(self.join(any_of, index), (*var.shape, x.shape[-1]))

    def _scattered(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        (x,) = self.filled(var, args)
        out = np.full((var.size, x.shape[-1]), self.nothing, x.dtype)
        self.join.at(out, var.attrs.index.array.ravel(), x.reshape(-1, x.shape[-1]))
        return out.reshape(*var.shape, x.shape[-1])

    def _reduced(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        return self.over(self.filled(var, args)[0], var.attrs.axes)

    def _scanned(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        return self.along(self._elementwise(var, args), var.attrs.axis, var.attrs.reverse)

    def _contracted(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        """Join the marks that the sums of products read, but for those times the zeros of a literal array."""
        extents = var.attrs.extents([arg.shape for arg in var.args])
        kept: str = var.attrs.output
        every = kept + "".join(letter for letter in extents if letter not in kept)
        found = []
        for i, (labels, x) in enumerate(zip(var.attrs.inputs, args, strict=True)):
            if x is None:
                continue
            others = [k for k, arg in enumerate(var.args) if k != i and arg.is_const and not arg.attrs.array.all()]
            if others and prod(extents.values()) * x.shape[-1] <= MOST:
                read = _aligned(labels, x, every)
                for k in others:
                    used = _aligned(var.attrs.inputs[k], var.args[k].attrs.array[..., None] != 0, every)
                    read = np.where(used, read, np.asarray(self.nothing, x.dtype))
                read = self.over(read, range(len(kept), len(every)))
            else:
                lost = [n for n, letter in enumerate(labels) if letter not in kept]
                read = _aligned("".join(letter for letter in labels if letter in kept), self.over(x, lost), kept)
            found.append(np.broadcast_to(read, (*var.shape, x.shape[-1])))
        return reduce(self.join, found)

    def _of_matrices(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        """Each element has the marks of the whole matrices that it is computed of."""
        batch = len(var.args[0].shape) - 2
        all_of = [self.over(x, [batch, batch + 1]) for x in args if x is not None]
        found = reduce(self.join, all_of)
        found = found.reshape(*found.shape[:-1], *(1,) * (len(var.shape) - batch), found.shape[-1])
        return np.broadcast_to(found, (*var.shape, found.shape[-1]))

    def _everything(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        """Each element has the marks of all elements of the arguments."""
        return np.broadcast_to(self.whole(args), (*var.shape, self.whole(args).shape[-1]))

    def whole(self, args: Iterable[Marks | None]) -> Marks:
        """Join the marks of all elements of some arrays."""
        return reduce(self.join, [self.over(x, range(x.ndim - 1)) for x in args if x is not None])

    def loop(self, var: Var, args: Sequence[Marks | None]) -> Marks:
        """Run steps until marks of carries stay, then from where arguments of a step have other marks than before."""
        attrs, body, n = var.attrs, var.attrs.body, var.attrs.carries
        args = [x if x is None else self.entering(var, i, x) for i, x in enumerate(args)]
        width = next(x for x in args if x is not None).shape[-1:]
        dtype = next(x for x in args if x is not None).dtype
        out = np.full((var.size, *width), self.nothing, dtype)
        scanned = [x if x is None else self._few(x) for x in args[n : n + attrs.scanned]]
        changes = {*_changes(scanned, attrs.length, attrs.reverse), attrs.length}
        following = iter(sorted(changes))
        until = next(following)
        carried, done = list(args[:n]), 0
        while done < attrs.length:
            while until <= done:
                until = next(following)
            t = attrs.length - 1 - done if attrs.reverse else done
            given = [*carried, *(x if x is None else x[t] for x in scanned), *args[n + attrs.scanned :]]
            states = {param: x for param, x in zip(body.params, given, strict=True) if x is not None}
            self.run(body.equations, states)
            found = [states.get(result) for result in body.results]
            found = [x if x is None else self.leaving(var, x) for x in found]
            now = found[:n]
            if done > SETTLED:
                now = [
                    y if x is None else x if y is None else self.join(x, y) for x, y in zip(carried, now, strict=True)
                ]
            stays = all(_same(x, y) for x, y in zip(carried, now, strict=True))
            carried = now
            last = until if stays else done + 1
            steps = slice(attrs.length - last, attrs.length - done) if attrs.reverse else slice(done, last)
            for (start, shape), x in zip(attrs.places()[n:], found[n:], strict=True):
                if x is not None:
                    out[start : start + prod(shape)].reshape(*shape, *width)[steps] = x
            done = last
        for (start, shape), x in zip(attrs.places()[:n], carried, strict=True):
            if x is not None:
                out[start : start + prod(shape)] = x.reshape(-1, *width)
        return out

    def _few(self, x: Marks) -> Marks:
        """Return the marks of the steps of an argument, those of all for each where many differ."""
        differ = np.count_nonzero((x[1:] != x[:-1]).reshape(max(len(x) - 1, 0), -1).any(-1)) if len(x) > 1 else 0
        return x if differ <= EACH else np.broadcast_to(self.over(x, [0]), x.shape)


def _aligned(labels: str, x: Marks, to: str) -> Marks:
    """Return an array with an axis for each letter, of extent 1 for those that it has not, and one more at its end."""
    order = sorted(range(len(labels)), key=lambda k: to.index(labels[k]))
    x = x.transpose(*order, len(labels))
    extents = dict(zip(sorted(labels, key=to.index), x.shape, strict=False))
    return x.reshape(*(extents.get(letter, 1) for letter in to), x.shape[-1])


def _changes(scanned: Sequence[Marks | None], length: int, backwards: bool) -> Iterator[int]:
    """Yield how many steps are done where an argument has other marks than in the step before."""
    for x in scanned:
        if x is not None and length > 1:
            at = np.flatnonzero((x[1:] != x[:-1]).reshape(length - 1, -1).any(-1)) + 1
            yield from (length - at if backwards else at).tolist()


def _same(x: Marks | None, y: Marks | None) -> bool:
    return x is y or (x is not None and y is not None and np.array_equal(x, y))


Rule = Callable[[Spread, Var, Sequence[Marks | None]], Marks | None]
RULES: dict[str, Rule] = {
    "pad": Spread._padded,
    "scatter_add": Spread._scattered,
}
OF_CATEGORY: dict[str, Rule] = {
    "elementwise": Spread._elementwise,
    "view": Spread._moved,
    "assembly": Spread._moved,
    "gather": Spread._gathered,
    "scatter": Spread._everything,
    "reduction": Spread._reduced,
    "scan": Spread._scanned,
    "contraction": Spread._contracted,
    "matrices": Spread._of_matrices,
    "table": Spread._everything,
    "native": Spread._everything,
    "loop": Spread.loop,
}
