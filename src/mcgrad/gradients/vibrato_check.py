"""Check that a Program is linear in each mean of `mg.vibrato`, with factors that do not read the noise of its steps.

The mean over a step and its mirror image stands for its expectation, given all other noise, and so does its derivative
by the density of the step. Sums of such means and of anything else are right, and so are products with what is
independent of the step. A product with something else that reads the noise of the step is not, nor is a function of
the mean such as a maximum.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.vibrato_steps import OWN, Noise, Sources, Steps, marks_inside, sources, steps_of
from mcgrad.ir.ops import ASSEMBLY, OPS, VIEWS
from mcgrad.ir.program import Var, toposort
from mcgrad.ir.spread import Marks, Spread
from mcgrad.trace.lines import every_line

MEAN, READ, PLACE = 1, 2, 4  # marks: of the mean of f over a step, of its noise, and of where it leads
BEFORE = 8  # times one of them: of earlier steps of the loops that it is in
ALWAYS = 64  # of the noise of any step
NOW, MEANS = MEAN | READ | PLACE, MEAN | MEAN * BEFORE
OF_TURN = np.array([0, READ, READ * BEFORE, ALWAYS])  # by `OWN`, `EARLIER` and `ANY`
LINEAR = {"stop", *VIEWS, *ASSEMBLY, *(op.name for op in OPS.values() if op.linear)}
ALONE = "noise that the step alone reads, such as a component of a mg.Joint"


class _NotLinearError(Exception):
    """An equation that makes a mean of vibrato another than that over its step."""

    def __init__(self, var: Var, parameter: str, given: str, accepted: str) -> None:
        self.var, self.parameter, self.given, self.accepted = var, parameter, given, accepted


def check_vibrato(problem: Problem, wrt: Sequence[str]) -> None:
    """Refuse integrands in which `mg.vibrato` is wrong.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in.

    Raises
    ------
    ParameterError
        Another equation depends on the noise of a step and on the mean over it, or a parameter moves the noise.
    """
    wrong = _first_wrong(problem)
    if wrong is not None:
        with every_line():
            again = problem.of_function(problem.f)
            wrong = _first_wrong(again) or wrong
        raise ParameterError(wrong.parameter, f"{wrong.given}{_place(again, wrong.var)}", wrong.accepted)
    _check_parameters(problem, wrt)


def _place(problem: Problem, var: Var) -> str:
    """Say where an equation is."""
    if var in problem.lines:
        file, number = problem.lines[var]
        return f', at File "{file}", line {number}: {linecache.getline(file, number).strip()}'
    return ", by the weight of a draw of the proposal" if problem.proposal else f", in {var.op}"


def _first_wrong(problem: Problem) -> _NotLinearError | None:
    found = list(steps_of([problem.value]))
    if not found:
        return None
    noise = Noise(problem.value)
    for steps in found:
        of = sources(steps, noise)
        if of.numbers.any():
            readers = _Readers(problem, steps, of)
            try:
                readers.run(toposort([problem.value]), noise.marked(of.numbers, readers.of_noise))
            except _NotLinearError as wrong:
                return wrong
    return None


def _check_parameters(problem: Problem, wrt: Sequence[str]) -> None:
    """Refuse parameters that move the noise of steps, such as its scale: steps take it as standard normal."""
    marks = {}
    for i, path in enumerate(wrt):
        row = np.zeros((*problem.params[path].shape, len(wrt)), np.uint8)
        row[..., i] = 1
        marks[problem.params[path]] = row
    moving = np.zeros(len(wrt), np.uint8)
    for steps in steps_of([problem.value]):
        states = marks_inside(Spread(np.bitwise_or, 0), steps.eps, steps.within, marks)
        for eps in steps.eps:
            if eps in states:
                moving |= np.bitwise_or.reduce(states[eps].reshape(-1, len(wrt)), 0)
    if moving.any():
        paths = [path for path, moves in zip(wrt, moving, strict=True) if moves]
        given = "a parameter that moves eps of mg.vibrato, which is standard normal noise"
        others = f", like {', '.join(paths[1:])}" if len(paths) > 1 else ""
        rest = [path for path in wrt if path not in paths]
        accepted = f"wrt={rest}" if rest else f"{ALONE}, and a wrt= without its parameters"
        raise ParameterError(paths[0], given + others, accepted)


class _Readers(Spread):
    """Marks what reads the noise of steps, and the mean over them; raises `_NotLinearError` where both meet."""

    def __init__(self, problem: Problem, steps: Steps, of: Sources) -> None:
        super().__init__(np.bitwise_or, 0)
        self._steps, self._turns, self._lines = steps, of.turns, problem.lines
        self._shared = False  # noise is that of several steps
        self._places, self._eps = set(steps.places), set(toposort(steps.eps))
        self._first: Var | None = None  # in a user's line, of those that read the noise
        self.of_noise = ALWAYS if steps.within else READ

    def equation(self, var: Var, args: Sequence[Marks | None]) -> Marks | None:
        if var.op == "vibrato_mean":
            return self._mean(var, args)
        self._check(var, args)
        found = super().equation(var, args)
        if found is None:
            return None
        if var in self._places:
            self._shared |= bool(np.any(found & ALWAYS))
            return np.where(found & (READ | ALWAYS), found & ~(READ | ALWAYS) | PLACE, found)
        if self._first is None and var in self._lines and var not in self._eps and np.any(found & (READ | ALWAYS)):
            self._first = var
        return found

    def _mean(self, var: Var, args: Sequence[Marks | None]) -> Marks | None:
        total = args[0]
        if var is not self._steps.mean:
            return total
        if total is None:
            return None
        if np.any(total & (READ | ALWAYS)):
            given = "noise of mg.vibrato that its f, mean or scale reads, too"
            raise _NotLinearError(self._first or var, "eps", given, ALONE)
        return total & ~PLACE | (MEAN | ALWAYS if self._shared else MEAN)

    def entering(self, loop: Var, i: int, marks: Marks) -> Marks:
        turn = self._turns.get(loop, {}).get(i)
        if turn is None or (loop is not self._steps.within[-1] and np.any(turn == OWN)):
            return marks  # the loops inside of it say which step it is
        return np.where(marks & ALWAYS, marks & ~ALWAYS | OF_TURN[turn][..., None], marks)

    def leaving(self, loop: Var, marks: Marks) -> Marks:
        return marks & ~NOW | (marks & NOW) * BEFORE if loop in self._turns else marks

    # What is not linear in the mean

    def _check(self, var: Var, args: Sequence[Marks | None]) -> None:
        if not any(x is not None and np.any(x & MEANS) for x in args) or var.op in LINEAR:
            return
        if var.op == "loop":
            return
        if var.op not in PRODUCTS:
            self._refuse_function(var)
        if not PRODUCTS[var.op](self, var, args):
            given = "noise of mg.vibrato that is read elsewhere, by what the mean over the step is multiplied with"
            raise _NotLinearError(var, "eps", given, f"a sum of the two, or {ALONE}")

    def _refuse_function(self, var: Var) -> None:
        name = "a later step" if var.op in ("vibrato_step", "implicit") else var.op
        given = f"a mean over steps that {name} takes, which is not linear in it"
        accepted = "the function of f inside of the f that mg.vibrato is given; sums, products with other noise"
        raise _NotLinearError(var, "vibrato", given, accepted)

    def _factors(self, var: Var, args: Sequence[Marks | None]) -> bool:
        x, y = args
        return x is None or y is None or _independent(x, y)

    def _quotient(self, var: Var, args: Sequence[Marks | None]) -> bool:
        self._no_mean(var, args[1])
        return self._factors(var, args)

    def _choice(self, var: Var, args: Sequence[Marks | None]) -> bool:
        condition, *values = args
        self._no_mean(var, condition)
        return condition is None or all(x is None or _independent(condition, x) for x in values)

    def _contraction(self, var: Var, args: Sequence[Marks | None]) -> bool:
        """Each pair of factors, along the axes that they share."""
        labels = var.attrs.inputs
        for k, x in enumerate(args):
            for n, y in enumerate(args[:k]):
                if x is None or y is None:
                    continue
                shared = "".join(letter for letter in labels[k] if letter in labels[n])
                one, other = (
                    self.over(z, [i for i, letter in enumerate(of) if letter not in shared])
                    for z, of in ((x, labels[k]), (y, labels[n]))
                )
                order = [[letter for letter in labels[n] if letter in shared].index(letter) for letter in shared]
                if not _independent(one, other.transpose(*order, len(order))):
                    return False
        return True

    def _recurrence(self, var: Var, args: Sequence[Marks | None]) -> bool:
        factors, terms = args
        if factors is None:
            return True
        both = factors if terms is None else factors | terms
        axis = [var.attrs.axis]
        return self._all_independent(factors, axis) and _independent(self.over(factors, axis), self.over(both, axis))

    def _product(self, var: Var, args: Sequence[Marks | None]) -> bool:
        (x,) = args
        axes = var.attrs.axes if OPS[var.op].category == "reduction" else [var.attrs.axis]
        return x is None or self._all_independent(x, axes)

    def _solution(self, var: Var, args: Sequence[Marks | None]) -> bool:
        matrix, right = args
        self._no_mean(var, matrix)
        return matrix is None or right is None or _independent(self.whole([matrix]), self.whole([right]))

    def _gathering(self, var: Var, args: Sequence[Marks | None]) -> bool:
        x, index = args
        self._no_mean(var, index)
        return x is None or index is None or _independent(self.whole([x]), self.whole([index]))

    def _no_mean(self, var: Var, x: Marks | None) -> None:
        if x is not None and np.any(x & MEANS):
            self._refuse_function(var)

    def _all_independent(self, x: Marks, axes: Sequence[int]) -> bool:
        """Whether the products of elements along axes are of one that has the mean, and of some that have no marks."""
        marked = np.count_nonzero(x.any(-1), axis=tuple(axes))
        return not np.any((marked > 1) & (self.over(x, axes) & MEANS).any(-1))


def _independent(x: Marks, y: Marks) -> bool:
    """Whether no element has the mean over a step while that of the other reads its noise."""
    for scale in (1, BEFORE):
        mean, any_mark = MEAN * scale, NOW * scale | ALWAYS
        if np.any(((x & mean) != 0) & ((y & any_mark) != 0)) or np.any(((y & mean) != 0) & ((x & any_mark) != 0)):
            return False
    return True


PRODUCTS = {
    "multiply": _Readers._factors,
    "divide": _Readers._quotient,
    "where": _Readers._choice,
    "einsum": _Readers._contraction,
    "linear_recurrence": _Readers._recurrence,
    "prod": _Readers._product,
    "cumprod": _Readers._product,
    "solve": _Readers._solution,
    "solve_triangular": _Readers._solution,
    "gather": _Readers._gathering,
    "scatter": _Readers._gathering,
}
