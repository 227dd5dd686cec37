"""Odd environments: streams that are closed, no home, other locales, limits. Each in a new process."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import mcgrad
from tests.reliability.attack import LIMIT, REFUSED, RIGHT, Case, Lost, in_turn, leftovers, numbers

MAIN = "import sys; from mcgrad.cli import main; sys.exit(main())"
MODEL = "import numpy as np\n\n\ndef f(z, *, größe=1.0):\n    return größe * np.sin(z)  # Ωψ\n"
JOB = """
integrand = "model.py:f"
distribution = {{family = "Normal", loc = 0.3, scale = 1.2}}
params = {{"größe" = 2.0}}
backend = "{backend}"
compare = "none"
name = "größe"
n = 1000
"""
NAME = "größe"


class Place:
    """What a process is started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "MCGRAD_CACHE_DIR": str(folder / "cache"), "HOME": str(folder)}
        self.environment["PYTHONPATH"] = str(Path(mcgrad.__file__).parent.parent)  # absolute: it runs elsewhere
        self.flags: list[str] = []
        self.shell = ""  # redirections
        self.limits: list[tuple[int, int]] = []
        self.umask = -1

    def variables(self, **given: str | None) -> None:
        for name, value in given.items():
            if value is None:
                self.environment.pop(name, None)
            else:
                self.environment[name] = value


def _shell(redirection: str) -> Callable[[Place], None]:
    return lambda place: setattr(place, "shell", redirection)


def _variables(**given: str | None) -> Callable[[Place], None]:
    return lambda place: place.variables(**given)


def _flags(*flags: str) -> Callable[[Place], None]:
    return lambda place: place.flags.extend(flags)


def _limit(what: int, value: int) -> Callable[[Place], None]:
    return lambda place: place.limits.append((what, value))


def _umask(mask: int) -> Callable[[Place], None]:
    return lambda place: setattr(place, "umask", mask)


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": None, "LANG": None}
KINDS: dict[str, list[Callable[[Place], None]]] = {
    "streams": [
        *map(_shell, (">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full")),
        *map(_shell, ("| true", "2>&1 | true", "| head -c 1", "2>&1 >/dev/null | true")),
    ],
    "locale": [_variables(**ASCII), _variables(**{**ASCII, "LC_ALL": "POSIX"}), _variables(PYTHONIOENCODING="ascii")],
    "home and cache": [
        _variables(HOME=None, MCGRAD_CACHE_DIR=None, XDG_CACHE_HOME=None),
        _variables(HOME="/nowhere", MCGRAD_CACHE_DIR=None, XDG_CACHE_HOME=None),
        _variables(HOME="", MCGRAD_CACHE_DIR="", XDG_CACHE_HOME=None),
        _variables(MCGRAD_CACHE_DIR=None, XDG_CACHE_HOME="relative"),
        *(_variables(MCGRAD_CACHE_DIR=x) for x in ("~nosuch/cache", "/dev/null", "/proc/cache", "x" * 300, "relative")),
        *(_variables(MCGRAD_CACHE_DIR=x) for x in ("\udcff", "größe", "model.py", "  ")),
        *(_variables(MCGRAD_CACHE_SIZE=x) for x in ("0", "-1", "many", "1GB", "1e400", "nan", "")),
        *(_variables(MCGRAD_CACHE_MODE=x) for x in ("private", "group", "all", "0777", "")),
    ],
    "threads": [_variables(MCGRAD_NUM_THREADS=x) for x in ("", " ", "0", "-1", "abc", "1e3", "4", "9" * 50, "٣", "²")],
    "Python's flags": [_flags("-W", "error"), _flags("-OO"), _flags("-X", "dev"), _flags("-b"), _flags("-B")],
    "umask": [_umask(0), _umask(0o777), _umask(0o077)],
    "limits": [
        _limit(resource.RLIMIT_NOFILE, 16), _limit(resource.RLIMIT_NOFILE, 64), _limit(resource.RLIMIT_CORE, 0),
        _limit(resource.RLIMIT_FSIZE, 0), _limit(resource.RLIMIT_STACK, 1 << 20), _limit(resource.RLIMIT_NPROC, 1),
    ],
}  # fmt: skip


def _prepared(folder: Path, backend: str) -> Place:
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    (folder / "job.toml").write_text(JOB.format(backend=backend), encoding="utf-8")
    return Place(folder)


def _run(place: Place) -> subprocess.CompletedProcess[bytes]:
    def before() -> None:
        if place.umask >= 0:
            os.umask(place.umask)
        for what, value in place.limits:
            resource.setrlimit(what, (value, value))

    line = f'"$@" {place.shell}; exit ${{PIPESTATUS[0]}}'
    arguments = [sys.executable, *place.flags, "-c", MAIN, "run", "job.toml"]
    command = ["bash", "-c", line, "bash", *arguments] if place.shell else arguments
    try:
        return subprocess.run(
            command, cwd=place.folder, env=place.environment, capture_output=True, timeout=LIMIT, preexec_fn=before
        )
    except subprocess.TimeoutExpired:
        raise Lost("hangs") from None


@cache
def right(backend: str) -> dict[str, Any]:
    with TemporaryDirectory(prefix="mcgrad-attack-place-") as name:
        place = _prepared(Path(name), backend)
        done = _run(place)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return numbers(place.folder / "results" / f"{NAME}.json")


def of_kind(kind: str) -> Callable[[Random], Case]:
    order: list[int] = []

    def make(rng: Random) -> Case:
        if not order:
            order.extend(rng.sample(range(len(KINDS[kind])), len(KINDS[kind])))
        number, backend = order.pop(), rng.choice(["numpy", "cpu"])

        def act(folder: Path) -> str:
            expected, place = right(backend), _prepared(folder, backend)
            KINDS[kind][number](place)
            done = _run(place)
            err = done.stderr.decode(errors="replace")
            path = folder / "results" / f"{NAME}.json"
            if b"Traceback" in done.stderr + done.stdout:
                raise Lost(f"prints a traceback: {err[-200:]}")
            if done.returncode < 0:
                raise Lost(f"signal {-done.returncode}")
            if os.geteuid() != 0 and place.umask == 0o777:
                path.parent.chmod(0o700)
                path.chmod(0o600)
            if path.exists() and numbers(path) != expected:
                raise Lost("writes other numbers")
            if done.returncode == 0 and not path.exists():
                raise Lost("says that all is well, and there is no result")
            if left := leftovers(folder):
                raise Lost(f"leaves {left}")
            if done.returncode not in (0, 1, 2, 141):
                raise Lost(f"status {done.returncode}: {err[-200:]}")
            return RIGHT if path.exists() else REFUSED

        return Case(kind, f"number {number}, {backend}", act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    return in_turn(rng, [*map(of_kind, KINDS)])
