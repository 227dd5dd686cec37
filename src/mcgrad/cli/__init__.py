"""The command line: parse and run ``mcgrad run``, ``merge``, ``explain``, ``info``, ``tune`` and ``cache``."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from mcgrad.cli import standard_streams
from mcgrad.errors import McgradError, ParameterError
from mcgrad.jobs import failure, signals
from mcgrad.system.printable import line, printable

OK, OFF, REFUSED, UNREAD = 0, 1, 2, 141
PATIENCE = 1.0  # seconds that other threads have to end before the process does


def process() -> NoReturn:
    """Run the command of this process, and end it.

    After a signal the process ends within `PATIENCE`, whatever other threads do: the import of a job's Python file in
    another thread cannot be interrupted. Otherwise it waits, as Python does, for threads of a job's file that still run
    and are no daemons, and prints their names.
    """
    status = main()
    stopped = status in [128 + number for number in signals.ENDING]
    if stopped:
        signals.ignore()
    late = threading.Timer(PATIENCE, (lambda: os._exit(status)) if stopped else _name_threads)
    late.daemon = True
    late.start()
    sys.exit(status)


def _name_threads() -> None:
    left = [thread.name for thread in threading.enumerate()[1:] if not thread.daemon]
    standard_streams.complain(f"waits for threads that a job's file has left running: {', '.join(left)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; the process's own by default.

    Returns
    -------
    int
        0; 1 where some job failed, ``--verify`` found a difference, or standard output failed; 2 where no job has a
        result; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP; 141, as after SIGPIPE, where the reader
        of a pipe has gone, as in ``mcgrad explain JOB.toml | head``.
    """
    with standard_streams.lasting() as out:
        status = _main(argv)
        out.flush()
        if isinstance(out.error, BrokenPipeError):
            return status or UNREAD
        if out.error:
            standard_streams.complain(f"cannot print to standard output: {out.error}")
            return status or OFF
        return status


def _main(argv: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(argv)
        with signals.stoppable():
            return _command(args)
    except McgradError as error:
        standard_streams.complain(f"error: {error}")
        return REFUSED
    except signals.Stopped as stopped:
        standard_streams.complain(str(stopped))
        return stopped.status
    except KeyboardInterrupt:
        standard_streams.complain("interrupted")
        return signals.Stopped(signals.ENDING[0]).status


def _command(args: argparse.Namespace) -> int:
    if args.command == "info":
        from mcgrad.cli.info import info

        lines = info()
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {line(value)}" for name, value in lines.items()))
        return OK
    if args.command == "tune":
        from mcgrad.cli.tune import tune_backends

        tune_backends()
        return OK
    if args.command == "cache":
        from mcgrad.cli.cache import clear_cache, show_cache

        (clear_cache if args.action == "clear" else show_cache)()
        return OK
    if args.command == "merge":
        from mcgrad.cli.merge import merge_files

        merge_files(args.out, args.parts, args.require_same, args.force)
        return OK
    names = ("n", "seed", "backend", "threads", "dtype")
    overrides = {name: getattr(args, name, None) for name in names}
    if args.command == "explain":
        return _explain(args.jobs, overrides)
    return _run(args, overrides)


def _explain(files: Sequence[str], overrides: dict[str, Any]) -> int:
    from mcgrad.jobs.jobfile import Refused, read

    entries = [entry for file in files for entry in read(file, overrides)]
    failed = 0
    for entry in entries:
        try:
            if isinstance(entry, Refused):
                raise entry.error
            text = entry.job().estimator().explain()
            head = f"# {line(entry.name)}\n" if len(entries) > 1 else ""
            print(f"{head}{printable(text)}", flush=True)
        except BaseException as error:  # users' code may raise any exception
            if signals.ends_the_process(error):
                raise
            print(printable(failure.stack(error)), end="", file=sys.stderr)
            standard_streams.complain(f"error: {failure.reason(error)}")
            failed += 1
        if standard_streams.lost(sys.stdout):
            break
    return REFUSED if failed == len(entries) else OFF if failed else OK


def _run(args: argparse.Namespace, overrides: dict[str, Any]) -> int:
    from mcgrad.cli.batch import run_jobs
    from mcgrad.cli.board import COMPLETE, DONE, FAILED
    from mcgrad.cli.executors import executor_of
    from mcgrad.cli.run import Settings
    from mcgrad.engine.shard import Shard
    from mcgrad.jobs.jobfile import read

    every = args.checkpoint
    if not isinstance(every, int | float) or not every >= 0:
        raise ParameterError("--checkpoint", repr(every), "seconds, 0 or more")
    progress = sys.stderr.isatty() if args.progress is None else args.progress
    shard = None if args.shard is None else Shard.given("--shard", args.shard)
    if shard and (args.workers is not None or args.scheduler is not None):
        option = "--scheduler" if args.workers is None else "--workers"
        raise ParameterError("--shard", f"{shard}, and {option}", "one of the two: a shard runs in threads")
    entries = [entry for file in args.jobs for entry in read(file, overrides)]
    with executor_of(args.workers, args.scheduler, args.require_same) as workers:
        settings = Settings(progress, args.verify, args.out, args.resume, every, args.force, shard, workers)
        outcomes = run_jobs(entries, settings)
    states = {outcome.state for outcome in outcomes}
    if states == {FAILED}:
        return REFUSED
    return OK if states <= {DONE, COMPLETE} else OFF


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable(message), file)  # the message repeats arguments, which may be names of files


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from mcgrad import __version__

    top = _Parser("mcgrad", description="Monte Carlo gradients of expectations, with standard errors.")
    top.add_argument("--version", action="version", version=f"mcgrad {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run jobs",
        description="Run every job of the job files, one after the other; the next ones are compiled meanwhile. "
        "A job that fails stops no other. Exit status: 0 done; 1 some job failed, or --verify found something off; "
        "2 no job has a result; 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP; 141 the output's reader has gone.",
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
    run.add_argument(
        "--workers",
        type=_number,
        metavar="N",
        help="run each job on N worker processes of this machine, which are started again where one is killed",
    )
    run.add_argument("--scheduler", metavar="ADDRESS", help="run each job on the workers of a Dask scheduler")
    run.add_argument(
        "--require-same",
        action="store_true",
        help="refuse workers with another processor or other versions than this process",
    )
    run.add_argument(
        "--shard",
        metavar="K/N",
        help="work out the K-th of N parts of each job alone, into a file OUT.shard-K-of-N.json for mcgrad merge",
    )

    run.add_argument(
        "--force",
        action="store_true",
        help="write results also over files that mcgrad did not write, but never over a file that a job refers to",
    )

    explain = commands.add_parser(
        "explain", help="show what a job compiles to", description="Print each job's Program, backend and source."
    )
    _job_arguments(explain)

    merge = commands.add_parser(
        "merge",
        help="add up the shards of a run",
        description="Merge the files that mcgrad run --shard has written, or results over disjoint draws of one "
        "problem, in any order, and write the result as mcgrad run does.",
    )
    merge.add_argument("out", metavar="OUT", help="path of the result, without the ending")
    merge.add_argument("parts", nargs="+", metavar="PART", help="files of all shards, or of results")
    merge.add_argument(
        "--require-same",
        action="store_true",
        help="refuse parts of several kinds of processors or versions, which may differ in the last bits",
    )
    merge.add_argument(
        "--force", action="store_true", help="write the result also over files that mcgrad did not write"
    )

    commands.add_parser("info", help="versions, processor, threads, cache, backends")
    commands.add_parser(
        "tune",
        help="measure the backends, for the choice among them",
        description="Measure how fast each backend is on this machine, and keep it for backend = auto to choose by.",
    )
    cached = commands.add_parser(
        "cache",
        help="look at the cache of compiled code, or clear it",
        description="info: where the cache is, whether it is used, what it holds. clear: remove all compiled code.",
    )
    cached.add_argument("action", choices=("info", "clear"))
    return top


def _job_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("jobs", nargs="+", metavar="JOB.toml")
    command.add_argument("--backend", metavar="NAME")
    command.add_argument("--threads", type=_number, metavar="N")
    command.add_argument("--dtype", metavar="NAME", help="float32 or float64")


def _number(text: str) -> int | float | str:
    """Read a whole number, also as 1e6 or 1_000_000; other text is refused later, by the name of the option."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
