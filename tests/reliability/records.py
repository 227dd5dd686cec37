"""Results and checkpoints that were changed: refused, or the numbers that were written; --resume ends with those."""

import io
import json
import math
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import mcgrad as mg
from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, forked, in_turn, leftovers, numbers
from tests.reliability.cache_damage import CONTENTS, damaged

N = 600_000  # several chunks
JOB = f"""
integrand = "model.py:f"
distribution = {{family = "Normal", loc = [0.3, 0.1], scale = 1.2}}
backend = "numpy"
compare = "none"
threads = 1
n = {N}
"""
MODEL = "import numpy as np\n\n\ndef f(z):\n    return np.sum(np.sin(z))\n"
RESULT, ARRAYS, CHECKPOINT = "results/job.json", "results/job.npz", "results/.job.checkpoint.json"
VALUES = (
    *(None, True, False, 0, 1, -1, 7, 2**63, 2**64, 2**200, 0.5, -0.0, 1e308, "", "nan", "inf", "7", "1e400"),
    *([], [1], [[0, 7]], [[7, 0]], {}, {"a": 1}, [10**12], "numpy", "x" * 1000, "\ud800"),
)


def prepared(folder: Path) -> None:
    (folder / "job.toml").write_text(JOB)
    (folder / "model.py").write_text(MODEL)


@cache
def written() -> tuple[TemporaryDirectory, dict[str, bytes], dict[str, Any]]:
    """Return what a run and an interrupted run write, and the numbers."""
    keep = TemporaryDirectory(prefix="mcgrad-attack-records-")
    folder = Path(keep.name)
    prepared(folder)

    def run() -> None:
        from mcgrad.cli import main
        from mcgrad.jobs import checkpoint

        writer, seen = checkpoint.CheckpointWriter.__call__, []

        def call(self: Any, state: Any) -> None:
            writer(self, state)
            self.flush()
            seen.append(state)
            if len(seen) == 3:
                raise KeyboardInterrupt

        checkpoint.CheckpointWriter.__call__ = call  # type: ignore[method-assign]
        os.chdir(folder)
        main(["run", "job.toml", "--checkpoint", "0"])

    forked(run)
    kept = {CHECKPOINT: (folder / CHECKPOINT).read_bytes()}
    (folder / CHECKPOINT).unlink()
    if command(folder, "run", "job.toml").value != 0:
        raise RuntimeError("the job does not run")
    kept |= {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "results").iterdir()}
    return keep, kept, numbers(folder / RESULT)


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all fields and elements."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for name, x in inner for found in _places(x, (*path, name))]


def _at(fields: Any, place: tuple) -> tuple[Any, Any]:
    for name in place[:-1]:
        fields = fields[name]
    return fields, place[-1]


def removed(text: str, rng: Random) -> str:
    fields = json.loads(text)
    parent, name = _at(fields, rng.choice(_places(fields)))
    del parent[name]
    return json.dumps(fields)


def retyped(text: str, rng: Random) -> str:
    fields = json.loads(text)
    parent, name = _at(fields, rng.choice(_places(fields)))
    parent[name] = rng.choice(VALUES)
    return json.dumps(fields)


def without_digest(text: str, rng: Random) -> str:
    """Retype a field of a result without a digest, as earlier versions wrote them: only sense can be checked."""
    fields = json.loads(text)
    fields.pop("digest", None)
    parent, name = _at(fields, rng.choice(_places(fields)))
    parent[name] = rng.choice(VALUES)
    return json.dumps(fields)


def not_finite(text: str, rng: Random) -> str:
    fields = json.loads(text)
    places = [place for place in _places(fields) if isinstance(_at(fields, place)[0][place[-1]], int | float)]
    parent, name = _at(fields, rng.choice(places))
    parent[name] = rng.choice([math.nan, math.inf, -math.inf])
    return json.dumps(fields)


def digit(text: str, rng: Random) -> str:
    """Change one digit somewhere."""
    place = rng.choice([i for i, letter in enumerate(text) if letter.isdecimal()])
    return text[:place] + rng.choice([x for x in "0123456789" if x != text[place]]) + text[place + 1 :]


def deep(text: str, rng: Random) -> str:
    fields = json.loads(text)
    name = rng.choice(list(fields))
    depth = rng.choice([50, 900, 5000, 200_000])
    bracket, end = rng.choice([("[", "]"), ('{"a":', "}")])
    fields[name] = "HERE"
    return json.dumps(fields).replace('"HERE"', bracket * depth + "1" + end * depth)


def doubled(text: str, rng: Random) -> str:
    """Say a field twice, differently."""
    name = rng.choice(list(json.loads(text)))
    return text.rstrip()[:-1] + f", {json.dumps(name)}: {json.dumps(rng.choice(VALUES))}}}"


def long(text: str, rng: Random) -> str:
    """Put a number of thousands of digits somewhere."""
    fields = json.loads(text)
    parent, name = _at(fields, rng.choice(_places(fields)))
    parent[name] = "HERE"
    return json.dumps(fields).replace('"HERE"', "1" * rng.choice([400, 5000]))


def reformatted(text: str, rng: Random) -> str:
    """Write the same in another way, as tools do."""
    return json.dumps(json.loads(text), indent=rng.choice([None, 1, 4]), sort_keys=rng.random() < 0.5)


TEXTS = {
    "field removed": removed,
    "field of another type": retyped,
    "field of another type, no digest": without_digest,
    "not finite": not_finite,
    "digit changed": digit,
    "nested deeply": deep,
    "field twice": doubled,
    "long number": long,
    "reformatted": reformatted,
}


def change(kind: str, content: bytes, rng: Random) -> bytes:
    if kind in TEXTS:
        return TEXTS[kind](content.decode(), rng).encode(errors="surrogatepass")
    return damaged(content, kind, rng)


def read(kind: str) -> Callable[[Random], Case]:
    """Read a changed result by Estimate.from_json."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            _, kept, right = written()
            changed = change(kind, kept[RESULT], Random(seed))

            def again() -> dict[str, Any]:
                found = json.loads(mg.Estimate.from_json(changed).to_json())
                return {name: value for name, value in found.items() if name not in ("seconds", "digest")}

            ended = forked(again)
            if ended.refused:
                return REFUSED
            if ended.value != right and "no digest" not in kind:
                raise Lost(f"accepts {[name for name in right if ended.value.get(name) != right[name]]}")
            return RIGHT

        return Case(f"from_json: {kind}", f"seed {seed}", act)

    return make


def resume(kind: str, name: str) -> Callable[[Random], Case]:
    """Resume beside a changed file: ends with the right numbers."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            _, kept, right = written()
            prepared(folder)
            (folder / "results").mkdir()
            beside = {name: content for name, content in kept.items() if (name == CHECKPOINT) == (path == CHECKPOINT)}
            for other, content in beside.items():
                (folder / other).write_bytes(content)
            (folder / path).write_bytes(change(kind, kept[path], Random(seed)))
            ended = command(folder, "run", "job.toml", "--resume")
            if ended.value == 2 and "--force" in ended.err:  # it is not known to be ours any more
                ended = command(folder, "run", "job.toml", "--resume", "--force")
            if ended.value != 0:
                raise Lost(f"status {ended.value}: {ended.err[-200:]}")
            found = numbers(folder / RESULT)
            if found != right:
                raise Lost(f"keeps {[name for name in right if found.get(name) != right[name]]}")
            if left := leftovers(folder):
                raise Lost(f"leaves {left}")
            return RIGHT if "complete already" in ended.out or "resumed at draw" in ended.out else REFUSED

        path = RESULT if name == "result" else CHECKPOINT
        return Case(f"resume, {name}: {kind}", f"seed {seed}", act)

    return make


def _arrays(content: bytes) -> dict[str, bytes]:
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return {name: found[name].tobytes() for name in found.files}


def arrays(kind: str) -> Callable[[Random], Case]:
    """Resume beside a result whose arrays are damaged: they are written again."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            _, kept, right = written()
            prepared(folder)
            (folder / "results").mkdir()
            (folder / RESULT).write_bytes(kept[RESULT])
            if kind != "missing":
                (folder / ARRAYS).write_bytes(damaged(kept[ARRAYS], kind, Random(seed)))
            ended = command(folder, "run", "job.toml", "--resume")
            if ended.value != 0 or numbers(folder / RESULT) != right:
                raise Lost(f"status {ended.value}: {ended.err[-200:]}")
            if _arrays((folder / ARRAYS).read_bytes()) != _arrays(kept[ARRAYS]):
                raise Lost("leaves other arrays")
            return RIGHT

        return Case(f"resume, arrays: {kind}", f"seed {seed}", act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    kinds = [*TEXTS, *CONTENTS]
    makers = [read(kind) for kind in kinds]
    makers += [resume(kind, name) for name in ("result", "checkpoint") for kind in kinds]
    makers += [arrays(kind) for kind in ("missing", *CONTENTS)]
    return in_turn(rng, makers)
