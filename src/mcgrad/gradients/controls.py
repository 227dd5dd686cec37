"""Control variates: from the outputs of a method's Program to those of a Program that averages what controls leave.

An output g becomes g - b (c - E c). The coefficients b are inputs, from a regression over the draws of a pilot. Where
they are then corrected by the same draws, the controls, which the pilot makes uncorrelated, and their products with the
output are outputs, too (`results.control`). All of it are equations and outputs: backends average them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from mcgrad.gradients.known_control import Known
from mcgrad.gradients.linear_control import Linear, Noises
from mcgrad.gradients.plan import WEIGHT, Plan
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.quadratic_control import Quadratic
from mcgrad.inputs.control import LINEAR, SAMPLE, Control, names
from mcgrad.ir.build import apply, broadcast, reduce, reshape, take
from mcgrad.ir.program import Output, Program, Shape, Var
from mcgrad.ir.spaces import Input, Space
from mcgrad.results.control import Entry
from mcgrad.simplify.fixed_point import simplify


@dataclass(frozen=True)
class OutputControls:
    """The controls of one output, as numbers of the outputs of the pilot's Program.

    Parameters
    ----------
    number : int
        Of the output.
    shape, own_shape : tuple of int
        Of the output, and of a parameter; the axes of the value are in front of those of the parameter.
    every : tuple of int
        Arrays of which each component has all elements; their variances are 1, and they are uncorrelated.
    own : tuple of int
        Arrays of the parameter's shape, of which each component has its own element: likewise, if there are any then
        `every` is empty.
    others : tuple of int
        Arrays of the parameter's shape of any variance.
    """

    number: int
    shape: Shape
    own_shape: Shape
    every: tuple[int, ...]
    own: tuple[int, ...]
    others: tuple[int, ...]

    def coefficient(self, i: int) -> Input:
        """The coefficients of the i-th array of controls, those of `every` first, then `own`, then `others`."""
        return Input(Space.CONTROL, f"{self.number} coefficient {i}")

    def whitening(self, i: int, j: int) -> Input:
        """What is taken out of the i-th of the `others`, for j >= 0 of the j-th array; for -1 the factor after that."""
        return Input(Space.CONTROL, f"{self.number} whitening {i} {j}")

    @property
    def center(self) -> Input:
        """Numbers near the mean of the output."""
        return Input(Space.CONTROL, f"{self.number} center")


@dataclass(frozen=True)
class Watched:
    """A user's control: where the means of its numbers are among the outputs' components.

    Parameters
    ----------
    name : str
        Of the control.
    of : str
        "value", or the parameter in whose gradient it is a control.
    where : slice
    """

    name: str
    of: str
    where: slice


@dataclass(frozen=True)
class Controls:
    """The control variates of a Program.

    Parameters
    ----------
    names : tuple of str
    coefficients : {"sample", "pilot"}
    pilot : Program
        Outputs and controls of a draw.
    arrays : int
        How many of its outputs, the last, are controls.
    outputs : tuple of OutputControls
        Of the outputs that have some.
    components : int
        Numbers of the value and the gradient together.
    entries : tuple of Entry
        Where controls and products are among the outputs.
    controls : int
        How many numbers of controls are among the outputs.
    watched : tuple of Watched
    """

    names: tuple[str, ...]
    coefficients: str
    pilot: Program
    arrays: int
    outputs: tuple[OutputControls, ...]
    components: int
    entries: tuple[Entry, ...]
    controls: int
    watched: tuple[Watched, ...]


def controlled(
    plan: Plan,
    problem: Problem,
    wrt: Sequence[str],
    plain: Program,
    controls: Sequence[str | Control],
    coefficients: str,
) -> tuple[Program, Controls]:
    """Make the Program of a plan with control variates.

    Parameters
    ----------
    plan : Plan
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in.
    plain : Program
        The same without.
    controls : sequence of str or Control
    coefficients : {"sample", "pilot"}

    Raises
    ------
    ParameterError
        A control does not apply.
    """
    outputs = plan.outputs(problem, wrt, plain.dtype)
    by_draw = {out.path: simplified.var.by_draw for out, simplified in zip(outputs, plain.outputs, strict=True)}
    made = _Made(plan, problem, wrt, controls, by_draw)
    assembly = _Assembly(problem, outputs, made, coefficients == SAMPLE)
    program = simplify(Program(tuple(assembly.averaged()), plain.dtype))
    pilot = simplify(Program(tuple(assembly.of_pilot()), plain.dtype))
    components = sum(out.var.size for out in outputs)
    return program, Controls(
        names(controls),
        coefficients,
        pilot,
        assembly.arrays,
        tuple(assembly.found),
        components,
        tuple(assembly.entries),
        assembly.size,
        tuple(replace(x, where=slice(components + x.where.start, components + x.where.stop)) for x in assembly.watched),
    )


class _Made:
    """The controls of each output, as Vars."""

    def __init__(
        self,
        plan: Plan,
        problem: Problem,
        wrt: Sequence[str],
        controls: Sequence[str | Control],
        by_draw: Mapping[str, bool],
    ) -> None:
        value, *further = (path for path in by_draw if path != WEIGHT)
        paths = [path for path in further if path in wrt]  # second derivatives have none
        self.linear: dict[str, Linear] = {}
        self.others: dict[str, list[tuple[str, Var]]] = {path: [] for path in by_draw}
        if LINEAR in controls:
            noises = Noises(problem, plan.group)
            self.linear = {value: noises.of_value(), **{path: noises.of_gradient(path) for path in paths}}
        for control in controls:
            if control == LINEAR:
                continue
            of = Known(control, problem, plan.group) if isinstance(control, Control) else Quadratic(problem)
            name = control.name if isinstance(control, Control) else ""
            gradients: dict[str, list[Var]] = {}
            for method, of_method in plan.paths(wrt).items():
                gradients |= of.of_gradients(method, of_method)
            self._add(name, {value: of.of_value(), **gradients})
        for path, changes in by_draw.items():
            if not changes:  # it has no variance
                self.linear.pop(path, None)
                self.others[path] = []

    def _add(self, name: str, found: Mapping[str, Sequence[Var]]) -> None:
        for path, arrays in found.items():
            self.others[path] += [(name, x) for x in arrays if x.by_draw]


class _Assembly:
    """Outputs with controls, as Vars."""

    def __init__(self, problem: Problem, outputs: Sequence[Output], made: _Made, sampled: bool) -> None:
        self._problem, self._sampled = problem, sampled
        self._outputs = list(outputs)
        self._numbers: dict[Var, int] = {}  # of arrays of controls, in the pilot's Program
        self._places: dict[Var, int] = {}  # of arrays of controls that are averaged, the first component
        self._less: list[Output] = []
        self._products: list[Output] = []
        self.found: list[OutputControls] = []
        self.entries: list[Entry] = []
        self.watched: list[Watched] = []
        starts = accumulate((out.var.size for out in outputs), initial=0)
        for number, (out, start) in enumerate(zip(outputs, starts, strict=False)):
            linear, others = made.linear.get(out.path, Linear()), made.others[out.path]
            if linear.every or linear.own or others:
                out = self._with(number, out, start, linear, others)
            self._less.append(out)

    @property
    def arrays(self) -> int:
        """How many arrays of controls there are."""
        return len(self._numbers)

    @property
    def size(self) -> int:
        """How many numbers of controls are averaged."""
        return sum(x.size for x in self._places)

    def averaged(self) -> list[Output]:
        """The outputs of the Program: what is left of each, then controls, then products."""
        means = [Output(f"control {i}", x) for i, x in enumerate(self._places)]
        return [*self._less, *means, *self._products]

    def of_pilot(self) -> list[Output]:
        """The outputs of the pilot's Program: outputs, then controls."""
        outputs = [replace(out, summed=False) for out in self._outputs]
        return [*outputs, *(Output(f"control {i}", x) for i, x in enumerate(self._numbers))]

    def _with(self, number: int, out: Output, start: int, linear: Linear, others: Sequence[tuple[str, Var]]) -> Output:
        g, problem = out.var, self._problem
        own_shape = problem.params[out.path].shape if number else ()
        own = [broadcast(x, own_shape) for x in linear.own]
        of = OutputControls(
            number,
            g.shape,
            own_shape,
            tuple(map(self._number, linear.every)),
            tuple(map(self._number, own)),
            tuple(self._number(x) for _, x in others),
        )
        self.found.append(of)
        left, white = g, []
        for i, x in enumerate([*linear.every, *own]):
            every = i < len(linear.every)
            b = problem.computed(of.coefficient(i), (*g.shape, *x.shape) if every else g.shape)
            left = apply("subtract", left, _total(b, x, g.shape) if every else apply("multiply", b, x))
        white = [*linear.every, *own]
        for i, (name, x) in enumerate(others):
            x = self._whitened(of, i, x, white, len(linear.every), not name)
            if name and not self._problem.has_rows:
                place = self._place(x)
                self.watched.append(Watched(name, out.path, slice(place, place + x.size)))
            b = problem.computed(of.coefficient(len(white)), g.shape)
            left = apply("subtract", left, apply("multiply", b, x))
            white.append(x)
        if self._sampled:
            deviation = apply("subtract", left, problem.computed(of.center, g.shape))
            for i, x in enumerate(white):
                every = i < len(linear.every)
                before = linear.own[i - len(linear.every)] if linear.own and i < len(own) else x
                product = _outer(deviation, x) if every else apply("multiply", deviation, x)
                self._products.append(Output(f"product {len(self._products)}", product))
                self.entries.append(Entry(start, g.size, self._place(before), before.size, every))
        return replace(out, var=left)

    def _whitened(self, of: OutputControls, i: int, x: Var, white: Sequence[Var], every: int, poles: bool) -> Var:
        """A control without what others explain of it, over its standard deviation; `poles` if it may have some."""
        for j, before in enumerate(white):
            shape = (*x.shape, *before.shape) if j < every else x.shape
            a = self._problem.computed(of.whitening(i, j), shape)
            x = apply("subtract", x, _total(a, before, x.shape) if j < every else apply("multiply", a, before))
        factor = self._problem.computed(of.whitening(i, -1), x.shape)
        return _known(x, factor, next(iter(self._problem.eps.values()))) if poles else apply("multiply", x, factor)

    def _number(self, x: Var) -> int:
        return len(self._outputs) + self._numbers.setdefault(x, len(self._numbers))

    def _place(self, x: Var) -> int:
        if x not in self._places:
            self._places[x] = self.size
        return self._places[x]


def _known(x: Var, factor: Var, eps: Var) -> Var:
    """Return a control times a factor, and 0 where the factor is: the control may be no number then.

    The condition seems to change by draw, by a factor of 1 or more. Compilers make two loops of one with a condition
    that no draw changes, and of several conditions loops that they do not vectorise.
    """
    e = broadcast(reshape(take(eps, np.zeros(1, np.int64)), (1,) * len(x.shape)), x.shape)
    changing = apply("multiply", factor, apply("add", apply("multiply", e, e), 1.0))
    return apply("where", apply("not_equal", changing, 0.0), apply("multiply", x, factor), 0.0)


def _total(b: Var, x: Var, shape: Shape) -> Var:
    """The sum of an array's elements, each times coefficients of some shape."""
    axes = range(len(shape), len(shape) + len(x.shape))
    return reduce("sum", apply("multiply", b, broadcast(x, (*shape, *x.shape))), axes)


def _outer(deviation: Var, x: Var) -> Var:
    """The products of all elements of two arrays."""
    shape = (*deviation.shape, *x.shape)
    return apply("multiply", broadcast(reshape(deviation, (*deviation.shape, *(1,) * len(x.shape))), shape), x)
