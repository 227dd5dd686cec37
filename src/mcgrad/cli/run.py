"""One job of ``mcgrad run``: run it, with checkpoints, then write and print what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mcgrad.agreement import agreement
from mcgrad.checkpoint import Keeper, path_for
from mcgrad.cli.prepare import Complete, Ready
from mcgrad.errors import NonFiniteError
from mcgrad.estimator import Estimator
from mcgrad.job import Job
from mcgrad.result import Estimate
from mcgrad.run import Reached
from mcgrad.save import folder_for, mend, paths, save
from mcgrad.table import duration
from mcgrad.verification import REFERENCE, verify

Say = Callable[..., None]  # prints to standard output, with a rich style


@dataclass(frozen=True)
class Settings:
    """Options of the command line that are not the jobs'.

    Parameters
    ----------
    progress : bool
        Whether to show bars.
    verify : bool
    out : str or None
        Folder for all results, instead of the jobs' own.
    resume : bool
        Whether to go on where an earlier run stopped.
    every : float
        Seconds between checkpoints.
    """

    progress: bool = False
    verify: bool = False
    out: str | None = None
    resume: bool = False
    every: float = 2.0


def run_job(
    ready: Ready, settings: Settings, report: Callable[[int], None], say: Say, warn: Callable[[str], None]
) -> bool:
    """Run a job, write and print what comes out.

    Parameters
    ----------
    ready : Ready
    settings : Settings
    report : callable
        Told the number of draws done.
    say, warn : callable
        Print to standard output, with a rich style, and to standard error.

    Returns
    -------
    bool
        False where verification found something off.
    """
    job, estimator = ready.job, ready.estimator
    folder_for(job.out, job.place.key("out"))
    threads = f"{job.threads} thread{'s' * (job.threads > 1)}"
    say(f"{job.name}: {job.place.file}", style="bold")
    say(
        f"{estimator.backend}, {threads}, {estimator.dtype}, compiled or loaded in {duration(ready.seconds)}",
        style="dim",
    )
    if ready.note:
        say(ready.note)
    say()
    estimate, paths = _estimated(ready, settings.every, report, warn)
    say(str(estimate))
    if job.compare and estimator.backend != REFERENCE:
        _compare(job, estimator, estimate, say)
    ok = _verified(job, say) if settings.verify else True
    say(f"\nwrote {' and '.join(map(_shown, paths))}", style="dim")
    return ok


def pass_over(complete: Complete, settings: Settings, say: Say) -> bool:
    """Say that a job is complete, and verify it if that is asked for; return what `run_job` does."""
    job = complete.job
    path_for(job.out).unlink(missing_ok=True)
    say(f"{job.name}: {job.place.file}", style="bold")
    say(f"complete already: {_shown(complete.path)}")
    if mend(complete.estimate, job.out):
        say(f"wrote {_shown(paths(job.out)[1])} again, which was damaged or not there")
    return _verified(job, say) if settings.verify else True


def _estimated(
    ready: Ready, every: float, report: Callable[[int], None], warn: Callable[[str], None]
) -> tuple[Estimate, tuple[Path, Path]]:
    """Run with checkpoints and write the results; what stops it leaves a checkpoint."""
    job = ready.job
    keeper = Keeper(path_for(job.out), ready.identity, every, warn)

    def watch(reached: Reached) -> None:
        report(reached.stop)
        keeper(reached)

    try:
        estimate = ready.estimator.watched(job.n, job.seed, watch=watch, reached=ready.reached)
        paths = save(estimate, job.out)
    except NonFiniteError:  # and would be again
        keeper.remove()
        raise
    except BaseException:
        keeper.flush()
        if keeper.written:
            warn(f"{job.name}: {keeper.written:,} of {job.n:,} draws are kept; --resume goes on from there")
        raise
    keeper.remove()
    return estimate, paths


def _compare(job: Job, estimator: Estimator, estimate: Estimate, say: Say) -> None:
    """Say how far the result is from the NumPy reference on the same draws, and how much faster it came."""
    reference = job.estimator(REFERENCE)
    n = max(job.n_compare // estimator.group, 2) * estimator.group
    reference(2 * estimator.group, job.seed)
    right = reference(n, job.seed)
    found = agreement(right, estimator(n, job.seed))
    speed = estimate.draws_per_second / right.draws_per_second
    say(
        f"\nagainst the {REFERENCE} reference on the same first {n:,} draws: largest difference "
        f"{found.z:.2g} standard errors, {found.ulps:.3g} ulps ({found.worst}){'' if found.ok else ': NOT OK'}\n"
        f"the reference took {duration(right.seconds)} ({right.draws_per_second:.3g} draws/s); "
        f"{estimator.backend} is {speed:.3g} times as fast",
        style=None if found.ok else "red",
    )


def _verified(job: Job, say: Say) -> bool:
    with job.located():
        found = verify(job.integrand, job.q, job.n_compare, **job.problem, seed=job.seed)
    say(f"\n{found}", style=None if found.ok else "red")
    return found.ok


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
