"""``mcgrad run`` and ``mcgrad explain``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mcgrad.compare import compare
from mcgrad.errors import ParameterError
from mcgrad.estimator import Estimator
from mcgrad.job import Job
from mcgrad.progress import reporting
from mcgrad.result import Estimate
from mcgrad.save import folder_for, save
from mcgrad.table import duration
from mcgrad.verification import REFERENCE, verify


def explain_jobs(jobs: list[Job]) -> None:
    """Print the Program, the backend and the source of each job."""
    for job in jobs:
        if len(jobs) > 1:
            print(f"# {job.name}")
        print(job.estimator().explain())


def run_jobs(jobs: list[Job], progress: bool, check: bool, out: str | None) -> bool:
    """Run each job, print and write what comes out.

    Parameters
    ----------
    jobs : list of Job
    progress : bool
        Whether to show a bar.
    check : bool
        Whether to verify.
    out : str or None
        Folder for all results, instead of the jobs' own.

    Returns
    -------
    bool
        False where verification found something off.
    """
    if out is not None:
        jobs = [replace(job, out=Path(out) / job.out.name) for job in jobs]
        if len({job.out for job in jobs}) < len(jobs):
            raise ParameterError("--out", repr(out), "jobs whose results have different names; give them a name")
    compiled = [_timed(job) for job in jobs]  # all are traced and compiled before any runs
    for job in jobs:
        folder_for(job.out, job.place.key("out") if out is None else "--out")
    fine = [_run(job, *timed, progress, check) for job, timed in zip(jobs, compiled, strict=True)]
    return all(fine)


def _timed(job: Job) -> tuple[Estimator, float]:
    """Return the estimator of a job, and how long it took to make."""
    start = time.perf_counter()
    return job.estimator(), time.perf_counter() - start


def _run(job: Job, estimator: Estimator, seconds: float, progress: bool, check: bool) -> bool:
    say = Console(highlight=False, soft_wrap=True, markup=False).print
    threads = f"{job.threads} thread{'s' * (job.threads > 1)}"
    say(f"{job.name}: {job.place.file}", style="bold")
    say(f"{estimator.backend}, {threads}, {estimator.dtype}, compiled or loaded in {duration(seconds)}\n", style="dim")
    with reporting(progress, job.n, job.name) as report:
        estimate = estimator(job.n, job.seed, progress=report or False)
    say(str(estimate))
    if job.compare and estimator.backend != REFERENCE:
        _compare(job, estimator, estimate, say)
    ok = True
    if check:
        with job.located():
            found = verify(job.integrand, job.q, job.n_compare, **job.problem, seed=job.seed)
        say(f"\n{found}", style=None if found.ok else "red")
        ok = found.ok
    say(f"\nwrote {' and '.join(_shown(path) for path in save(estimate, job.out))}", style="dim")
    return ok


def _compare(job: Job, estimator: Estimator, estimate: Estimate, say: Callable[..., None]) -> None:
    """Say how far the result is from the NumPy reference on the same draws, and how much faster it came."""
    reference = job.estimator(REFERENCE)
    reference(2, job.seed)
    right = reference(job.n_compare, job.seed)
    found = compare(right, estimator(job.n_compare, job.seed))
    speed = estimate.draws_per_second / right.draws_per_second
    say(
        f"\nagainst the {REFERENCE} reference on the same first {job.n_compare:,} draws: largest difference "
        f"{found.z:.2g} standard errors, {found.ulps:.3g} ulps ({found.worst}){'' if found.ok else ': NOT OK'}\n"
        f"the reference took {duration(right.seconds)} ({right.draws_per_second:.3g} draws/s); "
        f"{estimator.backend} is {speed:.3g} times as fast",
        style=None if found.ok else "red",
    )


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
