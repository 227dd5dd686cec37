"""Results whose place is taken by files of the user's: refused, and every byte of those is still there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np

from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, in_turn, leftovers

MODEL = "import numpy as np\n\n\ndef f(z, *, x):\n    return np.sum(x) * np.sin(z)\n"
INPUTS = ("study.npz", "table.csv", "array.npy", "model.py", "job.toml")
KINDS: dict[str, tuple[str, str]] = {  # what is attacked -> the job's data and its out
    "an input NPZ": ("study.npz:x", "study"),
    "an input NPZ, by another path": ("study.npz:x", "results/../study"),
    "an input NPZ, through a linked folder": ("study.npz:x", "linked/study"),
    "an input NPZ, by an absolute path": ("study.npz:x", "{folder}/study"),
    "an input that is a link": ("link.npz:x", "study"),
    "a link to an input": ("study.npz:x", "results/soft"),
    "a hard link to an input": ("study.npz:x", "results/hard"),
    "another job's input": ("array.npy", "study"),
    "a user's JSON": ("array.npy", "notes"),
    "a user's NPZ": ("array.npy", "saved"),
    "a user's file, as the checkpoint": ("array.npy", "results/kept"),
    "a folder": ("array.npy", "taken"),
    "a folder, as the checkpoint": ("array.npy", "results/folder"),
    "a FIFO": ("array.npy", "fifo"),
    "nothing": ("study.npz:x", "results/free"),
}


def prepared(folder: Path, data: str, out: str) -> None:
    (folder / "model.py").write_text(MODEL)
    np.savez(folder / "study.npz", x=np.arange(3.0))
    np.savez(folder / "saved.npz", x=np.arange(9.0))
    np.save(folder / "array.npy", np.arange(4.0))
    (folder / "table.csv").write_text("x\n1\n2\n")
    (folder / "notes.json").write_text('{"mine": true}')
    (folder / "results").mkdir()
    (folder / "linked").symlink_to(".")
    (folder / "link.npz").symlink_to("study.npz")
    (folder / "results" / "soft.npz").symlink_to("../study.npz")
    (folder / "results" / "hard.npz").hardlink_to(folder / "study.npz")
    (folder / "results" / ".kept.checkpoint.json").write_text('{"mine": true}')
    (folder / "taken.json").mkdir()
    (folder / "results" / ".folder.checkpoint.json").mkdir()
    (folder / "taken.json" / "inside").write_text("mine")
    job = 'integrand = "model.py:f"\ndistribution = {family = "Normal"}\nbackend = "numpy"\nn = 1000\n'
    (folder / "job.toml").write_text(
        f'{job}\n[[job]]\nname = "one"\ndata = {{x = "{data}"}}\nout = "{out.format(folder=folder)}"\n\n'
        f'[[job]]\nname = "two"\ndata = {{x = "study.npz:x"}}\nout = "results/two"\n'
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def onto(kind: str, force: bool) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        def act(folder: Path) -> str:
            prepared(folder, *KINDS[kind])
            before = contents(folder)
            if kind == "a FIFO":
                import os

                os.mkfifo(folder / "fifo.json")
            ended = command(folder, "run", "job.toml", *["--force"] * force)
            after = contents(folder)
            inputs = {name: content for name, content in before.items() if name.endswith(INPUTS) or not force}
            changed = sorted(name for name, content in inputs.items() if after.get(name) != content)
            if changed:
                raise Lost(f"changes {changed}, status {ended.value}")
            if left := leftovers(folder):
                raise Lost(f"leaves {left}")
            if ended.value != 0 and not ended.err:
                raise Lost(f"status {ended.value} without a word")
            if ended.value == 0:
                again = command(folder, "run", "job.toml", *["--force"] * force)  # over results of our own
                if again.value != 0:
                    raise Lost(f"refuses its own results: {again.err[-200:]}")
            elif not force and kind == "nothing":
                raise Lost(f"status {ended.value}: {ended.err[-200:]}")
            return REFUSED if ended.value else RIGHT

        return Case(f"onto {kind}{', --force' * force}", "", act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    return in_turn(rng, [onto(kind, force) for force in (False, True) for kind in KINDS])
