"""Carries that add up multiples of the same values are one running sum.

A carry s + (u + k b) of each step, where no draw changes u, and k is the same in all steps, is the sum of u, which is
computed before the loop, and k times the sum of b. So the logarithm of a price and its derivatives in drift and
volatility have one sum of normals, and a mean and its derivative in a factor of all prices one sum of these.

Values that draws change are parted from what is added to them only if they are normal noise: otherwise digits of the
sum might be lost that each step has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcgrad.differentiate.structural import zeros_like
from mcgrad.ir.build import apply, argument, loop, rebuild
from mcgrad.ir.fuse_loops import in_order
from mcgrad.ir.loop_results import vector_of
from mcgrad.ir.program import Var


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
        if offset is not None and not self._is_noise(base):
            return None
        return _Sum(i, base, factor, offset)

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


def _plus(x: Var | None, y: Var) -> Var:
    return y if x is None else apply("add", x, y)


def _times(x: Var | None, y: Var) -> Var:
    return y if x is None else apply("multiply", x, y)


class _Rewriter:
    """The loop with a carry for each base and one for what is added to each member of its group."""

    def __init__(self, var: Var, groups: list[list[_Sum]]) -> None:
        self._var, self._attrs, self._body = var, var.attrs, var.attrs.body
        self._members = {member.carry: member for group in groups for member in group}
        self._numbers = iter(range(len(self._body.params), 1 << 30))
        self._bases = {group[0].base: self._leaf(self._body.params[group[0].carry]) for group in groups}
        self._added = {i: self._leaf(self._body.params[i]) for i, x in self._members.items() if x.added is not None}
        # what a carry begins with, where it is not in the sum of what is added
        self._begun = {i: self._leaf(self._body.params[i]) for i in self._members if i not in self._added}

    def _leaf(self, like: Var) -> Var:
        return argument(next(self._numbers), like.shape, like.level)

    def vector(self) -> Var:
        """Return the vector of results of the old loop."""
        attrs, body, var = self._attrs, self._body, self._var
        new: dict[Var, Var] = {}
        for i in self._members:
            new[body.params[i]] = self._value(i, self._bases, self._added, new)
        ends = {body.results[i]: i for i in self._members}
        sums: dict[Var, Var] = {}
        added: dict[int, Var] = {}
        for equation in body.equations:
            if equation in new:
                continue
            if equation in ends:
                i = ends[equation]
                self._step(self._members[i], new, sums, added)
                new[equation] = self._value(i, sums, added, new)
            else:
                new[equation] = rebuild(equation, tuple(new[arg] for arg in equation.args))
        others = [i for i in range(attrs.carries) if i not in self._members]
        stacked = range(attrs.carries, len(body.results))
        elements = [*range(attrs.carries, attrs.carries + attrs.scanned)]
        rest = [*range(attrs.carries + attrs.scanned, len(body.params))]
        params = [body.params[i] for i in others] + [*self._bases.values()] + [*self._added.values()]
        results = [new[body.results[i]] for i in others] + [sums[base] for base in self._bases]
        results += [added[i] for i in self._added] + [new[body.results[j]] for j in stacked]
        args = [var.args[i] for i in others] + [zeros_like(leaf) for leaf in self._bases.values()]
        args += [var.args[i] for i in self._added]
        carries = len(params)
        params += [body.params[i] for i in (*elements, *rest)] + [*self._begun.values()]
        args += [var.args[i] for i in (*elements, *rest)] + [var.args[i] for i in self._begun]
        again = loop(params, results, args, (carries, attrs.scanned, attrs.length, attrs.reverse))
        shapes = [x.shape for x in results[:carries]] + [(attrs.length, *x.shape) for x in results[carries:]]
        found = in_order(again, shapes)
        ends_of_bases = dict(zip(self._bases, found[len(others) :], strict=False))
        ends_of_added = dict(zip(self._added, found[len(others) + len(self._bases) :], strict=False))
        outside = {**dict(zip(body.params, var.args, strict=True)), **self._outside()}
        values = dict(zip(others, found, strict=False)) | dict(zip(stacked, found[carries:], strict=True))
        values |= {i: self._value(i, ends_of_bases, ends_of_added, outside) for i in self._members}
        return vector_of(var, values)

    def _outside(self) -> dict[Var, Var]:
        return {leaf: self._var.args[i] for i, leaf in self._begun.items()}

    def _step(self, member: _Sum, new: Mapping[Var, Var], sums: dict[Var, Var], added: dict[int, Var]) -> None:
        """Add what a step adds."""
        if member.base not in sums:
            sums[member.base] = apply("add", self._bases[member.base], _of(member.base, new))
        if member.added is not None:
            added[member.carry] = apply("add", self._added[member.carry], _of(member.added, new))

    def _value(self, i: int, sums: Mapping[Var, Var], added: Mapping[int, Var], new: Mapping[Var, Var]) -> Var:
        """A carry, from the sums."""
        member = self._members[i]
        total = sums[member.base]
        if member.factor is not None:
            total = apply("multiply", _of(member.factor, new), total)
        begin = added[i] if member.added is not None else _of(self._begun[i], new)
        return apply("add", begin, total)


def _of(x: Var, new: Mapping[Var, Var]) -> Var:
    """Return a Var of the body, or one made of such, with others in place of some."""
    if x in new:
        return new[x]
    return rebuild(x, tuple(_of(arg, new) for arg in x.args)) if x.args else x
