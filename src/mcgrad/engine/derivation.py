"""From the arguments of an Estimator to the Program that it runs, which any backend may run.

f is traced at q, a plan gives each parameter a method, the methods make the Program of the value and of the
gradient. A `Derivation` is that Program and what a run of it needs besides; a `Runner` averages it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from mcgrad.arrays import all_to_host
from mcgrad.backends.host_values import wide_inputs
from mcgrad.distributions.base import Distribution
from mcgrad.engine import auto_control
from mcgrad.engine.auto import planned
from mcgrad.engine.groups import Groups
from mcgrad.engine.options import Options, Request
from mcgrad.engine.overruns import Overruns
from mcgrad.engine.pilots import Pilots
from mcgrad.engine.unseen_kinks import UnseenKinks
from mcgrad.engine.values import Inputs
from mcgrad.errors import ParameterError
from mcgrad.gradients.common_noise import with_common_noise
from mcgrad.gradients.controls import Controls, controlled
from mcgrad.gradients.coverage import check_coverage
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.plan import AUTO, Plan
from mcgrad.gradients.point_set import with_points
from mcgrad.gradients.problem import Problem, known_arrays
from mcgrad.gradients.second_plan import SecondPlan, second_plan
from mcgrad.gradients.vibrato_check import check_vibrato
from mcgrad.inputs import arguments, second
from mcgrad.inputs.batch import Batch, of_first_row, rows_of
from mcgrad.inputs.control import AUTO as AUTO_CONTROL, PILOT, SAMPLE, names as named_controls
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.proposal import Proposal
from mcgrad.inputs.sampler import PLAIN, Sampler
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input, Space, named, of_space, param
from mcgrad.results.components import Components
from mcgrad.results.pairs import pairs
from mcgrad.results.second import NOTHING, Second

ROWS = 8  # of a batch, in which kinks are looked for before second derivatives are taken


@dataclass(frozen=True, eq=False)
class Derivation:
    """The Program of f, q and a plan, and everything else that its runs need.

    Parameters
    ----------
    name : str
        How f and q print.
    q : Distribution
    inputs : Inputs
        Values of parameters and data, which a call may change.
    dtype : {"float32", "float64"}
    plan : Plan
        The method of each parameter.
    program : Program
        Of the value and the gradient.
    components : Components
        Of its result.
    groups : Groups
        Groups of draws that one draw of the Program averages.
    pilots : Pilots
        Compute baselines, and the points of differences, before a run.
    batch : Batch or None
        Its rows, where there are many.
    proposal : str
        How what draws come from in place of q prints; empty where they are q's own.
    controls : Controls or None
        Control variates of the Program.
    sampler : Sampler
        What draws are made of.
    overruns : Overruns or None
        The bounded loops that draws may not have ended.
    """

    name: str
    q: Distribution
    inputs: Inputs
    dtype: str
    plan: Plan
    program: Program
    components: Components
    groups: Groups
    pilots: Pilots
    batch: Batch | None
    proposal: str = ""
    controls: Controls | None = None
    sampler: Sampler = PLAIN
    overruns: Overruns | None = None

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set the fields; earlier pickles have no batches, proposals, controls, samplers or loops that overrun."""
        added = {"batch": None, "proposal": "", "controls": None, "sampler": PLAIN, "overruns": None}
        vars(self).update(added | dict(state))

    @classmethod
    def of(cls, request: Request) -> Self:
        """Trace f and derive the Program.

        Parameters
        ----------
        request : Request

        Raises
        ------
        ParameterError, TraceError
            As `Estimator`.
        """
        f, options = request.f, request.options
        q = arguments.distribution(f, request.q)
        proposal = Proposal.of(options.proposal, f, q)
        by_row = rows_of(options.params, options.data, options.batched_params, options.batched_data, f, proposal)
        params = arguments.parameters(options.params, q, {name.path for name in by_row if name.space is Space.PARAM})
        data = arguments.data(
            options.data,
            {**q.params, **(options.params or {})},
            {name.path for name in by_row if name.space is Space.DATA},
        )
        cotangent, direction = arguments.cotangent(options.cotangent), second.direction(options.hvp)
        known = {**known_arrays(f, data, cotangent, proposal), **named(direction, Space.DIRECTION)}
        dtype = arguments.dtype(options.dtype) or arguments.common_dtype(q, options.params or {}, known.values())
        for name in by_row:
            if name in known and known[name].dtype.kind != "f":
                known[name] = data[name.path] = arguments.as_floats(name.path, known[name], dtype)
        batch = Batch.of(q, {**named(params), **known}, by_row, options.reduce, options.common_noise)
        if batch and options.output == "device":
            raise ParameterError("output", "'device' of a batch", "'host'")
        if batch:
            batch = batch.with_inputs(Input(Space.DIRECTION, path) for path in direction if param(path) in batch.by_row)
        if proposal:
            proposal.check(dtype)
        problem = _problem(f, q, params, data, batch, cotangent, proposal)
        if proposal:
            check_coverage(problem)
        if batch:
            batch = batch.with_inputs(problem.weights_by_row)
        inputs = Inputs(q, params, data, known, dtype, batch)
        wrt = arguments.selected(options.wrt, list(problem.params))
        check_vibrato(problem, wrt)
        shapes = {path: problem.params[path].shape for path in wrt}
        lead = {path: batch.shape for path in direction if param(path) in batch.by_row} if batch else {}
        further = second.second(second.hessian(options.hessian), direction, wrt, shapes, lead)
        problem.along(
            direction if not batch else of_space(batch.first(named(direction, Space.DIRECTION)), Space.DIRECTION)
        )
        inputs.read(problem.data)
        plan = planned(request, problem, wrt, inputs)
        marks = options.covariance, options.antithetic, proposal is not None
        if (plan.covariance, plan.antithetic, plan.weighted) != marks:
            plan = replace(plan, covariance=marks[0], antithetic=marks[1], weighted=marks[2])
        if (plan.second.second if plan.second else NOTHING) != further:
            plan = replace(plan, second=_with_second(options, inputs, problem, plan, further))
        program = plan.program(problem, wrt, dtype)  # raises, so before the checks that warn
        refuse_with_omitted(options)
        controls: Controls | None = None
        if options.control:
            refuse_with_controls(options, batch)
            plan, program, controls = _with_controls(request, plan, problem, wrt, program, inputs)
        if options.method != AUTO and request.plan is None:  # no pilot has checked for jumps
            plan.check(problem, wrt)
        if batch and batch.common_noise:
            program = with_common_noise(program, batch.size, pairs(batch.size))
        if not options.errors:
            program = program.without_errors()
        sampler = options.of_sampler
        if sampler.is_point_set and batch and batch.common_noise:
            given = f"{sampler.name!r} with common_noise=True"
            raise ParameterError("sampler", given, "one of the two: rows then have shifts of their own")
        if sampler.is_point_set and batch and options.covariance:
            given = f"True with sampler {sampler.name!r} and a batch"
            raise ParameterError("covariance", given, "estimates of single problems, or independent draws")
        if sampler.is_point_set:
            program = with_points(program, sampler.generator)
        inputs.own(frozenset(wide_inputs(program)))
        return cls(
            name=repr(f) if isinstance(f, Objective) else f"{arguments.called(f)}, {q!r}",
            proposal=repr(proposal.p) if proposal else "",
            q=q,
            inputs=inputs,
            dtype=dtype,
            plan=plan,
            program=program,
            components=Components(
                shapes,
                problem.shapes,
                contracted=not problem.is_whole,
                covariance=options.covariance,
                weighted=plan.weighted,
                second=plan.second.described if plan.second else further,
            ),
            groups=Groups(plan.draws * problem.draws),
            pilots=Pilots.of(plan, problem, wrt, dtype, controls),
            batch=batch,
            controls=controls,
            sampler=sampler,
            overruns=Overruns.of(problem, dtype),
        )

    def whole(self, draws: int) -> int:
        """Return a number of draws that a run may have: the largest that is not more, or the least of all."""
        return self.sampler.whole(draws, self.groups.size)

    @property
    def wrt(self) -> tuple[str, ...]:
        """Paths of the parameters to differentiate in."""
        return tuple(self.components.shapes)

    @property
    def of_result(self) -> Program:
        """The Program of the value and the gradient alone, without outputs that are there for control variates."""
        return Program(self.program.outputs[: 1 + len(self.wrt)], self.dtype) if self.controls else self.program

    def __str__(self) -> str:
        params = ", ".join(f"{path}: {array.shape}" for path, array in self.inputs.params.items())
        data = ", ".join(f"{name}: {array.shape}" for name, array in self.inputs.data.items())
        parts = [
            self.name,
            *([f"proposal={self.proposal}"] if self.proposal else []),
            *([f"params={{{params}}}"] if params else []),
            *([f"data={{{data}}}"] if data else []),
            f"wrt=({', '.join(self.wrt)})",
            f"method={self.plan.method!r}",
            *([f"control=({', '.join(self.controls.names)})"] if self.controls else []),
            *([f"second derivatives={self.plan.second.method!r}"] if self.plan.second else []),
            *(["antithetic=True"] if self.plan.antithetic else []),
            f"dtype={self.dtype}",
            *([f"sampler={self.sampler.name!r}"] if self.sampler.is_point_set else []),
        ]
        return ", ".join(parts)


def _with_controls(
    request: Request, plan: Plan, problem: Problem, wrt: tuple[str, ...], program: Program, inputs: Inputs
) -> tuple[Plan, Program, Controls | None]:
    """Return the plan and the Program with control variates: those asked for, or those that a pilot chooses."""
    names, coefficients = (
        request.options.control,
        request.options.coefficients or (PILOT if problem.has_rows else SAMPLE),
    )
    if names == (AUTO_CONTROL,):
        if request.plan is None:  # no pilot has chosen them
            found, reason = auto_control.chosen(plan, problem, wrt, program, coefficients, inputs.first_row())
            plan = replace(plan, controls=found, reason="; ".join(filter(None, (plan.reason, reason))))
        names = plan.controls
    if not names:
        return plan, program, None
    if problem.has_rows:  # results of a batch have no record of controls but this
        said = f"control variates {', '.join(named_controls(names))}"
        plan = replace(plan, reason="; ".join(dict.fromkeys(filter(None, (plan.reason, said)))))
    return plan, *controlled(plan, problem, wrt, program, names, coefficients)


def refuse_with_controls(options: Options, batch: Batch | None) -> None:
    """Refuse options that control variates do not go with.

    Raises
    ------
    ParameterError
    """
    for name, given in (("covariance", options.covariance), ("antithetic", options.antithetic)):
        if given:
            raise ParameterError(name, "True with control variates", "False, or control=None")
    if batch is not None and options.coefficients == SAMPLE:
        raise ParameterError("coefficients", f"{SAMPLE!r} with control variates of a batch", repr(PILOT))
    if options.output == "device":
        raise ParameterError("output", "'device' with control variates", "'host', or control=None")


def _with_second(options: Options, inputs: Inputs, problem: Problem, plan: Plan, second: Second) -> SecondPlan | None:
    """Return how second derivatives are estimated, if there are any.

    Raises
    ------
    ParameterError
        An option does not go with them, or nothing serves.
    """
    if not second:
        return None
    rows = [all_to_host(values) for values in inputs.few_rows(ROWS)]
    unseen = UnseenKinks(problem, rows, options.hessian_method == PATHWISE.name)
    return second_plan(problem, plan.methods, second, options.hessian_method, unseen, rows)


def refuse_with_omitted(options: Options) -> None:
    """Refuse what the draws that are left do not average, where those that are not finite are left out.

    The mean of such draws is that of f given that it is finite only where draws are independent, and weigh the same:
    means of controls are known of all draws, weights are of q and not of q where f is finite, and a pair is left out
    for one of its two.

    Raises
    ------
    ParameterError
    """
    if options.nonfinite != "omit":
        return
    for name, given in (
        ("control variates", bool(options.control)),
        ("a proposal", options.proposal is not None),
        ("antithetic=True", options.antithetic),
    ):
        if given:
            accepted = '"propagate" or "raise": the mean of the draws that are left is another then'
            raise ParameterError("nonfinite", f"'omit' with {name}", accepted)


def _problem(
    f: Any,
    q: Distribution,
    params: dict[str, Any],
    data: dict[str, Any],
    batch: Batch | None,
    cotangent: dict[str, Any] | None,
    proposal: Proposal | None,
) -> Problem:
    """Trace f: of a batch at the first row."""
    if batch is None:
        return Problem(f, q, params, data, cotangent=cotangent, proposal=proposal)
    f, q = of_first_row(f, q)
    proposal = proposal.of_first_row() if proposal else None
    of_row = batch.first({**named(params), **named(data, Space.DATA)})
    return Problem(f, q, of_space(of_row, Space.PARAM), of_space(of_row, Space.DATA), batch, cotangent, proposal)
