"""Attacks: a case runs in a process of its own, and what came of it is survived or lost.

Numba's import costs a second, so a worker imports everything once, single-threaded, and forks a child for each case.
"""

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

RIGHT, REFUSED, LOST = "right", "refused", "lost"  # right numbers; an error of ours, or a miss; anything else
LIMIT = 120.0  # seconds, after which a child counts as hanging
MEMORY = 8 << 30  # bytes of addresses that a child may have


class Lost(Exception):  # noqa: N818  what it says, in the table and in the code
    """A case did not survive: a wrong number, a foreign error, a crash, a hang, a file that should not be there."""


@dataclass(frozen=True)
class Case:
    """One attack.

    Parameters
    ----------
    kind : str
        A row of the table.
    detail : str
        What would repeat it.
    act : callable
        Takes an empty folder; returns RIGHT or REFUSED, or raises Lost.
    """

    kind: str
    detail: str
    act: Callable[[Path], str]


@dataclass(frozen=True)
class Verdict:
    """What came of a case."""

    kind: str
    detail: str
    outcome: str
    why: str


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Parameters
    ----------
    value : object
        What its function returned, by way of JSON.
    refused : str
        Message of the error of mcgrad's that it raised; empty where it raised none.
    killed : bool
        Whether it was killed at its limit.
    out, err : str
        What it printed.
    """

    value: Any
    refused: str
    killed: bool
    out: str
    err: str


def forked(act: Callable[[], Any], limit: float = LIMIT, killing: bool = False) -> Ended:
    """Run a function in a child, which ends with it; raise Lost where it crashes, hangs or raises a foreign error.

    With `killing` the limit is part of the attack: the child may not come so far.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pipes = [os.pipe() for _ in range(3)]
    child = os.fork()
    if child == 0:
        _child(act, *[write for _, write in pipes])
    for _, write in pipes:
        os.close(write)
    status, late, (out, err, report) = _ended(child, [read for read, _ in pipes], limit)
    for read, _ in pipes:
        os.close(read)
    if late and not killing:
        raise Lost(f"hangs; {_last(err)}")
    if late or (killing and os.WIFSIGNALED(status)):
        return Ended(None, "", True, out, err)
    if os.WIFSIGNALED(status):
        raise Lost(f"{signal.Signals(os.WTERMSIG(status)).name}; {_last(err)}")
    if not report:
        raise Lost(f"ends with status {os.waitstatus_to_exitcode(status)}; {_last(err)}")
    found = json.loads(report)
    if found["foreign"]:
        raise Lost(f"raises {found['foreign']}")
    return Ended(found["value"], found["refused"], False, out, err)


def _child(act: Callable[[], Any], out: int, err: int, report: int) -> None:
    """Run the function with the streams in pipes, report what came of it, and end."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # what reads without an end ends
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process of pytest-xdist's ignores
        for stream, pipe in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(pipe, stream)
        sys.stdout, sys.stderr = (open(stream, "w", encoding="utf-8") for stream in (1, 2))  # noqa: SIM115
        found: dict[str, Any] = {"value": None, "refused": "", "foreign": ""}
        try:
            found["value"] = act()
        except BaseException as error:
            from mcgrad.errors import McgradError

            if isinstance(error, McgradError):
                found["refused"] = str(error) or type(error).__name__
            else:
                traceback.print_exc()
                found["foreign"] = f"{type(error).__name__}: {str(error)[:200]}"
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or None: as the interpreter's end does
                stream.flush()
        os.write(report, json.dumps(found).encode())
    finally:
        os._exit(0)


def _ended(child: int, pipes: list[int], limit: float) -> tuple[int, bool, list[str]]:
    """Wait for a child, and kill it at the limit; return its status, whether it was killed, and what it wrote."""
    handle, late, written = os.pidfd_open(child), False, dict.fromkeys(pipes, b"")
    deadline, waiting = time.monotonic() + limit, {handle, *pipes}
    while handle in waiting:
        ready = select.select(waiting, [], [], max(deadline - time.monotonic(), 0))[0]
        if not ready:
            late = True
            os.kill(child, signal.SIGKILL)
            deadline += LIMIT
        for pipe in set(ready) - {handle}:
            more = os.read(pipe, 65536)
            written[pipe] += more
            waiting -= set() if more else {pipe}
        if ready == [handle]:  # and nothing is left in the pipes
            waiting.remove(handle)
    os.close(handle)
    return os.waitpid(child, 0)[1], late, [written[pipe].decode(errors="replace") for pipe in pipes]


def _last(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"


def command(folder: Path, *arguments: str, traceback: bool = False) -> Ended:
    """Run ``mcgrad ARGUMENTS`` in a folder, in a child; its value is the exit status.

    A traceback is part of the answer where a user's code raises, and nowhere else.

    Raises
    ------
    Lost
        As `forked` does, and where a traceback is printed.
    """

    def act() -> int:
        from mcgrad.cli import main

        os.chdir(folder)
        try:
            return main(arguments)
        except SystemExit as error:  # of argparse
            return int(error.code or 0)

    ended = forked(act)
    if not traceback and "Traceback (most recent call last)" in ended.err + ended.out:
        raise Lost(f"prints a traceback: {_last(ended.err)}")
    return ended


def numbers(path: Path) -> dict[str, Any]:
    """Return a result file's fields, less those that differ from run to run."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return {name: value for name, value in fields.items() if name not in ("seconds", "digest")}


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files in a folder and all below."""
    return sorted(path.name for path in folder.rglob("*") if path.name.endswith(".tmp"))


def attacks(
    cases: Iterator[Case], tries: int, seconds: float = float("inf"), clock: Callable[[], float] = time.monotonic
) -> Iterator[Verdict]:
    """Run cases, each in an empty folder, until there were so many or so much time is over."""
    start = clock()
    for _, case in zip(range(tries), cases, strict=False):
        if clock() - start > seconds:
            return
        folder = Path(tempfile.mkdtemp(prefix="mcgrad-attack-"))
        try:
            outcome, why = case.act(folder), ""
        except Lost as error:
            outcome, why = LOST, str(error)
        finally:
            _removed(folder)
        yield Verdict(case.kind, case.detail, outcome, why)


def _removed(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder)


def in_turn(rng: Random, makers: Sequence[Callable[[Random], Case]]) -> Iterator[Case]:
    """Yield a case of each maker in turn, for ever."""
    while True:
        for make in makers:
            yield make(rng)
