"""Carries that add up multiples of the same values are one running sum.

A carry s + (u + k b) of each step, where no draw changes u, and k is the same in all steps, is the sum of u, which is
computed before the loop, and k times the sum of b. So the logarithm of a price and its derivatives in drift and
volatility have one sum of normals, and a mean and its derivative in a factor of all prices one sum of these.

A carry that adds up values that no draw and no carry changes is known for all steps before the loop.

Values that draws change are parted from what is added to them only if they are normal noise: otherwise digits of the
sum might be lost that each step has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from mcgrad.differentiate.structural import zeros_like
from mcgrad.ir.build import apply, argument, broadcast, concatenate, const, loop, rebuild, reshape, scan, slice_
from mcgrad.ir.fuse_loops import in_order
from mcgrad.ir.loop_results import vector_of
from mcgrad.ir.program import Var
from mcgrad.ir.rewrite import substitute
from mcgrad.ir.vmap import vmap


@dataclass(frozen=True)
class _Sum:
    """A carry: the sum of `added`, where there is any, and of `factor` times a base.

    Parameters
    ----------
    carry : int
    base : Var
    factor, added : Var or None
        None stands for 1, and for 0.
    """

    carry: int
    base: Var
    factor: Var | None
    added: Var | None


def shared_sums(var: Var) -> Var | None:
    """The vector of results of a loop whose carries share sums; None if none do."""
    groups = [group for group in _Reader(var).groups() if len(group) > 1]
    if not groups or var.attrs.running is not None:
        return None
    return _Rewriter(var, groups).vector()


class _Reader:
    """What the carries of a loop add up."""

    def __init__(self, var: Var) -> None:
        attrs, body = var.attrs, var.attrs.body
        self._attrs, self._body = attrs, body
        scanned = body.params[attrs.carries : attrs.carries + attrs.scanned]
        given = zip(scanned, var.args[attrs.carries :], strict=False)
        self._noise = {x for x, arg in given if arg.op == "noise" and arg.attrs.law == "normal"}
        self._carried = self._depending({*body.params[: attrs.carries]})
        self._varies = self._depending({*body.params[: attrs.carries], *scanned})

    def _depending(self, on: set[Var]) -> set[Var]:
        found = set(on)
        for equation in self._body.equations:
            if not found.isdisjoint(equation.args):
                found.add(equation)
        return found

    def groups(self) -> list[list[_Sum]]:
        """Return the carries that are sums, those of one base together."""
        found: dict[Var, list[_Sum]] = {}
        for i in range(self._attrs.carries):
            read = self._read(i)
            if read is not None:
                found.setdefault(read.base, []).append(read)
        return [*found.values()]

    def _read(self, i: int) -> _Sum | None:
        carry, result = self._body.params[i], self._body.results[i]
        terms = [*_terms(result)]
        if terms.count(carry) != 1 or self._body.results.count(result) > 1 or not result.by_draw:
            return None
        terms.remove(carry)
        if not self._depending({carry}).isdisjoint(terms):
            return None
        drawn = [x for x in terms if x.by_draw]
        if len(drawn) != 1:
            return None
        factor, base, offset = self._parts(drawn[0])
        for x in terms:
            if not x.by_draw:
                offset = _plus(offset, x)
        if base.shape != carry.shape or (offset is not None and offset.shape != carry.shape):
            return None
        if offset is not None and not (self._is_noise(base) and self._is_known(offset)):
            return None
        return _Sum(i, base, factor, offset)

    def undrawn_increment(self, i: int) -> Var | None:
        """What each step adds to a carry, where this is known for all steps before the loop; else None."""
        carry, result, less = self._body.params[i], self._body.results[i], []
        while result.op == "subtract":
            less.append(result.args[1])
            result = result.args[0]
        terms = [*_terms(result)]
        if carry.by_draw or terms.count(carry) != 1:
            return None
        terms.remove(carry)
        terms += [apply("negative", x) for x in less]
        if not terms or not all(x.shape == carry.shape and self._is_known(x) for x in terms):
            return None
        return reduce(partial(apply, "add"), terms)

    def _parts(self, x: Var) -> tuple[Var | None, Var, Var | None]:
        """Return factor, base and what is added to their product."""
        if x.op == "multiply":
            for fixed, drawn in (x.args, x.args[::-1]):
                if not fixed.by_draw and drawn.by_draw:
                    factor, base, added = self._parts(drawn)
                    offset = None if added is None else apply("multiply", fixed, added)
                    if fixed not in self._varies:
                        return _times(factor, fixed), base, offset
                    if self._is_noise(base) and factor is None:
                        return None, apply("multiply", fixed, base) if base is not drawn else x, offset
        if x.op == "add":
            for fixed, drawn in (x.args, x.args[::-1]):
                if not fixed.by_draw and drawn.by_draw:
                    factor, base, added = self._parts(drawn)
                    if self._is_noise(base):
                        return factor, base, _plus(added, fixed)
        return None, x, None

    def _is_known(self, x: Var) -> bool:
        """Whether a value of the body, or one made of such, is known for all steps before the loop: without a carry."""
        if x in self._carried or x.by_draw:
            return False
        return all(map(self._is_known, x.args))

    def _is_noise(self, x: Var) -> bool:
        """Whether a value is normal noise about zero, times what no draw changes."""
        if x.op == "multiply":
            return any(not y.by_draw and self._is_noise(z) for y, z in (x.args, x.args[::-1]))
        return x in self._noise


def _terms(x: Var) -> Iterator[Var]:
    if x.op == "add":
        for arg in x.args:
            yield from _terms(arg)
    else:
        yield x


def added_up(var: Var, added: Sequence[Var]) -> list[Var]:
    """What has been added after each step of a loop, of all steps: sums of Vars of its body that no carry changes."""
    attrs, body, args = var.attrs, var.attrs.body, var.args
    last = attrs.carries + attrs.scanned
    elements = dict(zip(body.params[attrs.carries : last], args[attrs.carries : last], strict=True))
    same = dict(zip(body.params[last:], args[last:], strict=True))
    return [scan("cumsum", x, 0, attrs.reverse) for x in vmap(substitute(added, same), elements, attrs.length)]


def before_steps(var: Var, x: Var, begin: Var) -> Var:
    """What a sum is before each step of a loop, of what it is after each, and what it begins with."""
    first, steps = reshape(broadcast(begin, x.shape[1:]), (1, *x.shape[1:])), var.attrs.length
    whole = [(0, n, 1) for n in x.shape[1:]]
    if var.attrs.reverse:
        return concatenate([slice_(x, [(1, steps, 1), *whole]), first], 0)
    return concatenate([first, slice_(x, [(0, steps - 1, 1), *whole])], 0)


def after_all(var: Var, x: Var) -> Var:
    """What a sum is after the last step, of what it is after each."""
    place = 0 if var.attrs.reverse else var.attrs.length - 1
    return reshape(slice_(x, [(place, place + 1, 1), *((0, n, 1) for n in x.shape[1:])]), x.shape[1:])


def undrawn_sums(var: Var) -> dict[int, Var]:
    """Carries that are sums of what neither draws nor carries change: to what they are after each step, of all steps.

    So a time that each step adds to is an array before the loop, where the interpreter would go through the steps.
    """
    attrs = var.attrs
    if attrs.running is not None or not attrs.length:
        return {}
    reader, added = _Reader(var), {}
    for i in range(attrs.carries):
        increment = reader.undrawn_increment(i)
        if increment is not None:
            added[i] = increment
    sums = zip(added, added_up(var, [*added.values()]), strict=True)
    return {i: apply("add", broadcast(var.args[i], x.shape), x) for i, x in sums}


def _plus(x: Var | None, y: Var) -> Var:
    return y if x is None else apply("add", x, y)


def _times(x: Var | None, y: Var) -> Var:
    return y if x is None else apply("multiply", x, y)


class _Rewriter:
    """The loop with a carry for each base; what is added to each member of its group is known for all steps."""

    def __init__(self, var: Var, groups: list[list[_Sum]]) -> None:
        self._var, self._attrs, self._body = var, var.attrs, var.attrs.body
        self._members = {member.carry: member for group in groups for member in group}
        self._numbers = iter(range(len(self._body.params), 1 << 30))
        self._bases = {group[0].base: self._leaf(self._body.params[group[0].carry]) for group in groups}
        self._begun = {i: self._leaf(self._body.params[i]) for i in self._members}
        added = [i for i, member in self._members.items() if member.added is not None]
        known = [x for member in self._members.values() if (x := member.added) is not None]
        self._added = dict(zip(added, added_up(var, known), strict=True))
        self._before = {i: argument(next(self._numbers), self._body.params[i].shape) for i in added}
        self._after = {i: argument(next(self._numbers), self._body.params[i].shape) for i in added}

    def _leaf(self, like: Var) -> Var:
        return argument(next(self._numbers), like.shape, like.level)

    def vector(self) -> Var:
        """Return the vector of results of the old loop."""
        attrs, body, var = self._attrs, self._body, self._var
        new: dict[Var, Var] = {}
        for i in self._members:
            new[body.params[i]] = self._value(i, self._bases, self._before, new)
        ends = {body.results[i]: i for i in self._members}
        sums: dict[Var, Var] = {}
        for equation in body.equations:
            if equation in ends:
                i = ends[equation]
                base = self._members[i].base
                if base not in sums:
                    sums[base] = apply("add", self._bases[base], _of(base, new))
                new[equation] = self._value(i, sums, self._after, new)
            elif equation not in new:
                new[equation] = rebuild(equation, tuple(new[arg] for arg in equation.args))
        others = [i for i in range(attrs.carries) if i not in self._members]
        stacked = range(attrs.carries, len(body.results))
        last = attrs.carries + attrs.scanned
        params = [body.params[i] for i in others] + [*self._bases.values()]
        args = [var.args[i] for i in others] + [zeros_like(leaf) for leaf in self._bases.values()]
        carries = len(params)
        params += [*body.params[attrs.carries : last], *self._before.values(), *self._after.values()]
        after = [*self._added.values()]
        args += [*var.args[attrs.carries : last], *(before_steps(var, x, const(0.0)) for x in after), *after]
        scanned = len(params) - carries
        params += [*body.params[last:], *self._begun.values()]
        args += [*var.args[last:], *(var.args[i] for i in self._begun)]
        results = [new[body.results[i]] for i in others] + [sums[base] for base in self._bases]
        results += [new[body.results[j]] for j in stacked]
        again = loop(params, results, args, (carries, scanned, attrs.length, attrs.reverse))
        shapes = [x.shape for x in results[:carries]] + [(attrs.length, *x.shape) for x in results[carries:]]
        found = in_order(again, shapes)
        totals = dict(zip(self._bases, found[len(others) :], strict=False))
        outside = dict(zip(body.params, var.args, strict=True))
        outside |= {leaf: var.args[i] for i, leaf in self._begun.items()}
        added = {i: after_all(var, x) for i, x in self._added.items()}
        values = dict(zip(others, found, strict=False)) | dict(zip(stacked, found[carries:], strict=True))
        values |= {i: self._value(i, totals, added, outside) for i in self._members}
        return vector_of(var, values)

    def _value(self, i: int, sums: Mapping[Var, Var], added: Mapping[int, Var], new: Mapping[Var, Var]) -> Var:
        """A carry, from the sums: what no draw changes first."""
        member = self._members[i]
        total = sums[member.base]
        if member.factor is not None:
            total = apply("multiply", _of(member.factor, new), total)
        begin = _of(self._begun[i], new)
        return apply("add", apply("add", begin, added[i]) if i in added else begin, total)


def _of(x: Var, new: Mapping[Var, Var]) -> Var:
    """Return a Var of the body, or one made of such, with others in place of some."""
    if x in new:
        return new[x]
    return rebuild(x, tuple(_of(arg, new) for arg in x.args)) if x.args else x
