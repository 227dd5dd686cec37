"""Turn emitted source into a module or a compiled function, by way of a file in the cache folder.

The file's name is a hash of all that the machine code depends on: the source itself, the sources of the kernels it
calls, and the versions of Numba and llvmlite. Numba keeps its own cache beside the file, but looks only at the file
itself; the hash makes up for what it would miss. A traceback or a debugger finds the file like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mcgrad.atomic import write
from mcgrad.machine import version

CACHE_VARIABLE = "MCGRAD_CACHE_DIR"

_lock = threading.RLock()
_loaded: dict[str, Callable[..., Any]] = {}
_modules: dict[str, ModuleType] = {}


def cache_folder() -> Path:
    """Where emitted source and compiled code are kept: $MCGRAD_CACHE_DIR, or the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("mcgrad", appauthor=False))


@cache
def kernels_hash() -> str:
    """Hash of what every compiled function depends on besides its own source."""
    digest = hashlib.sha256(f"{version('numba')} {version('llvmlite')} {sys.version}".encode())
    for path in sorted((Path(__file__).parent / "kernels").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load(source: str, name: str, natives: list[Any]) -> Callable[..., Any]:
    """Compile emitted source, or find it compiled: in this process, or in the cache folder.

    Parameters
    ----------
    source : str
        Source of a module; user functions are its globals native0, native1, ...
    name : str
        The function to return.
    natives : list
        The user's own compiled functions. With any of these nothing is kept on disk, as Numba could not tell whether
        they have changed.
    """
    if natives:
        return getattr(module(source, natives), name)  # type: ignore[no-any-return]
    with _lock:
        key = f"{digest(source)}.{name}"
        if key not in _loaded:
            _loaded[key] = getattr(module(source, natives), name)
        return _loaded[key]


def module(source: str, natives: list[Any]) -> ModuleType:
    """Execute emitted source as a module: once, and from a file in the cache folder, unless there are `natives`."""
    name = digest(source)
    if natives:
        return _execute(source, f"<mcgrad {name}>", natives)
    with _lock:
        if name not in _modules:
            _modules[name] = _import(source, name)
        return _modules[name]


def keep(path: Path, content: bytes) -> bool:
    """Write a file of the cache folder, at once or not at all; return whether it is there now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    except OSError:
        return False
    return True


def is_compiled(source: str, name: str) -> bool:
    """Whether machine code for emitted source exists, in this process or in the cache folder."""
    key = digest(source)
    loaded = _loaded.get(f"{key}.{name}")
    if loaded is not None and loaded.signatures:  # type: ignore[attr-defined]
        return True
    return any((cache_folder() / "__pycache__").glob(f"mcgrad_{key}.{name}-*.nbc"))


def digest(source: str) -> str:
    """Name emitted source by a hash of it and of what every compiled function depends on."""
    return hashlib.sha256((kernels_hash() + source).encode()).hexdigest()[:24]


def _import(source: str, digest: str) -> ModuleType:
    path = _write(source, digest)
    if path is None:
        return _execute(source, f"<mcgrad {digest}>", [])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Numba's cache looks the module up by its name
    spec.loader.exec_module(module)
    return module


def _write(source: str, digest: str) -> Path | None:
    """Write the source into the cache folder; None where the folder cannot be written."""
    path = cache_folder() / f"mcgrad_{digest}.py"
    try:
        if path.read_text() == source:
            return path
    except OSError:  # not there yet, or not to be read
        pass
    return path if keep(path, source.encode()) else None


def _execute(source: str, filename: str, natives: list[Any]) -> ModuleType:
    import linecache

    source = source.replace("@njit(cache=True, ", "@njit(")
    module = ModuleType(filename.strip("<>").replace(" ", "_"))
    module.__dict__.update({f"native{i}": function for i, function in enumerate(natives)})
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), module.__dict__)
    return module
