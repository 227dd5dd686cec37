"""Which estimator each parameter has, and the Program that they make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.difference import difference
from mcgrad.gradients.measure_valued import measure_valued
from mcgrad.gradients.pathwise import pathwise
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score import BASELINES, averaged, leave_one_out, pilot_outputs, score
from mcgrad.gradients.stl_dreg import dreg, stl
from mcgrad.ir.program import Output, Program, Var
from mcgrad.simplify.passes import simplify

VALUE = "value"
PATHWISE, SCORE, DIFFERENCE, AUTO, LEAVE_ONE_OUT = "pathwise", "score", "difference", "auto", "leave_one_out"
GROUP = 8  # draws that share their baselines, where nothing else is asked for
ESTIMATORS: dict[str, Callable[[Problem, Sequence[str]], list[Var]]] = {
    PATHWISE: pathwise,
    SCORE: score,
    "measure_valued": measure_valued,
    "stl": stl,
    "dreg": dreg,
    DIFFERENCE: difference,
}
BY_DRAWS = ("stl", "dreg")  # take the entropy from the draws
OF_INTEGRAND = (PATHWISE, DIFFERENCE)  # apply to parameters that only the integrand has

Method = str | Mapping[str, str]  # one for all parameters, or by the names of some


@dataclass(frozen=True, slots=True)
class Choice:
    """An estimator of the gradient in a parameter: its name, and the baseline of a score function."""

    method: str
    baseline: str | None = None

    def __str__(self) -> str:
        return f"{self.method}+{self.baseline}" if self.baseline else self.method


@dataclass(frozen=True)
class Plan:
    """The estimators of a gradient.

    Parameters
    ----------
    choices : dict of str to Choice
        For each parameter of q and of the integrand, by dotted path.
    wrt : tuple of str
        Paths of the parameters to differentiate in.
    k : int
        Draws that share their leave-one-out baselines.
    reason : str
        Why these were chosen, where mcgrad chose.
    """

    choices: dict[str, Choice]
    wrt: tuple[str, ...] = ()
    k: int = GROUP
    reason: str = ""

    @property
    def method(self) -> str | dict[str, str]:
        """One estimator if all parameters have the same, else by path; a baseline stands after a plus.

        Of the parameters to differentiate in, if there are any.
        """
        names = {path: str(self.choices[path]) for path in self.wrt or self.choices}
        distinct = set(names.values())
        return names if len(distinct) > 1 else next(iter(distinct), PATHWISE)

    def program(self, problem: Problem, wrt: Sequence[str], dtype: str) -> Program:
        """Make the Program of the value and of the gradient.

        Parameters
        ----------
        problem : Problem
        wrt : sequence of str
            Paths of the parameters to differentiate in.
        dtype : {"float32", "float64"}
        """
        k = self.group
        by_draws = any(choice.method in BY_DRAWS for choice in self.choices.values()) and problem.draws == 1
        value = problem.integrand(problem.params, problem.params, by_draws)
        grads: dict[str, Var] = {}
        for choice, paths in self._together(wrt).items():
            if choice.baseline == LEAVE_ONE_OUT:
                found = leave_one_out(problem, paths, k)
            elif choice.method == SCORE:
                found = averaged(score(problem, paths, choice.baseline), k)
            else:
                found = averaged(ESTIMATORS[choice.method](problem, paths), k)
            grads.update(zip(paths, found, strict=True))
        (mean,) = averaged([value], k)
        return simplify(Program((Output(VALUE, mean), *(Output(path, grads[path]) for path in wrt)), dtype))

    def pilot(self, problem: Problem, wrt: Sequence[str], dtype: str) -> Program | None:
        """Make the Program whose means the baselines are made of, or None where there are none."""
        wanted = {path: self.choices[path].baseline for path in wrt if path in self.choices}
        optimal = [path for path, baseline in wanted.items() if baseline == "optimal"]
        outputs = pilot_outputs(problem, "mean" in wanted.values(), optimal) if {*wanted.values()} - {None} else []
        return simplify(Program(tuple(outputs), dtype)) if outputs else None

    @property
    def group(self) -> int:
        """Draws that are averaged inside one draw of the Program, besides those of the integrand itself."""
        return self.k if any(choice.baseline == LEAVE_ONE_OUT for choice in self.choices.values()) else 1

    def moved(self, wrt: Sequence[str]) -> list[str]:
        """The paths whose gradient is a central difference."""
        return [path for path in wrt if path in self.choices and self.choices[path].method == DIFFERENCE]

    def direct(self, wrt: Sequence[str]) -> list[str]:
        """The paths whose gradient is pathwise: derivatives of the value itself."""
        return [path for path in wrt if self.choices[path].method == PATHWISE]

    def along(self, wrt: Sequence[str]) -> list[str]:
        """The paths whose gradient is taken along draws."""
        return [path for path in wrt if self.choices[path].method in (PATHWISE, *BY_DRAWS)]

    def _together(self, wrt: Sequence[str]) -> dict[Choice, list[str]]:
        """The paths that share an estimator, which one derivation serves."""
        groups: dict[Choice, list[str]] = {}
        for path in wrt:
            groups.setdefault(self.choices.get(path, Choice(PATHWISE)), []).append(path)
        return groups


def plan(
    method: Any, baseline: Any, k: int, own: Iterable[str], others: Iterable[str] = (), wrt: Iterable[str] = ()
) -> Plan:
    """Read what the user asks for.

    Parameters
    ----------
    method : str, or dict from a parameter's name (or the beginning of several, at a dot) to str
        A name as "score", or with its baseline as "score+mean". Parameters that a dict does not name are pathwise.
    baseline : str or None
        Of all score functions that do not name theirs.
    k : int
        At least 2.
    own, others : iterable of str
        The parameters of q, and those that only the integrand has. Others are "pathwise" or "difference".
    wrt : iterable of str
        The parameters to differentiate in.

    Raises
    ------
    ParameterError
        Names `method`, `baseline` or `k`.
    """
    own, others = tuple(own), tuple(others)
    if baseline is not None and (not isinstance(baseline, str) or baseline not in BASELINES):
        raise ParameterError("baseline", shown(baseline), " or ".join(map(repr, (None, *BASELINES))))
    choices = dict.fromkeys([*own, *others], Choice(PATHWISE))
    if isinstance(method, Mapping):
        for name, one in method.items():
            try:
                found = tree.select([*own, *others], str(name))
            except ParameterError as error:
                raise ParameterError("method", error.given, error.accepted) from None
            chosen = choice(one, baseline)
            for path in found:
                if path in others and chosen.method not in OF_INTEGRAND:
                    given = f"{str(chosen)!r} for {path}, a parameter that only the integrand has"
                    raise ParameterError("method", given, " or ".join(map(repr, OF_INTEGRAND)))
            choices |= dict.fromkeys(found, chosen)
    else:
        chosen = choice(method, baseline)
        choices |= dict.fromkeys(own if chosen.method not in OF_INTEGRAND else choices, chosen)
    if baseline is not None and not any(one.method == SCORE for one in choices.values()):
        raise ParameterError("baseline", f"{baseline!r} with method={shown(method)}", "a baseline with method='score'")
    return Plan(choices, tuple(wrt), k)


def choice(method: Any, baseline: str | None = None) -> Choice:
    """Read one method, such as "score" or "score+mean"."""
    if isinstance(method, str):
        name, plus, own = method.partition("+")
        if name == SCORE and own in BASELINES:
            return Choice(SCORE, own)
        if name in ESTIMATORS and not plus:
            return Choice(name, baseline if name == SCORE else None)
    accepted = [*ESTIMATORS, *(f"{SCORE}+{own}" for own in BASELINES), AUTO]
    raise ParameterError("method", shown(method), f"{', '.join(map(repr, accepted))}, or a dict of these by parameter")
