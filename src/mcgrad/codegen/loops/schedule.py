"""Put the equations of a body into steps: fused loop nests, matrix products, calls of the user's own functions.

A nest runs over the elements of one shape. An equation joins the earliest nest of its shape that comes after all it
reads: in the same nest it can read the same element of an elementwise or scan equation, but neither another element nor
a finished sum. What is read only inside its nest never touches memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from mcgrad.codegen.loops.access import Access, resolve
from mcgrad.codegen.loops.lower import is_matrix_product, is_outer
from mcgrad.codegen.loops.scatters import is_scatter
from mcgrad.ir.ops import ASSEMBLY, OPS, REDUCTIONS, VIEWS
from mcgrad.ir.program import Output, Program, Shape, Var

BEFORE = -1  # the place of what no step computes
LONG = 1024  # numbers of noise, that loops rather make again than read from memory


@dataclass(eq=False)
class Nest:
    """Loops over one shape (axes of extent 1 left out), with the lanes innermost."""

    shape: Shape
    body: list[Var] = field(default_factory=list)
    moments: list[Output] = field(default_factory=list)
    backwards: dict[int, bool] = field(default_factory=dict)  # axis -> whether a scan needs it to run from the end


@dataclass(eq=False)
class Product:
    """A matrix product of a draw-independent matrix with the lane block of a random operand."""

    var: Var


@dataclass(eq=False)
class OuterMoments:
    """Moments of an outer product, from its factors."""

    output: Output


@dataclass(eq=False)
class ScatterMoments:
    """Moments of a scatter, from its elements and their places."""

    output: Output


@dataclass(eq=False)
class Call:
    """A user's Numba function, called for each lane."""

    var: Var


@dataclass(eq=False)
class Repeat:
    """The steps of a loop's body, which run `length` times in turn.

    Parameters
    ----------
    var : Var
        The loop.
    steps : list of Step
    noise : dict from Var to Var
        Arguments by step that are noise, and are made in each step, to the noise.
    """

    var: Var
    steps: list[Step]
    noise: dict[Var, Var]


@dataclass(eq=False)
class Finite:
    """Find the draws of which every output is finite; needs all outputs stored."""


@dataclass(eq=False)
class Tile:
    """Nests and products that run over one long axis, some rows at a time, so that what they share stays in cache."""

    extent: int
    steps: list[Nest | Product]


Step = Nest | Product | OuterMoments | ScatterMoments | Call | Repeat | Finite | Tile


@dataclass
class Schedule:
    """Steps in order, and what must be kept in the workspace between or inside them."""

    program: Program
    steps: list[Step]
    place: dict[Var, int]  # the step that computes a Var
    stored: dict[Var, None]  # Vars with rows in the workspace, in order
    local: frozenset[Var] = frozenset()  # those of which only one tile's rows are kept


def squeeze(shape: Shape) -> Shape:
    """The shape without axes of extent 1."""
    return tuple(n for n in shape if n != 1)


def nest_shape(var: Var) -> Shape:
    """What the nest that computes an equation runs over."""
    return squeeze(var.args[0].shape if var.op in REDUCTIONS else var.shape)


def accesses(var: Var) -> list[Access]:
    """How an equation reads its random arguments."""
    found = [resolve(arg) for arg in var.args if arg.by_draw]
    if var.op == "gather" and var.args[0].by_draw:
        found[0] = replace(found[0], anywhere=True)
    return found


def outside(loop: Var) -> list[Var]:
    """What a lowered loop reads: its arguments, and what its steps read besides."""
    body = loop.attrs.body
    inner = {*body.params, *body.equations}
    read = (arg for var in body.equations for arg in (outside(var) if var.op == "loop" else var.args))
    return [*loop.args[: loop.attrs.carries + loop.attrs.scanned], *(arg for arg in read if arg not in inner)]


def all_equations(body: Iterable[Var]) -> Iterator[Var]:
    """Yield the equations of a lowered body, and those inside its loops."""
    for var in body:
        yield var
        if var.op == "loop":
            yield from all_equations(var.attrs.body.equations)


def computed(step: Step) -> list[Var]:
    """The Vars that a step computes."""
    if isinstance(step, Tile):
        return [var for inner in step.steps for var in computed(inner)]
    return step.body if isinstance(step, Nest) else [step.var] if isinstance(step, Product | Call | Repeat) else []


def reads(step: Step, program: Program | None = None) -> list[Access]:
    """How a step reads Vars; Finite reads the outputs of the Program."""
    if isinstance(step, Tile):
        return [access for inner in step.steps for access in reads(inner)]
    if isinstance(step, Nest):
        return [a for var in step.body for a in accesses(var)] + [resolve(out.var) for out in step.moments]
    if isinstance(step, Product | Call):
        return accesses(step.var)
    if isinstance(step, Repeat):
        return [resolve(arg) for arg in outside(step.var) if arg.by_draw]
    if isinstance(step, OuterMoments | ScatterMoments):
        return accesses(step.output.var)
    outputs = [out.var for out in program.outputs if out.var.by_draw] if program else []
    return [access for var in outputs for access in (resolve(var), *(accesses(var) if is_apart(var) else ()))]


def is_apart(var: Var) -> bool:
    """Whether an output has moments that are taken from its arguments: of no draw all elements are computed."""
    return is_outer(var) or is_scatter(var)


def schedule(program: Program, checked: bool = False) -> Schedule:
    """Schedule a lowered Program.

    Parameters
    ----------
    program : Program
    checked : bool
        Store every output, find the draws that are finite, and only then take moments, so that draws can be left out.
    """
    plan = _Planner({out.var for out in program.outputs if is_apart(out.var)}, _made_inside(program))
    for var in program.body():
        plan.add(var)
    outputs = [out for out in program.outputs if out.var.by_draw]
    if checked:
        plan.keep(outputs)
        plan.steps.append(Finite())
    first = len(plan.steps) if checked else 0
    for out in outputs:
        plan.add_moments(out, first)
    return Schedule(program, plan.steps, plan.place, plan.stored)


class _Planner:
    """Plans the equations of a Program, or of the body of a loop.

    Parameters
    ----------
    outer : set of Var
        Outer products and scatters that are outputs.
    made_inside : set of Var
        Noise that loops make, step by step.
    """

    def __init__(self, outer: set[Var], made_inside: set[Var]) -> None:
        self.steps: list[Step] = []
        self.place: dict[Var, int] = {}
        self.stored: dict[Var, None] = {}
        self.outer, self.made_inside = outer, made_inside

    def add(self, var: Var) -> None:
        if var.op in VIEWS:
            return  # a view: no work of its own
        if var.op == "input":  # a value for each lane, which is in the workspace from the start
            self.place[var] = BEFORE
            self.stored[var] = None
            return
        if var in self.outer:
            return  # only its moments are wanted
        if var in self.made_inside:
            return
        if var.op in ASSEMBLY:
            parts = [resolve(arg).base for arg in var.args]
            self.place[var] = max(self.place[part] for part in parts)
            self.stored.update(dict.fromkeys([var, *parts]))
        elif is_matrix_product(var):
            self._store_reads(var)
            self._append(Product(var), var)
        elif OPS[var.op].category == "matrices":
            raise AssertionError(f"{var.op} of what draws change, of which `simplify` makes loops")
        elif OPS[var.op].category == "native":
            self._store_reads(var)
            self._append(Call(var), var)
        elif var.op == "loop":
            self._append(self._repeat(var), var)
        else:
            self._join(var)

    def _repeat(self, loop: Var) -> Repeat:
        """The body of a loop, planned by itself; the carries of the next step are written after all is read."""
        attrs, inner = loop.attrs, _Planner(set(), self.made_inside)
        body, carries, last = attrs.body, attrs.carries, attrs.carries + attrs.scanned
        bases = {param: resolve(arg).base for param, arg in zip(body.params[:last], loop.args[:last], strict=True)}
        noise = {param: base for param, base in bases.items() if base in self.made_inside}
        for var in outside(loop):
            base = resolve(var).base
            if var.by_draw and base not in self.made_inside:
                self.stored[base] = None
                inner.place[base] = BEFORE
        inner.place.update(dict.fromkeys(set(body.params) - set(noise), BEFORE))
        written = dict.fromkeys(body.results[:carries])
        for var in [*noise, *(var for var in body.equations if var not in written)]:
            inner.add(var)
        for i, result in enumerate(written):
            inner.write_carry(body.params[i], result)
        self.stored.update({var: None for var in inner.stored if var not in bases})
        self.stored.update(dict.fromkeys(var for var in inner.stored if var in noise))
        return Repeat(loop, inner.steps, noise)

    def write_carry(self, param: Var, result: Var) -> None:
        """Plan the next value of a carry, a copy: in or after the last nest that reads the present one."""
        first = 0
        for at, step in enumerate(self.steps):
            for access in reads(step):
                if access.base is param:
                    same = isinstance(step, Nest) and access.is_whole and squeeze(access.shape) == step.shape
                    first = max(first, at if same else at + 1)
        self._join(result, first)

    def _append(self, step: Step, var: Var) -> None:
        self.place[var] = len(self.steps)
        self.stored[var] = None
        self.steps.append(step)

    def _join(self, var: Var, first: int = 0) -> None:
        shape = nest_shape(var)
        reads = accesses(var)
        nest = self._nest(shape, reads, _scan_axis(var), first)
        self.steps[nest].body.append(var)  # type: ignore[union-attr]
        self.place[var] = nest
        self._store(reads, nest)
        if var.op in REDUCTIONS:
            self.stored[var] = None

    def _nest(self, shape: Shape, reads: list[Access], scan: tuple[int, bool] | None, first: int = 0) -> int:
        """The earliest nest of this shape in which all reads are possible."""
        for access in reads:
            at = self.place[access.base]
            same = access.is_whole and squeeze(access.shape) == shape and self._flows(access.base)
            first = max(first, at if same else at + 1)
        for i in range(first, len(self.steps)):
            nest = self.steps[i]
            if isinstance(nest, Nest) and nest.shape == shape:
                if scan is None:
                    return i
                axis, backwards = scan
                if nest.backwards.setdefault(axis, backwards) == backwards:
                    return i
        self.steps.append(Nest(shape, backwards={} if scan is None else {scan[0]: scan[1]}))
        return len(self.steps) - 1

    def _flows(self, base: Var) -> bool:
        """Whether an element can be read in the nest that computes it."""
        at = self.place[base]
        return at != BEFORE and base.op not in REDUCTIONS | ASSEMBLY and isinstance(self.steps[at], Nest)

    def _store(self, reads: list[Access], nest: int) -> None:
        for access in reads:
            shape = self.steps[nest].shape  # type: ignore[union-attr]
            same = access.is_whole and squeeze(access.shape) == shape and self._flows(access.base)
            if self.place[access.base] != nest or not same:
                self.stored[access.base] = None

    def _store_reads(self, var: Var) -> None:
        self.stored.update(dict.fromkeys(access.base for access in accesses(var)))

    def add_moments(self, out: Output, first: int) -> None:
        if out.var in self.outer:
            self._store_reads(out.var)
            self.steps.append(ScatterMoments(out) if is_scatter(out.var) else OuterMoments(out))
            return
        reads = [resolve(out.var)]
        nest = self._nest(squeeze(out.var.shape), reads, None, first)
        self.steps[nest].moments.append(out)  # type: ignore[union-attr]
        self._store(reads, nest)

    def keep(self, outputs: list[Output]) -> None:
        """Store all that the outputs read."""
        for out in outputs:
            reads = accesses(out.var) if out.var in self.outer else [resolve(out.var)]
            self.stored.update(dict.fromkeys(access.base for access in reads))


def _made_inside(program: Program) -> set[Var]:
    """Noise that loops make step by step: that nothing else reads, and one loop alone, or more where it is long."""
    by_step: dict[Var, int] = {}
    otherwise: set[Var] = set()
    for var in program.body():
        scanned: range = range(0)
        if var.op == "loop":
            scanned = range(var.attrs.carries, var.attrs.carries + var.attrs.scanned)
            otherwise.update(resolve(arg).base for arg in outside(var)[scanned.stop :] if arg.by_draw)
        for i, arg in enumerate(() if var.op in VIEWS else var.args[: scanned.stop or None]):
            if arg.by_draw and (base := resolve(arg).base).op == "noise":
                if i in scanned:
                    by_step[base] = by_step.get(base, 0) + 1
                else:
                    otherwise.add(base)
    otherwise.update(resolve(out.var).base for out in program.outputs)
    return {var for var, loops in by_step.items() if var not in otherwise and (loops == 1 or var.size > LONG)}


def _scan_axis(var: Var) -> tuple[int, bool] | None:
    if OPS[var.op].category != "scan":
        return None
    return len(squeeze(var.shape[: var.attrs.axis])), var.attrs.reverse
