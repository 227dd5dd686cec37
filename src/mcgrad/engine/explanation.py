"""What an Estimator runs, as text: the backend, the Program, and the source that was compiled."""

from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Dispatched
from mcgrad.gradients.controls import Controls
from mcgrad.gradients.second_plan import SecondPlan
from mcgrad.inputs.control import SAMPLE
from mcgrad.ir.ops import VIEWS
from mcgrad.ir.program import Program
from mcgrad.trace.unrolled import MOST


def controls_line(controls: Controls) -> str:
    """Say which control variates there are, where their coefficients come from, and what they add to the outputs."""
    how = "corrected by the same draws" if controls.coefficients == SAMPLE else "of a pilot alone"
    products = sum(entry.products for entry in controls.entries)
    return (
        f"control variates: {', '.join(controls.names)}; coefficients {how}; averaged besides: "
        f"{controls.controls:,} controls and {products:,} products"
    )


def unrolled_lines(program: Program) -> list[str]:
    """Say so where a Program has very many equations, each of which is compiled by itself."""
    count = sum(var.op not in VIEWS for var in program.body())
    if count <= 3 * MOST:  # of a value with its gradient
        return []
    return [f"equations: {count:,}, which compile one by one; a Python loop whose iterations differ makes so many, and "
            "mg.scan makes one (docs/loops.md)"]  # fmt: skip


def second_lines(plan: SecondPlan) -> list[str]:
    """Say how second derivatives are estimated, and why not otherwise."""
    how = plan.method
    said = how if isinstance(how, str) else ", ".join(f"{pair}: {way}" for pair, way in how.items())
    return [f"second derivatives by {said}", *(f"  {reason}" for reason in plan.reasons)]


def explanation(derived: Derivation, dispatched: Dispatched, threads: int) -> str:
    """Return the text of `Estimator.explain`."""
    running, program, plan = dispatched.running, derived.program, derived.plan
    reason = f" ({plan.reason})" if plan.reason else ""
    gradient = f"gradient by {plan.method}" if derived.wrt else "the value alone"
    return "\n".join(
        [
            f"backend: {running.backend.name} ({dispatched.reason()})",
            f"threads: {threads}, dtype: {derived.dtype}",
            *(f"device: {device}" for device in getattr(running.kernel, "devices", ())),
            *([f"batch: {derived.batch}"] if derived.batch else []),
            *([f"draws: from {derived.proposal}, with the weights q / proposal"] if derived.proposal else []),
            *([f"sampler: {derived.sampler}"] if derived.sampler.is_point_set else []),
            f"work: about {program.work() / derived.groups.size:,.0f} multiplications a draw",
            f"{gradient}{', in antithetic pairs' * plan.antithetic}{reason}",
            *(second_lines(plan.second) if plan.second else []),
            *([controls_line(derived.controls)] if derived.controls else []),
            *unrolled_lines(program),
            "",
            str(program),
            "",
            running.kernel.source(),
        ]
    )
