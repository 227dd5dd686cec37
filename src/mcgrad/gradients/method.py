"""The record of a method of estimating gradients: where it applies, its needs, its pilot, and its function.

`methods` lists the records; `plan` makes Programs of them, and `engine.auto`, `validate.compare` and
`validate.verification` read from them which methods suit an integrand and what may bias one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import NamedTuple

from mcgrad.gradients.needs import Need
from mcgrad.gradients.problem import Problem
from mcgrad.inputs.objectives import Objective
from mcgrad.ir.build import apply, reduce
from mcgrad.ir.program import Var
from mcgrad.ir.spaces import Input
from mcgrad.ir.vmap import vmap_noise

Pilot = Callable[[Problem, Sequence[str]], list["Mean"]]


class Mean(NamedTuple):
    """An input that is the mean of a Var over the draws of a pilot, or the ratio of two means.

    Parameters
    ----------
    input : Input
    of : Var
    over : Var, optional
    """

    input: Input
    of: Var
    over: Var | None = None


class Kind(Flag):
    """Kinds of integrands."""

    FUNCTION = auto()  # of the draw, which does not read the density of its own distribution
    OBJECTIVE = auto()  # reads that density, at one draw
    BOUND = auto()  # reads it at several draws
    ANY = FUNCTION | OBJECTIVE | BOUND

    @classmethod
    def of(cls, f: object) -> Kind:
        """Return the kind of an integrand."""
        if not isinstance(f, Objective):
            return cls.FUNCTION
        return cls.OBJECTIVE if f.draws == 1 else cls.BOUND


@dataclass(frozen=True, slots=True)
class ControlVariate:
    """A term of mean zero that a method subtracts, so that its variance becomes less.

    Parameters
    ----------
    name : str
        Follows the method's name and a plus: "score+mean".
    apply : callable
        As `Method.apply`: the gradients of that method less the control variate.
    pilot : callable, optional
        As `Method.pilot`.
    grouped : bool
        As `Method.grouped`.
    """

    name: str
    apply: Callable[..., list[Var]]
    pilot: Pilot | None = None
    grouped: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of estimating the gradient of an expectation.

    Parameters
    ----------
    name : str
        What `method=` takes.
    apply : callable
        ``apply(problem, wrt)`` makes the gradients in the parameters at some paths, of one draw; where `grouped`
        ``apply(problem, wrt, k)`` makes their means over k draws.
    kinds : Kind
        The integrands that it is for; "auto" and `compare` leave it out for others.
    needs : tuple of Need
        What it asks of integrand and distribution: each raises a ParameterError where that is not so.
    biased_by : str
        What makes it biased without being refused: a sentence that `verify` prints where it is.
    follows_draw : bool
        Whether it differentiates draws with respect to the parameters, so that jumps are left out.
    of_integrand : bool
        Whether it applies to parameters that only the integrand has.
    by_draws : bool
        Whether the value that it differentiates takes the entropy from the draws, even where it has a closed form.
    grouped : bool
        Whether k draws are averaged together, as they share something.
    moves : bool
        Whether it evaluates the integrand at moved parameters. `engine.steps` chooses the places beforehand.
    pilot : callable, optional
        ``pilot(problem, wrt)``: means over a few draws of their own, which are inputs of the gradients.
    check : callable, optional
        ``check(problem, wrt)`` looks for what biases it in the user's functions, raises or warns.
    controls : tuple of ControlVariate
        Those that it may have.
    base : str
        Its name without control variate: methods of one base estimate the gradient by one formula.
    """

    name: str
    apply: Callable[..., list[Var]]
    kinds: Kind = Kind.ANY
    needs: tuple[Need, ...] = ()
    biased_by: str = ""
    follows_draw: bool = False
    of_integrand: bool = False
    by_draws: bool = False
    grouped: bool = False
    moves: bool = False
    pilot: Pilot | None = None
    check: Callable[[Problem, Sequence[str]], None] | None = None
    controls: tuple[ControlVariate, ...] = ()
    base: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.base or self.name)

    @property
    def is_controlled(self) -> bool:
        """Whether it has a control variate."""
        return self.name != self.base

    def __str__(self) -> str:
        return self.name

    def gradient(self, problem: Problem, wrt: Sequence[str], k: int = 1) -> list[Var]:
        """Make the gradients in the parameters at some paths: their means over k draws.

        Raises
        ------
        ParameterError
            What it needs is not so.
        """
        for need in self.needs:
            need(problem, wrt, self.base)
        return self.apply(problem, wrt, k) if self.grouped else averaged(self.apply(problem, wrt), k)

    def suits(self, f: object) -> bool:
        """Whether an integrand is of a kind that it is for."""
        return Kind.of(f) in self.kinds

    def controlled(self) -> list[Method]:
        """Return this method with each of the control variates that it may have."""
        return [
            replace(self, name=f"{self.name}+{c.name}", apply=c.apply, pilot=c.pilot, grouped=c.grouped, controls=())
            for c in self.controls
        ]


def averaged(roots: Sequence[Var], k: int) -> list[Var]:
    """Make the means of roots over k draws."""
    if k == 1:
        return list(roots)
    return [apply("multiply", reduce("sum", x, (0,)), 1 / k) for x in vmap_noise(roots, k)]
