"""Writes that fail: no room, no rights, a read-only file system. The numbers are right, and nothing is poisoned."""

import errno
import io
import os
import resource
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mcgrad.system import atomic
from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, forked, in_turn, leftovers, numbers
from tests.reliability.cache_damage import _check, estimated, filled

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EMFILE)
SIZES = (0, 1, 100, 1000, 4000, 20_000)  # bytes that a file may have
CALLS = ("open", "write", "fsync", "rename")
MODEL = "import numpy as np\n\n\ndef f(z):\n    return np.sum(np.sin(z))\n"
JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = [0.3, 0.7, 0.1], scale = 1.2}
backend = "numpy"
compare = "none"
threads = 1
n = 600_000
"""


def fail(call: str, number: int, below: Path, lasting: int, after: int) -> None:
    """Have calls fail in this process: those that write below a folder, after so many, for good or so often."""
    seen = [0]

    def due(path: object) -> bool:
        if str(below) not in str(path):
            return False
        seen[0] += 1
        return after < seen[0] <= after + lasting

    def error() -> OSError:
        return OSError(number, os.strerror(number))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if call == "open":
            matters = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            matters = event in ("os.rename", "os.link")
        if matters and due(arguments[0]):
            raise error()

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(handle: int, *rest: Any) -> Any:
            if due(os.readlink(f"/proc/self/fd/{handle}")):
                raise error()
            return function(handle, *rest)

        return wrapped

    if call in ("open", "rename"):
        sys.addaudithook(hook)
    elif call == "fsync":
        os.fsync = failing(os.fsync)  # type: ignore[assignment]
    else:
        os.write = failing(os.write)  # type: ignore[assignment]

        class File(io.FileIO):
            def write(self, content: Any) -> int:
                if due(os.readlink(f"/proc/self/fd/{self.fileno()}")):
                    raise error()
                return super().write(content)

        def opened(path: Path, mode: str, opener: Any) -> io.BufferedWriter:
            return io.BufferedWriter(File(path, mode, opener=opener))

        atomic.open = opened  # type: ignore[attr-defined]


def _limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def of_cache(kind: str, prepare: Callable[[Path, Random], str]) -> Callable[[Random], Case]:
    """Fail to write the cache: the estimate is right, the next one finds nothing that is damaged."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            _, right, _ = filled()
            cache_folder = folder / "cache"

            def run() -> list[float]:
                prepare(cache_folder, Random(seed))
                return estimated(cache_folder)

            ended = forked(run)
            if ended.refused or ended.value[:-1] != right:
                raise Lost(f"gives {ended.refused or ended.value}")
            if left := leftovers(folder):
                raise Lost(f"leaves {left}")
            return _check(cache_folder, right)

        return Case(f"cache: {kind}", f"seed {seed}", act)

    return make


def _some_size(folder: Path, rng: Random) -> None:
    _limited(rng.choice(SIZES))


def _some_call(call: str) -> Callable[[Path, Random], None]:
    def prepare(folder: Path, rng: Random) -> None:
        fail(call, rng.choice(ERRORS), folder, rng.choice([1, 10**9]), rng.choice([0, 0, 0, 1, 2]))

    return prepare


@cache
def right() -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the numbers and the arrays of a job that is left alone."""
    with TemporaryDirectory(prefix="mcgrad-attack-writes-") as name:
        folder = Path(name)
        prepared(folder)
        if command(folder, "run", "job.toml").value != 0:
            raise RuntimeError("the job does not run")
        return numbers(folder / "results" / "job.json"), _arrays(folder)


def _arrays(folder: Path) -> dict[str, bytes]:
    with np.load(folder / "results" / "job.npz", allow_pickle=False) as found:
        return {name: found[name].tobytes() for name in found.files if name != "digest"}


def prepared(folder: Path) -> None:
    (folder / "model.py").write_text(MODEL)
    (folder / "job.toml").write_text(JOB)


def of_job(kind: str, prepare: Callable[[Path, Random], None]) -> Callable[[Random], Case]:
    """Fail to write checkpoints and results: the numbers are printed, and --resume writes them later."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            fields, arrays = right()
            prepared(folder)
            (folder / "elsewhere").mkdir()

            def run() -> int:
                from mcgrad.cli import main

                os.chdir(folder)
                os.environ["TMPDIR"] = str(folder / "elsewhere")
                prepare(folder / "results", Random(seed))
                status = main(["run", "job.toml", "--checkpoint", "0"])
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                return status

            ended = forked(run)
            if "Traceback" in ended.err:
                raise Lost(f"prints a traceback: {ended.err[-200:]}")
            complete = (folder / "results" / "job.json").exists()
            if complete and numbers(folder / "results" / "job.json") != fields:
                raise Lost("writes another result")
            if not complete and ended.value == 0:
                raise Lost("says that all is well, and there is no result")
            if not complete and f"{fields['value']:.4f}"[:5] not in ended.out:
                raise Lost(f"prints no numbers: {ended.err[-200:]}")
            if not complete and "job" not in ended.err:
                raise Lost("says nothing of it")
            if left := leftovers(folder):
                raise Lost(f"leaves {left}")
            again = command(folder, "run", "job.toml", "--resume")
            if again.value != 0 or numbers(folder / "results" / "job.json") != fields or _arrays(folder) != arrays:
                raise Lost(f"resume: status {again.value}: {again.err[-200:]}")
            return RIGHT if complete else REFUSED

        return Case(f"results: {kind}", f"seed {seed}", act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    ways = {"files of limited size": _some_size, **{f"{call} fails": _some_call(call) for call in CALLS}}
    makers = [of(kind, prepare) for of in (of_cache, of_job) for kind, prepare in ways.items()]
    return in_turn(rng, makers)
