"""Import modules that lie beside a job's Python file, its *neighbours*, for that file and its neighbours alone.

Python itself finds the neighbours of a script because their folder comes first in ``sys.path``. In a batch, other jobs,
libraries, and mcgrad in another thread would then import them, too. The finder here checks the importing module
instead. A neighbour stays in ``sys.modules`` while code of its folder runs, and until code of another folder does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType

LIBRARIES = (
    "mcgrad",
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "numba_cuda",
    "cupy",
    "rich",
    "threadpoolctl",
    "torch",
    "jax",
)
RESERVED = sys.stdlib_module_names | frozenset(LIBRARIES)
IMPORTING = ("<frozen importlib", importlib.__file__ or "<frozen importlib")  # files of the import system

_owners: dict[str, Path] = {}  # folder of each module in `sys.modules` that is a neighbour, by name
_away: dict[Path, dict[str, ModuleType]] = {}  # neighbours that are not in `sys.modules` now, by folder


class _Finder:
    """A finder of neighbours for the import system.

    Parameters
    ----------
    deep : bool
        Whether also for imports by libraries that a job's code has called; this finder comes last.
    """

    def __init__(self, deep: bool) -> None:
        self.deep = deep

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a neighbour, or None, for Python's import system."""
        folder = None if path is not None else _importer(sys._getframe(1), self.deep)
        if folder is None or (self.deep and name in RESERVED):
            return None
        spec = PathFinder.find_spec(name, [str(folder)])
        if spec is None or (spec.origin is None and not self.deep):  # a namespace package: regular ones have precedence
            return None
        if name in RESERVED:
            raise ImportError(
                f"{spec.origin} has the name of a module of Python's or of a library: rename it", name=name
            )
        _owners[name] = folder
        return spec


def run(path: Path) -> ModuleType:
    """Run a job's Python file as a module.

    Parameters
    ----------
    path : Path
        Absolute.
    """
    name = "".join(letter if letter.isidentifier() else "_" for letter in path.stem)
    name = f"mcgrad_job_{name}_{hashlib.blake2b(str(path).encode(errors='surrogateescape'), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _owners[name] = path.parent
    use(path.parent)
    spec.loader.exec_module(module)
    return module


def use(folder: Path) -> None:
    """Make `sys.modules` hold the imported neighbours of one folder, and none of other folders."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path[:] = [_Finder(deep=False), *sys.meta_path, _Finder(deep=True)]
    others = {name: owner for name, owner in _owners.items() if owner != folder and not name.startswith("mcgrad_job_")}
    for name in list(sys.modules) if others else []:
        top = name.partition(".")[0]
        if top in others:
            _away.setdefault(others[top], {})[name] = sys.modules.pop(name)
    for name in others:
        del _owners[name]
    for name, module in _away.pop(folder, {}).items():
        sys.modules[name] = module
        _owners[name.partition(".")[0]] = folder


def _importer(frame: FrameType | None, deep: bool) -> Path | None:
    """Return the folder of the job whose code imports: that of the importing frame, or with `deep` of any caller."""
    while frame is not None:
        if not frame.f_code.co_filename.startswith(IMPORTING):
            owner = _owners.get(str(frame.f_globals.get("__name__")).partition(".")[0])
            if owner is not None or not deep:
                return owner
        frame = frame.f_back
    return None
