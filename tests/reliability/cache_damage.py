"""Damage to the files of the cache folder: each is a miss, with the right numbers, once; and the next run is well."""

import math
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

import mcgrad as mg
from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, forked, in_turn, leftovers

NOBODY = 65534


def sine(z):
    return np.sin(z)


def square(z):
    return z * z


def estimated(folder: Path, function=sine) -> list[float]:
    """Estimate with the folder as the cache; return numbers, and how often Numba compiled."""
    from numba.core import event

    os.environ["MCGRAD_CACHE_DIR"] = str(folder)
    with event.install_recorder("numba:compile") as compiled:
        found = mg.estimate(function, mg.Normal(0.3, 1.2), 5000, backend="cpu", threads=1)
    return [found.value, found.stderr, found.grad["loc"], found.grad["scale"], len(compiled.buffer)]


@cache
def filled() -> tuple[TemporaryDirectory, list[float], list[str]]:
    """Return a cache folder with the code of two functions; of the first, the right numbers and the files' names."""
    folder = TemporaryDirectory(prefix="mcgrad-attack-cache-")
    path = Path(folder.name) / "cache"
    right = forked(lambda: estimated(path)).value[:-1]
    names = [str(file.relative_to(path)) for file in files(path)]
    forked(lambda: estimated(path, square))
    return folder, right, names


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def copied(folder: Path) -> tuple[Path, list[float], list[Path]]:
    """Copy that folder; return the copy, the right numbers, and the files they are computed by."""
    template, right, names = filled()
    to = folder / "cache"
    shutil.copytree(Path(template.name) / "cache", to)
    return to, right, [to / name for name in names]


def damaged(content: bytes, kind: str, rng: Random) -> bytes:
    """Return a file's content, damaged."""
    size = len(content)
    place = rng.randrange(size)
    if kind == "truncated":
        return content[: rng.choice([1, 8, 16, 40, size // 2, size - 1, place])]
    if kind == "empty":
        return b""
    if kind == "garbage":
        return rng.randbytes(size)
    if kind == "one bit flipped":
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    if kind == "zeros at the end":
        return content[:place] + bytes(size - place)
    if kind == "zeros inside":
        return content[:place] + bytes(min(512, size - place)) + content[place + 512 :]
    if kind == "bytes appended":
        return content + rng.randbytes(1 + rng.randrange(64))
    if kind == "another first line":  # as of a format of other versions
        return b"mcgrad.Other/1\n" + content[16:]
    return content[: place // 2] + content[place:]  # a piece is missing


CONTENTS = (
    "truncated",
    "empty",
    "garbage",
    "one bit flipped",
    "zeros at the end",
    "zeros inside",
    "bytes appended",
    "another first line",
    "a piece missing",
)


def _directory(path: Path, rng: Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("a user's")


def _fifo(path: Path, rng: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path, rng: Random) -> None:
    path.unlink()
    path.symlink_to(path)


def _dangling(path: Path, rng: Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _device(path: Path, rng: Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _moved(path: Path, rng: Random) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _unreadable(path: Path, rng: Random) -> None:
    path.chmod(0)


def _swapped(path: Path, rng: Random) -> None:
    """Swap with another file, as a damaged directory may."""
    others = [other for other in files(path.parent) if other.suffix == path.suffix and other != path]
    other = rng.choice(others)
    spare = path.with_name("spare")
    path.rename(spare)
    other.rename(path)
    spare.rename(other)


PLACES: dict[str, Callable[[Path, Random], None]] = {
    "a directory instead": _directory,
    "a FIFO instead": _fifo,
    "a loop of links": _loop,
    "a dangling link": _dangling,
    "a link to /dev/zero": _device,
    "a link to the file": _moved,
    "unreadable": _unreadable,
    "swapped with another": _swapped,
}


def _check(cache_folder: Path, right: list[float], user: int | None = None) -> str:
    """Run twice: both give the right numbers, the second compiles nothing where the folder is of use."""

    def run() -> list[float]:
        if user is not None:
            os.setgid(user)
            os.setuid(user)
        return estimated(cache_folder)

    compiled = 0.0
    for attempt in ("first", "second"):
        ended = forked(run)
        if ended.refused:
            raise Lost(f"{attempt} run is refused: {ended.refused}")
        if ended.value[:-1] != right:
            raise Lost(f"{attempt} run gives {ended.value[:-1]}, not {right}")
        said = [line for line in ended.err.splitlines() if "Warning: " in line]
        if len(said) > 2:  # what is damaged, and that it cannot be replaced
            raise Lost(f"{attempt} run warns {len(said)} times: {said[-1][:200]}")
        compiled = compiled or ended.value[-1]
    if found := leftovers(cache_folder):
        raise Lost(f"leaves {found}")
    return REFUSED if compiled else RIGHT


def of_content(kind: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            rng = Random(seed)
            cache_folder, right, own = copied(folder)
            path = rng.choice(own)
            path.write_bytes(damaged(path.read_bytes(), kind, rng))
            return _check(cache_folder, right)

        return Case(kind, f"seed {seed}", act)

    return make


def of_place(kind: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            rng = Random(seed)
            cache_folder, right, own = copied(folder)
            PLACES[kind](rng.choice(own), rng)
            user = None
            if kind == "unreadable" and os.geteuid() == 0:  # root reads all the same
                _given(folder, NOBODY)
                user = NOBODY
            return _check(cache_folder, right, user)

        return Case(kind, f"seed {seed}", act)

    return make


def _given(folder: Path, owner: int) -> None:
    """Give a folder and what is in it to another user, and let that one reach it."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner, owner, follow_symlinks=False)


def of_everything(rng: Random) -> Case:
    """Damage every file at once, each in a way of its own."""
    seed = rng.getrandbits(32)

    def act(folder: Path) -> str:
        rng = Random(seed)
        cache_folder, right, _ = copied(folder)
        for path in files(cache_folder):
            path.write_bytes(damaged(path.read_bytes(), rng.choice(CONTENTS), rng))
        return _check(cache_folder, right)

    return Case("every file damaged", f"seed {seed}", act)


def of_folder(kind: str, change: Callable[[Path], None]) -> Callable[[Random], Case]:
    """Change who may write into the folder: what is in it is not used then."""

    def make(rng: Random) -> Case:
        def act(folder: Path) -> str:
            cache_folder, right, _ = copied(folder)
            change(cache_folder)
            ended = forked(lambda: estimated(cache_folder))
            if ended.refused or ended.value[:-1] != right:
                raise Lost(f"gives {ended.refused or ended.value}")
            if not ended.value[-1]:
                raise Lost("loads code that another user may have written")
            if ended.err.count("Warning: ") != 1:
                raise Lost(f"warns {ended.err.count('Warning: ')} times")
            return REFUSED

        return Case(kind, "", act)

    return make


def _group_writable(folder: Path) -> None:
    os.chown(folder, -1, NOBODY)
    folder.chmod(0o770)


def _writable(mode: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | mode)

    return change


def _files_writable(folder: Path) -> None:
    for path in files(folder):
        path.chmod(0o666)


def gone(rng: Random) -> Case:
    """Remove the folder while an estimate runs: at each of Numba's compilations."""
    share = rng.random()

    def act(folder: Path) -> str:
        _, right, _ = filled()
        cache_folder = folder / "cache"

        def run() -> list[float]:
            import sys

            seen = [0]

            def hook(event: str, arguments: tuple) -> None:
                if event in ("open", "os.rename") and str(cache_folder) in str(arguments[0]):
                    seen[0] += 1
                    if seen[0] == 1 + math.floor(4 * share):
                        shutil.rmtree(cache_folder, ignore_errors=True)

            sys.addaudithook(hook)
            return estimated(cache_folder)

        ended = forked(run)
        if ended.refused or ended.value[:-1] != right:
            raise Lost(f"gives {ended.refused or ended.value}")
        return _check(cache_folder, right)

    return Case("folder removed meanwhile", f"share {share:.3f}", act)


RATES = (
    b"", b"{", b"[]", b"null", b"NaN", b"1e999", b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe", b"\0", b"9" * 5000,
    *(b'{"MACHINE": {"cpu": %s}}' % x for x in (b"1", b"[]", b'{"float32": NaN}', b'{"float32": "x"}')),
    *(b'{"MACHINE": {"cpu": {%s}}}' % x for x in (
        b'"float32": -1, "float64": 1, "call": 1, "load": 0, "compile": 0, "equation": 0, "gigabyte": 0',
        b'"float32": 1e999, "float64": 0, "call": 1, "load": 0, "compile": 0, "equation": 0, "gigabyte": 0',
        b'"float32": 1e9, "float64": 1e9, "call": 0, "load": 0, "compile": 0, "equation": 0, "gigabyte": ' + b"9" * 400
    )),
)  # fmt: skip


def of_rates(rng: Random) -> Case:
    """Damage what `mcgrad tune` keeps: the defaults are used instead."""
    content = rng.choice(RATES)

    def act(folder: Path) -> str:
        from mcgrad.backends.rates import machine

        cache_folder, right, _ = copied(folder)
        (cache_folder / "rates.json").write_bytes(content.replace(b"MACHINE", machine().encode()))

        def run() -> list[float]:
            os.environ["MCGRAD_CACHE_DIR"] = str(cache_folder)
            found = mg.estimate(sine, mg.Normal(0.3, 1.2), 5000, threads=1)
            if found.backend == "numpy":
                return [*right, 0]
            return [found.value, found.stderr, found.grad["loc"], found.grad["scale"], 0]

        ended = forked(run)
        if ended.refused or ended.value[:-1] != right:
            raise Lost(f"gives {ended.refused or ended.value}")
        return RIGHT

    return Case("rates.json damaged", repr(content[:40]), act)


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn, on a file of the folder by chance."""
    folders = {"folder writable by all": _writable(0o002), "files writable by all": _files_writable}
    if os.geteuid() == 0:  # a folder of a user's own group is as safe as one of the user's
        folders["folder writable by its group"] = _group_writable
        folders["folder of another user"] = lambda folder: _given(folder, NOBODY)
        folders["files of another user"] = lambda folder: [os.chown(path, NOBODY, NOBODY) for path in files(folder)]
    makers = [of_content(kind) for kind in CONTENTS] + [of_place(kind) for kind in PLACES]
    makers += [of_everything, of_rates, gone, *(of_folder(kind, change) for kind, change in folders.items())]
    return in_turn(rng, makers)
