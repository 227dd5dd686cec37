"""Runs that are killed at some moment, or stopped by a signal: --resume ends with the bits of an uninterrupted run."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from mcgrad.cli import main
from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, forked, in_turn, leftovers, numbers

MODEL = "import numpy as np\n\n\ndef f(z):\n    return np.sin(z) * np.exp(-(z**2) / 10)\n"
BATCH = """
integrand = "model.py:f"
distribution = {{family = "Normal", loc = 0.3, scale = 1.2}}
backend = "{backend}"
compare = "none"
threads = {threads}

[[job]]
name = "first"
n = 1000

[[job]]
name = "long"
n = {n}
"""
DRAWS = {"numpy": 1_000_000, "cpu": 20_000_000}
EVENTS = ("open", "os.", "fcntl.flock", "import")  # audited by Python: the moments at which files change
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def prepared(folder: Path, backend: str, threads: int) -> None:
    (folder / "model.py").write_text(MODEL)
    (folder / "batch.toml").write_text(BATCH.format(backend=backend, threads=threads, n=DRAWS[backend]))


def _run(folder: Path, *options: str, hook: Callable[[str, tuple[Any, ...]], None] | None = None) -> int:
    """Run the batch; a hook sees what happens from the first line of `main` on, which answers for signals."""
    os.environ["MCGRAD_CACHE_DIR"] = str(folder / "cache")
    os.chdir(folder)
    if hook:
        sys.addaudithook(hook)
    return main(["run", "batch.toml", "--checkpoint", "0", *options])


@cache
def undisturbed(backend: str) -> tuple[dict[str, Any], float, int]:
    """Return the numbers of a run that is left alone, the seconds it takes, and how many events it has."""
    with TemporaryDirectory(prefix="mcgrad-attack-kills-") as name:
        folder = Path(name)
        prepared(folder, backend, 1)
        start = time.monotonic()
        ended = forked(lambda: _counted(folder))
        seconds = time.monotonic() - start
        found = {job: numbers(folder / "results" / f"{job}.json") for job in ("first", "long")}
        return found, seconds, int(ended.value)


def _counted(folder: Path) -> int:
    count = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        count[0] += event.startswith(EVENTS)

    if _run(folder, hook=hook) != 0:
        raise RuntimeError("the batch does not run")
    return count[0]


def _killed_at(folder: Path, event: int, sent: int, *options: str) -> int:
    """Run, and send this process a signal at the event of that number."""
    left = [event]

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name.startswith(EVENTS):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), sent)

    return _run(folder, *options, hook=hook)


def _resumed(folder: Path, backend: str, kills: int) -> None:
    """Resume until all is done; see that the numbers are right and nothing is left behind."""
    ended = forked(lambda: _run(folder, "--resume"))
    if ended.value != 0 or "Traceback" in ended.err:
        raise Lost(f"resume: status {ended.value}: {ended.err[-300:]}")
    right, _, _ = undisturbed(backend)
    for job, fields in right.items():
        found = numbers(folder / "results" / f"{job}.json")
        if found != fields:
            raise Lost(f"{job}: other {[name for name in fields if found.get(name) != fields[name]]}")
    left, cached = leftovers(folder / "results"), leftovers(folder / "cache")
    if len(left) > 2 * kills or len(cached) > max(kills, 1):
        # a kill may leave the two files of a result that were being written until a later run removes them; a signal
        # does not wait for the thread that compiles the next job, which may be writing to the cache
        raise Lost(f"leaves {left + cached}")
    if list((folder / "results").glob(".*checkpoint*")):
        raise Lost("leaves a checkpoint")


def at_a_time(backend: str) -> Callable[[Random], Case]:
    """Kill at some moments, one after the other, of a run and of those that resume it."""

    def make(rng: Random) -> Case:
        shares, threads = [rng.random() for _ in range(rng.choice([1, 1, 2, 4]))], rng.choice([1, 2, 3])

        def act(folder: Path) -> str:
            _, seconds, _ = undisturbed(backend)
            prepared(folder, backend, threads)
            for i, share in enumerate(shares):
                options = ["--resume"] * (i > 0)
                ended = forked(lambda options=options: _run(folder, *options), share * seconds, killing=True)
                if not ended.killed and ended.value != 0:
                    raise Lost(f"status {ended.value} without a kill: {ended.err[-200:]}")
            _resumed(folder, backend, len(shares))
            return RIGHT

        return Case(
            f"kill -9 at any time, {backend}", f"shares {[round(x, 4) for x in shares]}, {threads} threads", act
        )

    return make


def at_an_event(backend: str) -> Callable[[Random], Case]:
    """Kill at a random one of those moments at which a file is opened, renamed, removed or locked."""

    def make(rng: Random) -> Case:
        share, threads = rng.random(), rng.choice([1, 2])

        def act(folder: Path) -> str:
            _, _, events = undisturbed(backend)
            prepared(folder, backend, threads)
            forked(lambda: _killed_at(folder, 1 + int(share * events), signal.SIGKILL), killing=True)
            _resumed(folder, backend, 1)
            return RIGHT

        return Case(f"kill -9 as a file changes, {backend}", f"share {share:.6f}, {threads} threads", act)

    return make


def signalled(sent: signal.Signals) -> Callable[[Random], Case]:
    """Send a signal that a run ends by in good order."""

    def make(rng: Random) -> Case:
        share, backend = rng.random(), rng.choice(["numpy", "numpy", "cpu"])

        def act(folder: Path) -> str:
            _, _, events = undisturbed(backend)
            prepared(folder, backend, 2)
            ended = forked(lambda: _killed_at(folder, 1 + int(share * events), sent), killing=True)
            if ended.value not in (None, 0, STATUS[sent]) or (ended.killed and sent == signal.SIGINT):
                raise Lost(f"status {ended.value}")
            if "Traceback" in ended.err:
                raise Lost(f"prints a traceback: {ended.err[-200:]}")
            _resumed(folder, backend, 0 if ended.value else 1)
            return REFUSED if ended.value else RIGHT

        return Case(f"{sent.name} as a file changes", f"share {share:.6f}, {backend}", act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    makers = [at_an_event("numpy"), at_a_time("numpy"), *map(signalled, STATUS), at_an_event("cpu"), at_a_time("cpu")]
    return in_turn(rng, makers)
