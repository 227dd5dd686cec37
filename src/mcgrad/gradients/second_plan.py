"""The plan of second derivatives: for each pair of parameters the way that is open, and the outputs of a Program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from mcgrad.errors import ParameterError
from mcgrad.gradients.baselines import mean_pilot
from mcgrad.gradients.difference import DIFFERENCE
from mcgrad.gradients.method import Mean, Method
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score import SCORE
from mcgrad.gradients.second import Derivatives, Way
from mcgrad.ir.program import Output, Var
from mcgrad.ir.spaces import Values
from mcgrad.results.second import DIAG, FULL, Second

Pair = tuple[str, str]
Look = Callable[[Derivatives, Way, str, str], str]
THEN = (PATHWISE.name, SCORE.name, DIFFERENCE.name)  # what `hessian_method` may be
REMEDY = (
    "method= for the gradient that does not jump; the parameter as one of q, whose score serves; or mg.vibrato around "
    "the last step (docs/second-derivatives.md)"
)


@dataclass(frozen=True)
class SecondPlan:
    """Which second derivatives there are, and how each is estimated.

    Parameters
    ----------
    second : Second
    ways : dict of (str, str) to Way
        By the paths of two parameters; of products with a vector for each parameter of the result and of the vector.
    reasons : tuple of str
        Why ways other than the first choice were taken.
    """

    second: Second
    ways: Mapping[Pair, Way]
    reasons: tuple[str, ...] = ()

    @property
    def method(self) -> str | dict[str, str]:
        """The way in words if all have the same, else by pair of parameters."""
        names = {", ".join(pair): str(way) for pair, way in self.ways.items()}
        distinct = set(names.values())
        return names if len(distinct) > 1 else next(iter(distinct), PATHWISE.name)

    @property
    def described(self) -> Second:
        """What results say of them."""
        return replace(self.second, method=self.method)

    def outputs(self, problem: Problem) -> list[Output]:
        """Make the outputs of a Program."""
        made = Derivatives(problem)
        return [
            Output(name, self._made(made, entry), summed=all(map(problem.is_summed, entry)))
            for name, entry in self.second.names.items()
        ]

    def _made(self, made: Derivatives, entry: Sequence[str]) -> Var:
        if self.second.kind == FULL:
            a, b = entry
            return made.block(self.ways[a, b], a, b)
        (a,) = entry
        if self.second.kind == DIAG:
            return made.diagonal(self.ways[a, a], a)
        directions = made.problem.directions
        return made.product({b: self.ways[a, b] for b in directions}, a, directions)

    def pilot(self, problem: Problem) -> list[Mean]:
        """Return the inputs that are means of a pilot: the baseline of scores."""
        return mean_pilot(problem, ()) if any(way.scores for way in self.ways.values()) else []

    def moved(self) -> list[str]:
        """Return the paths of the parameters that are moved to other points."""
        found = [pair[0] if way.swapped else pair[1] for pair, way in self._differences()]
        return list(dict.fromkeys(found))

    def moving(self, problem: Problem) -> list[Var]:
        """Return the gradients of which there are differences."""
        made = Derivatives(problem)
        keys = dict.fromkeys((way.first, pair[1] if way.swapped else pair[0]) for pair, way in self._differences())
        return [made.gradient(first, path, baseline=False) for first, path in keys]

    def _differences(self) -> Iterator[tuple[Pair, Way]]:
        return ((pair, way) for pair, way in self.ways.items() if way.then == DIFFERENCE.name)


def second_plan(
    problem: Problem,
    methods: Mapping[str, Method],
    second: Second,
    asked: str | None,
    unseen: Look,
    looked_at: Sequence[Values] = (),
) -> SecondPlan:
    """Choose how each second derivative is estimated.

    Parameters
    ----------
    problem : Problem
    methods : dict of str to Method
        Of the gradient, by the path of the parameter.
    second : Second
    asked : {None, "pathwise", "score", "difference"}
        What the user names: None for a choice.
    unseen : callable
        ``unseen(made, way, a, b)`` says why draws refuse a way that equations do not; nothing where they do not.
    looked_at : sequence of dict of Input to array
        Values of the inputs at which a gradient may jump: of a batch those of some rows. By default the problem's own.

    Raises
    ------
    ParameterError
        No way is open to some pair, or not the one that the user names.

    Notes
    -----
    In this order, the first that serves: the pathwise derivative of the method's gradient, in either order of the two
    parameters, where that gradient does not jump; the pathwise derivative of the score-function gradient; the score
    twice; a difference of the method's gradient at moved parameters, or of the score-function gradient where the value
    jumps along draws.
    """
    made = Derivatives(problem, looked_at)
    ways: dict[Pair, Way] = {}
    reasons: dict[tuple[str, str], list[str]] = {}
    first = {path: methods.get(path, PATHWISE).base for path in problem.params}
    for a, b in _pairs(problem, second):
        refused: dict[str, str] = {}
        for way in _ways(first, problem, a, b):
            scores = way.scores and way.first != first[a] and way.then != DIFFERENCE.name
            if asked is not None and asked != (SCORE.name if scores else way.then):
                continue
            why = made.refusal(way, a, b) or unseen(made, way, a, b)
            if not why:
                ways[a, b] = way
                break
            refused.setdefault(str(way), why)
        else:
            _raise(a, b, asked, refused)
        for name, why in refused.items():
            reasons.setdefault((name, why), []).append(f"{a}, {b}")
    said = [f"{name} does not serve {'; '.join(pairs)}: {why}" for (name, why), pairs in reasons.items()]
    return SecondPlan(second, ways, tuple(said))


def _pairs(problem: Problem, second: Second) -> list[Pair]:
    if second.kind == FULL:
        return [(a, b) for a, b in second.entries]
    paths = [path for (path,) in second.entries]
    if second.kind == DIAG:
        return [(path, path) for path in paths]
    return [(a, b) for a in paths for b in problem.directions]


def _ways(first: Mapping[str, str], problem: Problem, a: str, b: str) -> Iterator[Way]:
    """Yield ways to estimate a block, the best first."""
    orders = [(a, False)] if a == b else [(a, False), (b, True)]
    for path, swapped in orders:
        yield Way(first[path], PATHWISE.name, swapped)
    for path, swapped in orders:
        if path in problem.own and first[path] != SCORE.name:
            yield Way(SCORE.name, PATHWISE.name, swapped)
    yield Way(SCORE.name, SCORE.name)
    for path, swapped in orders:
        yield Way(first[path], DIFFERENCE.name, swapped)
    for path, swapped in orders:
        if path in problem.own and first[path] != SCORE.name:
            yield Way(SCORE.name, DIFFERENCE.name, swapped)


def _raise(a: str, b: str, asked: str | None, refused: Mapping[str, str]) -> NoReturn:
    said = "; ".join(f"{way}: {why}" for way, why in refused.items())
    pair = f"{a} and {b}" if a != b else f"{a}"
    if asked is not None:
        others = "None, which chooses what serves" if asked != DIFFERENCE.name else REMEDY
        raise ParameterError("hessian_method", f"{asked!r} for second derivatives in {pair} ({said})", others)
    raise ParameterError("hessian", f"second derivatives in {pair}, for which nothing serves ({said})", REMEDY)
