"""Run one prepared job of ``mcgrad run``: estimate with checkpoints, write and print the result, then check it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mcgrad.cli.board import COMPLETE, DONE, ELSEWHERE, OFF
from mcgrad.cli.executors import Workers
from mcgrad.cli.prepare import Complete, Ready
from mcgrad.cli.standard_streams import lost
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.shard import DrawsOfShard, Shard
from mcgrad.engine.until import UntilState
from mcgrad.errors import NonFiniteError, ParameterError
from mcgrad.inputs.batch import spread
from mcgrad.jobs import failure
from mcgrad.jobs.checkpoint import CheckpointWriter, is_of_others, path_for
from mcgrad.jobs.identity import AnyState
from mcgrad.jobs.job import Job
from mcgrad.jobs.output_lock import locked
from mcgrad.jobs.shardfile import save as save_shard, to_json
from mcgrad.jobs.signals import ends_the_process
from mcgrad.jobs.targets import refuse_other, refuse_others
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.files import folder_for, is_whole, mend, paths, save, save_elsewhere
from mcgrad.results.format import duration
from mcgrad.system.printable import near
from mcgrad.validate.agreement import agreement
from mcgrad.validate.rows import MOST, averaged
from mcgrad.validate.verification import REFERENCE, verified

Say = Callable[..., None]  # prints to standard output, with a rich style
Report = Callable[[int, int, str], None]  # called with the draws done, those expected, and a note on the error
Warn = Callable[[str], None]  # prints to standard error


@dataclass(frozen=True)
class Settings:
    """Options of the command line that are not options of jobs.

    Parameters
    ----------
    progress : bool
        Whether to show bars.
    verify : bool
    out : str or None
        Folder for all results, instead of the jobs' own.
    resume : bool
        Whether to continue earlier runs.
    every : float
        Seconds between checkpoints.
    force : bool
        Whether to overwrite files that mcgrad did not write.
    shard : Shard or None
        Which part of each run is worked out, if not all.
    workers : Workers or None
        What runs the jobs, if not the threads of this process.
    """

    progress: bool = False
    verify: bool = False
    out: str | None = None
    resume: bool = False
    every: float = 2.0
    force: bool = False
    shard: Shard | None = None
    workers: Workers | None = None


def run_job(ready: Ready, settings: Settings, report: Report, say: Say, warn: Warn) -> tuple[str, str]:
    """Run a job, write and print its result.

    Parameters
    ----------
    ready : Ready
    settings : Settings
    report : callable
        Called with the number of draws done, how many there are expected to be, and a note on the error.
    say, warn : callable
        Print to standard output, with a rich style, and to standard error.

    Returns
    -------
    state : str
        `DONE`; `OFF` where the comparison raised, or verification found a difference; `ELSEWHERE` where the results
        could not be written to their path.
    why : str
        Exception of the comparison or verification, or the path of the results.
    """
    job, estimator = ready.job, ready.estimator
    folder_for(job.out, job.location.key("out"))
    with locked(job.out, job.location.key("out"), warn):
        threads = f"{estimator.threads} thread{'s' * (estimator.threads > 1)}"
        where = settings.workers.describe() if settings.workers else threads
        say(f"{job.name}: {job.location.file}", style="bold")
        say(
            f"{estimator.backend}, {where}, {estimator.dtype}, compiled or loaded in {duration(ready.seconds)}",
            style="dim",
        )
        if ready.note:
            say(ready.note)
        say()
        estimate, state, why = _estimated(ready, settings, report, say, warn)
    checks: dict[str, Callable[[], bool]] = {}
    once = job.shard is None or job.shard.number == 1  # the others would find the same
    if estimate is not None and once and job.compare and estimator.backend != REFERENCE:
        checks["comparison with the reference"] = lambda: _compare(job, estimator, estimate, say)
    if settings.verify and once:
        checks["verification"] = lambda: _verified(job, say)
    return _all_held(checks, job, (state, why), warn)


def pass_over(complete: Complete, settings: Settings, say: Say, warn: Warn) -> tuple[str, str]:
    """Print that a job is complete already, and verify it with ``--verify``; returns are as of `run_job`."""
    job = complete.job
    say(f"{job.name}: {job.location.file}", style="bold")
    say(f"complete already: {near(complete.path)}")
    checks = {"completion of the results": lambda: _completed(job, settings.force, say, warn)}
    if settings.verify:
        checks["verification"] = lambda: _verified(job, say)
    return _all_held(checks, job, (COMPLETE, ""), warn)


def _completed(job: Job, force: bool, say: Say, warn: Warn) -> bool:
    """Remove the checkpoint of a complete job, and write its NPZ file again if that is missing or damaged.

    Files that mcgrad did not write are neither removed nor overwritten.
    """
    name, checkpoint, (result, arrays) = job.location.key("out"), path_for(job.out), paths(job.out)
    with locked(job.out, name, warn):
        if not is_of_others(checkpoint):
            with suppress(OSError):
                checkpoint.unlink()
        if not job.shard and not is_whole(job.out):
            refuse_other(arrays, result, name, force)
            mend(job.out)
            say(f"wrote {near(arrays)} again, which was damaged or not there")
    return True


def _estimated(
    ready: Ready, settings: Settings, report: Report, say: Say, warn: Warn
) -> tuple[Estimate | BatchEstimate | None, str, str]:
    """Run with checkpoints, print and write the result; an exception or a signal leaves a checkpoint."""
    job = ready.job
    writer = CheckpointWriter(path_for(job.out), ready.identity, settings.every, warn)

    workers = [f"{len(settings.workers)} workers"] if settings.workers else []

    def watch(so_far: AnyState) -> None:
        accuracy = so_far.accuracy if isinstance(so_far, UntilState) else None
        error = [f"error {accuracy.error:.2g}, tolerance {accuracy.tolerance:.2g}"] if accuracy else []
        report(ready.identity.drawn(so_far), ready.identity.expected(so_far), ", ".join([*error, *workers]))
        writer(so_far)

    try:
        output = _output(ready, watch, settings.workers)
        try:
            say(output.text)  # before writing the files, which may fail
        finally:
            state, why = _written(output, job, settings.force, say, warn)
    except NonFiniteError:  # a resumed run would raise it again
        writer.remove()
        raise
    except BaseException:
        writer.flush()
        if writer.written:
            kept = f"{writer.written:,}{'' if job.until else f' of {ready.expected:,}'} draws"
            warn(f"{job.name}: {kept} are kept; --resume goes on from there")
        raise
    if state == DONE:
        writer.remove()
    else:
        writer.flush()
    return output.estimate, state, why


class _Output(NamedTuple):
    """What a job has worked out: over the draws, its table, and how it is written as files and as JSON."""

    estimate: Estimate | BatchEstimate | None
    text: str
    save: Callable[[Path], Sequence[Path]]
    to_json: Callable[[], str]


def _output(ready: Ready, watch: Callable[[AnyState], None], workers: Workers | None) -> _Output:
    job, identity = ready.job, ready.identity
    if job.shard is None:
        executor = {"executor": workers.executor, "require_same": workers.require_same} if workers else {}
        whole = job.run(ready.estimator, watch, ready.resume, **executor)
        return _Output(whole, str(whole), partial(save, whole), whole.to_json)
    run = job.run_shard(ready.estimator, job.shard, watch, ready.resume)
    state, part = run.state, f"Shard {job.shard.number} of {job.shard.count}"
    kind = "draws" if isinstance(state, DrawsOfShard) else "replicates" if identity.of_points > 1 else "rows"
    of = f"{part}: {kind} {state.start:,} to {state.stop - 1:,}" if run.estimate else f"{part}: nothing to do"
    text = "\n".join([f"{of}.", *([] if run.estimate is None else ["", str(run.estimate)])])
    return _Output(run.estimate, text, lambda stem: [save_shard(run, identity, stem)], partial(to_json, run, identity))


def _written(output: _Output, job: Job, force: bool, say: Say, warn: Warn) -> tuple[str, str]:
    """Write the results to their path, or else to another folder, or else print them."""
    try:
        refuse_others(job.out, job.location.key("out"), force)  # again: a file may have been made during the run
        files = output.save(job.out)
    except Exception as error:
        why = getattr(error, "strerror", None) or failure.reason(error)
        failed = f"error: {job.name}: the results cannot be written to {near(job.out)} ({why})"
        path = save_elsewhere(output.save, job.out)
        if path:
            warn(f"{failed}; they are in {path}")
            return ELSEWHERE, str(path)
        say(output.to_json())
        sys.stdout.flush()
        if lost(sys.stdout):
            raise
        warn(f"{failed}, nor anywhere else; standard output has them, as JSON")
        return ELSEWHERE, "on standard output"
    say(f"\nwrote {' and '.join(map(near, files))}", style="dim")
    return DONE, ""


def _all_held(
    checks: Mapping[str, Callable[[], bool]], job: Job, ended: tuple[str, str], warn: Warn
) -> tuple[str, str]:
    """Compare and verify a result; return the job's state, and the reason, after all checks."""
    for what, check in checks.items():
        ok, why = False, ""
        try:
            ok = check()
        except BaseException as error:  # users' functions may raise any exception
            if ends_the_process(error):
                raise
            why = f"the {what} failed: {failure.reason(error)}"
            warn(f"error: {job.name}: {why}\n{failure.stack(error)}".rstrip())
        if not ok and ended[0] != ELSEWHERE:
            ended = OFF, why or ended[1]
    return ended


def _compare(job: Job, estimator: Estimator, estimate: Estimate | BatchEstimate, say: Say) -> bool:
    """Print the difference from the NumPy reference on the same draws, and the ratio of their speeds."""
    reference = job.estimator(REFERENCE)
    if reference.fingerprint != estimator.fingerprint:
        given = "other numbers than when the job was prepared, as code of its Python files has changed an array since"
        raise ParameterError(job.location.key("data"), given, "arrays that stay as they are, such as copies")
    n = estimator.derived.whole(job.n_compare)
    batch = estimator.derived.batch
    some = spread(batch.size, MOST) if batch else []
    averaged(reference, some, estimator.derived.whole(0), job.seed, job.rows)
    right = averaged(reference, some, n, job.seed, job.rows)
    found = agreement(right, averaged(estimator, some, n, job.seed, job.rows))
    of = f" of {len(some)} of {batch.size:,} rows" if batch and not batch.common_noise else ""
    speed = estimate.draws_per_second / right.draws_per_second
    say(
        f"\nagainst the {REFERENCE} reference on the same first {n:,} draws{of}: largest difference "
        f"{found.z:.2g} standard errors, {found.ulps:.3g} ulps ({found.worst}){'' if found.ok else ': NOT OK'}\n"
        f"the reference took {duration(right.seconds)} ({right.draws_per_second:.3g} draws/s); "
        f"{estimator.backend} is {speed:.3g} times as fast",
        style=None if found.ok else "red",
    )
    return True


def _verified(job: Job, say: Say) -> bool:
    with job.located():
        found = verified(job.request, job.n_compare, job.seed)
    say(f"\n{found}", style=None if found.ok else "red")
    return found.ok
