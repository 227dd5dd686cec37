"""The command line: ``mcgrad run``, ``mcgrad explain``, ``mcgrad info``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from mcgrad.errors import McgradError, ParameterError

OK, OFF, REFUSED, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; the process's own by default.

    Returns
    -------
    int
        0; 1 where some job failed or ``--verify`` found something off; 2 where no job has a result; 130 after Ctrl-C;
        141, as after SIGPIPE, where the reader of a pipe has gone, as in ``mcgrad explain JOB.toml | head``.
    """
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()  # here, where it can still be answered for, rather than as the interpreter ends
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left in their buffers goes nowhere
        return UNREAD


def _main(argv: Sequence[str] | None) -> int:
    args = parser().parse_args(argv)
    try:
        return _command(args)
    except McgradError as error:
        print(f"mcgrad: error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("mcgrad: interrupted", file=sys.stderr)
        return INTERRUPTED


def _command(args: argparse.Namespace) -> int:
    if args.command == "info":
        from mcgrad.info import info

        lines = info()
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in lines.items()))
        return OK
    if args.command == "tune":
        from mcgrad.cli.tune import tune_backends

        tune_backends()
        return OK
    names = ("n", "seed", "backend", "threads", "dtype")
    overrides = {name: getattr(args, name, None) for name in names}
    if args.command == "explain":
        return _explain(args.jobs, overrides)
    return _run(args, overrides)


def _explain(files: Sequence[str], overrides: dict[str, Any]) -> int:
    from mcgrad.jobfile import load

    jobs = [job for file in files for job in load(file, overrides)]
    for job in jobs:
        if len(jobs) > 1:
            print(f"# {job.name}")
        print(job.estimator().explain())
    return OK


def _run(args: argparse.Namespace, overrides: dict[str, Any]) -> int:
    from mcgrad.cli.batch import run_jobs
    from mcgrad.cli.board import COMPLETE, DONE, FAILED
    from mcgrad.cli.run import Settings
    from mcgrad.jobfile import read

    every = args.checkpoint
    if not isinstance(every, int | float) or not every >= 0:
        raise ParameterError("--checkpoint", repr(every), "seconds, 0 or more")
    progress = sys.stderr.isatty() if args.progress is None else args.progress
    settings = Settings(progress, args.verify, args.out, args.resume, every)
    outcomes = run_jobs([entry for file in args.jobs for entry in read(file, overrides)], settings)
    states = {outcome.state for outcome in outcomes}
    if states == {FAILED}:
        return REFUSED
    return OK if states <= {DONE, COMPLETE} else OFF


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    from mcgrad import __version__

    top = argparse.ArgumentParser("mcgrad", description="Monte Carlo gradients of expectations, with standard errors.")
    top.add_argument("--version", action="version", version=f"mcgrad {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run jobs",
        description="Run every job of the job files, one after the other; the next ones are compiled meanwhile. "
        "A job that fails stops no other. Exit status: 0 done; 1 some job failed, or --verify found something off; "
        "2 no job has a result; 130 interrupted.",
    )
    _job_arguments(run)
    run.add_argument("--n", type=_number, metavar="N", help="draws, such as 1000000 or 1e6")
    run.add_argument("--seed", type=_number, metavar="N")
    run.add_argument("--verify", action="store_true", help="check backends and gradient; exit 1 where something is off")
    run.add_argument(
        "--resume",
        action="store_true",
        help="skip jobs whose result is there, and go on with the others from their last checkpoint",
    )
    run.add_argument(
        "--checkpoint",
        type=_number,
        default=2.0,
        metavar="SECONDS",
        help="time between checkpoints, which is what kill -9 may cost; default 2",
    )
    run.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a line and a bar for each job; by default where standard error is a terminal",
    )
    run.add_argument("--out", metavar="DIR", help="folder for all results, instead of the jobs' own")

    explain = commands.add_parser(
        "explain", help="show what a job compiles to", description="Print each job's Program, backend and source."
    )
    _job_arguments(explain)

    commands.add_parser("info", help="versions, processor, threads, cache, backends")
    commands.add_parser(
        "tune",
        help="measure the backends, for the choice among them",
        description="Measure how fast each backend is on this machine, and keep it for backend = auto to choose by.",
    )
    return top


def _job_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("jobs", nargs="+", metavar="JOB.toml")
    command.add_argument("--backend", metavar="NAME")
    command.add_argument("--threads", type=_number, metavar="N")
    command.add_argument("--dtype", metavar="NAME", help="float32 or float64")


def _number(text: str) -> int | float | str:
    """Read a whole number, also as 1e6 or 1_000_000; anything else is refused later, by name."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
