"""The plan of an estimate: the method of each parameter, and the Programs of the gradient and of its pilots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.antithetic import PAIR, of_pairs
from mcgrad.gradients.covariance import COVARIANCE, origin, products
from mcgrad.gradients.method import Mean, Method, averaged
from mcgrad.gradients.methods import BASELINES, METHODS, TABLE
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.second_plan import SecondPlan
from mcgrad.ir.build import apply
from mcgrad.ir.program import Output, Program, Var
from mcgrad.simplify.fixed_point import simplify

VALUE = "value"
WEIGHT = "importance weight"
AUTO = "auto"
MOST = 1 << 24  # elements of a Jacobian, and products of a covariance
GROUP = 8  # draws that share their baselines, where nothing else is asked for

MethodNames = str | Mapping[str, str]  # of one method for all parameters, or of methods by the names of parameters


@dataclass(frozen=True)
class Plan:
    """The methods of a gradient.

    Parameters
    ----------
    methods : dict of str to Method
        For each parameter of q and of the integrand, by dotted path.
    wrt : tuple of str
        Paths of the parameters to differentiate in.
    k : int
        Draws that are averaged together where a method averages several.
    reason : str
        Why these were chosen, where mcgrad chose.
    controls : tuple of str
        Control variates, where mcgrad chose them.
    covariance : bool
        Whether the Program has outputs for the covariance of the value.
    antithetic : bool
        Whether a draw of the Program is a pair of a draw and its mirror image.
    weighted : bool
        Whether it has one for the weights of a proposal's draws.
    second : SecondPlan, optional
        The second derivatives that it has, too.
    """

    methods: dict[str, Method]
    wrt: tuple[str, ...] = ()
    k: int = GROUP
    reason: str = ""
    covariance: bool = False
    controls: tuple[str, ...] = ()
    antithetic: bool = False
    weighted: bool = False
    second: SecondPlan | None = None

    @property
    def method(self) -> str | dict[str, str]:
        """The method's name if all parameters have the same, else names by path.

        Of the parameters to differentiate in, if there are any.
        """
        names = {path: self.methods[path].name for path in self.wrt or self.methods}
        distinct = set(names.values())
        return names if len(distinct) > 1 else next(iter(distinct), PATHWISE.name)

    @property
    def group(self) -> int:
        """Draws that are averaged inside one draw of the Program, besides those of the integrand itself."""
        return self.k if any(method.grouped for method in self.methods.values()) else 1

    @property
    def draws(self) -> int:
        """Draws that one draw of the Program takes, besides those of the integrand itself: of a pair, both."""
        return self.group * (PAIR if self.antithetic else 1)

    def paths(self, wrt: Sequence[str]) -> dict[Method, list[str]]:
        """Return the paths that share a method, which one derivation serves."""
        found: dict[Method, list[str]] = {}
        for path in wrt:
            found.setdefault(self.methods.get(path, PATHWISE), []).append(path)
        return found

    def program(self, problem: Problem, wrt: Sequence[str], dtype: str) -> Program:
        """Make the Program of the value and of the gradient.

        Parameters
        ----------
        problem : Problem
        wrt : sequence of str
            Paths of the parameters to differentiate in.
        dtype : {"float32", "float64"}

        Raises
        ------
        ParameterError
            A method does not apply.
        """
        return simplify(Program(tuple(self.outputs(problem, wrt, dtype)), dtype))

    def outputs(self, problem: Problem, wrt: Sequence[str], dtype: str) -> list[Output]:
        """Make the outputs of that Program, as they are before `simplify`."""
        by_draws = any(method.by_draws for method in self.methods.values()) and problem.draws == 1
        value = problem.integrand(problem.params, problem.params, by_draws) if problem.is_whole else problem.result
        check_size(problem, wrt, self.covariance)
        grads: dict[str, Var] = {}
        for method, paths in self.paths(wrt).items():
            grads.update(zip(paths, method.gradient(problem, paths, self.group), strict=True))
        (mean,) = averaged([value], self.group)
        outputs = [Output(VALUE, mean), *(Output(path, grads[path], summed=problem.is_summed(path)) for path in wrt)]
        further = self.second.outputs(problem) if self.second else []
        outputs += [replace(out, var=averaged([out.var], self.group)[0]) for out in further]
        weights = averaged([problem.weight(problem.fixed)], self.group) if self.weighted else []
        last = [Output(WEIGHT, weight) for weight in weights]
        if self.antithetic:
            both = [*of_pairs(Program((*outputs, *last), dtype)).outputs]
            outputs, last = both[: len(outputs)], both[len(outputs) :]
        if self.covariance:
            outputs.append(Output(COVARIANCE, products(problem, _whole(outputs[0]))))
        return [*outputs, *last]

    def pilot(self, problem: Problem, wrt: Sequence[str]) -> list[Mean]:
        """Return the inputs of the Program that are means of a pilot: none where nothing has such."""
        found = [origin(problem)] if self.covariance else []
        for method, paths in self.paths(wrt).items():
            if method.pilot is not None:
                found += method.pilot(problem, paths)
        return [*found, *(self.second.pilot(problem) if self.second else [])]

    def check(self, problem: Problem, wrt: Sequence[str]) -> None:
        """Have each method look for what biases it."""
        for method, paths in self.paths(wrt).items():
            if method.check is not None:
                method.check(problem, paths)

    def moved(self, wrt: Sequence[str]) -> list[str]:
        """Return the paths of the parameters that are moved to other points."""
        found = [path for path in wrt if path in self.methods and self.methods[path].moves]
        return list(dict.fromkeys([*found, *(self.second.moved() if self.second else [])]))

    def moving(self, problem: Problem) -> list[Var]:
        """Return what there are differences of, where that is more than the value."""
        found = self.second.moving(problem) if self.second else []
        return [problem.value, *found] if found else []

    def along(self, wrt: Sequence[str]) -> list[str]:
        """Return the paths whose gradient is taken along draws."""
        return [path for path in wrt if self.methods[path].follows_draw]


def _whole(out: Output) -> Var:
    """Return an output with its factor."""
    return out.var if out.scale is None else apply("multiply", out.var, out.scale)


def check_size(problem: Problem, wrt: Sequence[str], covariance: bool) -> None:
    """Refuse Jacobians and covariances that take more memory than there may be.

    Raises
    ------
    ParameterError
        Names the sizes.
    """
    entries, count = sum(problem.params[path].size for path in wrt), problem.result.size
    if covariance and count * (count + 1) // 2 > MOST:
        given = f"that of {count:,} numbers, of {count * (count + 1) // 2:,} products, and {MOST:,} are the most"
        raise ParameterError("covariance", given, "fewer numbers, or False")
    if problem.value.size > 1 and problem.value.size * entries > MOST:
        given = f"an integrand that returns {problem.value.size:,} numbers, and {entries:,} components to "
        given += f"differentiate in: a Jacobian of {problem.value.size * entries:,} elements, and {MOST:,} is the most"
        raise ParameterError("f", given, "fewer of either (wrt= names some), or the gradient of one sum: cotangent=")


def plan(
    method: Any, baseline: Any, k: int, own: Iterable[str], others: Iterable[str] = (), wrt: Iterable[str] = ()
) -> Plan:
    """Read what the user asks for.

    Parameters
    ----------
    method : str, or dict from a parameter's name (or the beginning of several, at a dot) to str
        A name as "score", or with its baseline as "score+mean". Parameters that a dict does not name are pathwise.
    baseline : str or None
        Of all methods that may have it and do not name theirs.
    k : int
        At least 2.
    own, others : iterable of str
        The parameters of q, and those that only the integrand has.
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
    methods = dict.fromkeys([*own, *others], PATHWISE)
    if isinstance(method, Mapping):
        for name, one in method.items():
            try:
                found = tree.select([*own, *others], str(name))
            except ParameterError as error:
                raise ParameterError("method", error.given, error.accepted) from None
            chosen = _method(one, baseline)
            for path in found:
                if path in others and not chosen.of_integrand:
                    given = f"{chosen.name!r} for {path}, a parameter that only the integrand has"
                    accepted = " or ".join(repr(each.name) for each in TABLE if each.of_integrand)
                    raise ParameterError("method", given, accepted)
            methods |= dict.fromkeys(found, chosen)
    else:
        chosen = _method(method, baseline)
        methods |= dict.fromkeys(methods if chosen.of_integrand else own, chosen)
    if baseline is not None and not any(one.is_controlled for one in methods.values()):
        accepted = f"a baseline with method={' or '.join(repr(each.name) for each in TABLE if each.controls)}"
        raise ParameterError("baseline", f"{baseline!r} with method={shown(method)}", accepted)
    return Plan(methods, tuple(wrt), k)


def _method(name: Any, baseline: str | None = None) -> Method:
    """Return the method of a name such as "score" or "score+mean"; with the baseline, where it has none and may."""
    if not isinstance(name, str) or name not in METHODS:
        accepted = f"{', '.join(map(repr, (*METHODS, AUTO)))}, or a dict of these by parameter"
        raise ParameterError("method", shown(name), accepted)
    return METHODS.get(f"{name}+{baseline}", METHODS[name])
