"""Data files that are damaged or not what they seem: refused by name, or read as what they say."""

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, in_turn, numbers
from tests.reliability.cache_damage import CONTENTS, damaged

COLUMN = np.array([0.25, -1.5, 3.0, 0.125, 7.75])
OTHER = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
MODEL = "import numpy as np\n\n\ndef f(z, *, x):\n    return z * np.sum(np.cumsum(x) * np.cumsum(x))\n"
JOB = """
integrand = "model.py:f"
distribution = {{family = "Normal"}}
data = {{x = "{reference}"}}
backend = "numpy"
compare = "none"
n = 100
"""
CSV = "x,y\n" + "".join(f"{x},{y}\n" for x, y in zip(COLUMN, OTHER, strict=True))
TABLES = {  # what a CSV file holds -> whether its column x is COLUMN beyond doubt
    "right": (CSV, True),
    "byte order mark": ("\ufeff" + CSV, True),
    "Windows line ends": (CSV.replace("\n", "\r\n"), True),
    "quoted": ('"x","y"\n' + "".join(f'"{x}","1"\n' for x in COLUMN), True),
    "blank lines at the end": (CSV + "\n\n", True),
    "decimal comma": ("x,y\n" + CSV[4:].replace(".", ","), False),
    "semicolons": (CSV.replace(",", ";"), False),
    "tabs": (CSV.replace(",", "\t"), False),
    "surplus field": (CSV.replace("3.0,30.0", "3.0,30.0,1"), False),
    "missing field": (CSV.replace("3.0,30.0", "3.0"), False),
    "empty field": (CSV.replace("3.0,30.0", ",30.0"), False),
    "two columns x": (CSV.replace("x,y", "x,x"), False),
    "no header": (CSV.partition("\n")[2], False),
    "only a header": ("x,y\n", False),
    "empty": ("", False),
    "a word": (CSV.replace("3.0", "three"), False),
    "underscores": (CSV.replace("3.0", "3_0.0"), False),
    "too large": (CSV.replace("3.0", "1e999"), False),
    "hexadecimal": (CSV.replace("3.0", "0x3"), False),
    "complex": (CSV.replace("3.0", "3j"), False),
    "boolean": (CSV.replace("3.0", "True"), False),
    "a NUL": (CSV.replace("3.0", "3\x00.0"), False),
    "an open quote": (CSV.replace("3.0", '"3.0'), False),
    "a long field": (CSV.replace("3.0", "3" * 200_000), False),
    "a long header": (CSV.replace("x,y", "x," + "y" * 200_000), None),
    "a comment": (CSV.replace("3.0,", "# 3.0,"), False),
    "escapes": (CSV.replace("3.0", "\x1b[2J"), False),
}  # fmt: skip


def _ran(folder: Path, name: str, content: bytes, entry: str) -> float | None:
    """Run a job on a data file; return its value, or None where the file is refused, by the key."""
    if not (folder / name).exists():
        (folder / name).write_bytes(content)
    (folder / "model.py").write_text(MODEL)
    (folder / "job.toml").write_text(JOB.format(reference=f"{name}:{entry}" if entry else name))
    ended = command(folder, "run", "job.toml")
    if ended.value == 0:
        return numbers(folder / "results" / "job.json")["grad"]["loc"]
    if ended.value != 2:
        raise Lost(f"status {ended.value}: {ended.err[-200:]}")
    if "data.x" not in ended.err or "\x1b" in ended.err:
        raise Lost(f"does not name the key: {ended.err[-200:]}")
    if len(ended.err) > 2000:
        raise Lost(f"refuses in {len(ended.err)} characters")
    return None


def _weight(x: np.ndarray) -> float:
    """Return the gradient in loc, which is exact: f is linear in z."""
    return float(np.sum(np.cumsum(x) * np.cumsum(x)))


def _judged(found: float | None, right: float | None) -> str:
    if found is None:
        return REFUSED
    if right is None or not np.isclose(found, right, rtol=1e-12, equal_nan=True):
        raise Lost(f"gives {found}, not {right}")
    return RIGHT


def table(name: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        def act(folder: Path) -> str:
            text, sure = TABLES[name]
            found = _ran(folder, "d.csv", text.encode(), "x")
            if sure and found is None:
                raise Lost("is refused")
            return _judged(found, None if sure is False else _weight(COLUMN))

        return Case(f"CSV: {name}", "", act)

    return make


def encoded(encoding: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        def act(folder: Path) -> str:
            return _judged(_ran(folder, "d.csv", CSV.replace("y", "gröÿe").encode(encoding), "x"), _weight(COLUMN))

        return Case(f"CSV in {encoding}", "", act)

    return make


def _column(content: bytes) -> float | None:
    """Return what a damaged CSV file says by the strictest reading; None where it says nothing for certain."""
    try:
        rows = [line.split(",") for line in content.decode("utf-8").splitlines()]
        if rows[0].count("x") != 1 or len(set(rows[0])) != len(rows[0]) or any(len(r) != len(rows[0]) for r in rows):
            return None
        place = rows[0].index("x")
        x = np.array([float(row[place]) for row in rows[1:]])
        return _weight(x) if len(x) else None
    except (ValueError, IndexError):
        return None


@cache
def stored(ending: str) -> bytes:
    buffer = io.BytesIO()
    if ending == "npy":
        np.save(buffer, COLUMN)
    elif ending == "npz":
        np.savez(buffer, x=COLUMN, y=OTHER)
    elif ending == "compressed npz":
        np.savez_compressed(buffer, x=COLUMN, y=OTHER)
    else:
        return CSV.encode()
    return buffer.getvalue()


def damage(ending: str, kind: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            content = damaged(stored(ending), kind, Random(seed))
            found = _ran(folder, f"d.{ending[-3:]}", content, "" if ending == "npy" else "x")
            if ending == "csv":
                right = _column(content)
            elif ending == "npy":  # has no checksum: what it says is what it says
                try:
                    right = _weight(np.load(io.BytesIO(content), allow_pickle=False))
                except Exception:
                    right = None
            else:
                right = _weight(COLUMN)
            return _judged(found, right)

        return Case(f"{ending}: {kind}", f"seed {seed}", act)

    return make


def _header(text: str) -> bytes:
    raw = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw


def _npz(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _saved(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000,), }\n"
ARRAYS = {
    "objects": _saved(np.array([1.0, None], dtype=object)),
    "text": _saved(["a", "b"]),
    "records": _saved(np.zeros(2, dtype=[("a", "f8")])),
    "dates": _saved(np.array(["2020-01-01"], dtype="M8[D]")),
    "complex": _saved([1j]),
    "nothing": _saved(np.empty(0)),
    "huge shape": _header(HUGE) + b"\0" * 16,
    "overflowing shape": _header(HUGE.replace("(1000000000000000000,)", "(4294967296, 4294967296, 16)")),
    "negative shape": _header(HUGE.replace("1000000000000000000", "-5")) + b"\0" * 40,
    "header that calls": _header("__import__('os').system('true')\n"),
    "header of brackets": _header("(" * 5000),
    "header not closed": _header("{'descr': "),
    "odd descr": _header(HUGE.replace("'<f8'", "'<f7'")),
    "nested descr": _header(HUGE.replace("'<f8'", str([("a", [("b", "<f8")])]))),
    "version 9": b"\x93NUMPY\x09\x00" + b"\0" * 64,
    "long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 1000,
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94.",
}


def array(name: str, ending: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        def act(folder: Path) -> str:
            content = ARRAYS[name] if ending == "npy" else _npz(x=ARRAYS[name])
            return _judged(_ran(folder, f"d.{ending}", content, "" if ending == "npy" else "x"), None)

        return Case(f"{ending} of wrong contents", name, act)

    return make


def archive(rng: Random) -> Case:
    """Archives without the entry, of another kind, or with more in them than they seem."""
    bomb = _npz(x=_header(HUGE.replace("1000000000000000000", "10000000000")) + bytes(50_000_000))
    name, content = rng.choice(
        [("no such entry", _npz(y=_saved(COLUMN))), ("no entries", _npz()), ("no npy", _npz(x=b"hello")),
         ("a bomb", bomb), ("text", b"hello"), ("a path", _npz(**{"../x": _saved(COLUMN)}))]
    )  # fmt: skip

    def act(folder: Path) -> str:
        return _judged(_ran(folder, "d.npz", content, "x"), None)

    return Case("npz of wrong contents", name, act)


def special(rng: Random) -> Case:
    """What is no regular file must not be waited for."""
    ending, what = rng.choice(["csv", "npy", "npz"]), rng.choice(["folder", "FIFO", "loop", "/dev/zero", "missing"])

    def act(folder: Path) -> str:
        path = folder / f"d.{ending}"
        if what == "folder":
            path.mkdir()
        elif what == "FIFO":
            os.mkfifo(path)
        elif what == "missing":
            path.symlink_to("nowhere")
        else:
            path.symlink_to(path if what == "loop" else what)
        (folder / "model.py").write_text(MODEL)
        (folder / "job.toml").write_text(JOB.format(reference=f"d.{ending}" if ending == "npy" else f"d.{ending}:x"))
        ended = command(folder, "run", "job.toml")
        if ended.value != 2 or "data.x" not in ended.err:
            raise Lost(f"status {ended.value}: {ended.err[-200:]}")
        return REFUSED

    return Case("no regular file", f"{ending}, {what}", act)


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    makers = [*map(table, TABLES), *map(encoded, ("latin-1", "utf-16", "utf-8"))]
    makers += [damage(ending, kind) for ending in ("csv", "npy", "npz", "compressed npz") for kind in CONTENTS]
    makers += [array(name, ending) for ending in ("npy", "npz") for name in ARRAYS]
    return in_turn(rng, [*makers, archive, special])
