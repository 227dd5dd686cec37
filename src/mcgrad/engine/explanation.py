"""What an Estimator runs, as text: the backend, the Program, and the source that was compiled."""

from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Dispatched


def explanation(derived: Derivation, dispatched: Dispatched, threads: int) -> str:
    """Return the text of `Estimator.explain`."""
    running, program, plan = dispatched.running, derived.program, derived.plan
    reason = f" ({plan.reason})" if plan.reason else ""
    return "\n".join(
        [
            f"backend: {running.backend.name} ({dispatched.reason()})",
            f"threads: {threads}, dtype: {derived.dtype}",
            *(f"device: {device}" for device in getattr(running.kernel, "devices", ())),
            *([f"batch: {derived.batch}"] if derived.batch else []),
            *([f"draws: from {derived.proposal}, with the weights q / proposal"] if derived.proposal else []),
            f"work: about {program.work() / derived.groups.size:,.0f} multiplications a draw",
            f"gradient by {plan.method}{', in antithetic pairs' * plan.antithetic}{reason}",
            "",
            str(program),
            "",
            running.kernel.source(),
        ]
    )
