"""The command line: ``mcgrad run``, ``mcgrad explain``, ``mcgrad info``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mcgrad.errors import McgradError

OK, OFF, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; the process's own by default.

    Returns
    -------
    int
        0, 1 where ``--verify`` found something off, 2 where the input was refused, 130 after Ctrl-C.
    """
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
    from mcgrad.cli.run import explain_jobs, run_jobs
    from mcgrad.job import load

    names = ("n", "seed", "backend", "threads", "dtype")
    jobs = load(args.job, {name: getattr(args, name, None) for name in names})
    if args.command == "explain":
        explain_jobs(jobs)
        return OK
    progress = sys.stderr.isatty() if args.progress is None else args.progress
    return OK if run_jobs(jobs, progress, args.verify, args.out) else OFF


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    from mcgrad import __version__

    top = argparse.ArgumentParser("mcgrad", description="Monte Carlo gradients of expectations, with standard errors.")
    top.add_argument("--version", action="version", version=f"mcgrad {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a job file", description="Run every job of a job file.")
    _job_arguments(run)
    run.add_argument("--n", type=_number, metavar="N", help="draws, such as 1000000 or 1e6")
    run.add_argument("--seed", type=_number, metavar="N")
    run.add_argument("--verify", action="store_true", help="check backends and gradient; exit 1 where something is off")
    run.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a bar; by default where standard error is a terminal",
    )
    run.add_argument("--out", metavar="DIR", help="folder for results, instead of the job's own")

    explain = commands.add_parser(
        "explain", help="show what a job compiles to", description="Print each job's Program, backend and source."
    )
    _job_arguments(explain)

    commands.add_parser("info", help="versions, processor, threads, cache, backends")
    return top


def _job_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", metavar="JOB.toml")
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
