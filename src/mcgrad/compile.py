"""Turn emitted source into a compiled function, by way of a file in the cache folder.

The file's name is a hash of all that the machine code depends on: the source itself, the sources of the kernels it
calls, and the versions of Numba and llvmlite. Numba keeps its own cache beside the file, but looks only at the file
itself; the hash makes up for what it would miss. A traceback or a debugger finds the file like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mcgrad.machine import version

CACHE_VARIABLE = "MCGRAD_CACHE_DIR"

_lock = threading.Lock()
_loaded: dict[str, Callable[..., Any]] = {}


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
    digest = _digest(source)
    if natives:
        module = _execute(source, f"<mcgrad {digest}>", natives)
        return getattr(module, name)  # type: ignore[no-any-return]
    with _lock:
        key = f"{digest}.{name}"
        if key not in _loaded:
            _loaded[key] = getattr(_import(source, digest), name)
        return _loaded[key]


def is_compiled(source: str, name: str) -> bool:
    """Whether machine code for emitted source exists, in this process or in the cache folder."""
    digest = _digest(source)
    loaded = _loaded.get(f"{digest}.{name}")
    if loaded is not None and loaded.signatures:  # type: ignore[attr-defined]
        return True
    return any((cache_folder() / "__pycache__").glob(f"mcgrad_{digest}.{name}-*.nbc"))


def _digest(source: str) -> str:
    return hashlib.sha256((kernels_hash() + source).encode()).hexdigest()[:24]


def _import(source: str, digest: str) -> ModuleType:
    path = _write(source, digest)
    if path is None:
        return _execute(source.replace("@njit(cache=True, ", "@njit("), f"<mcgrad {digest}>", [])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Numba's cache looks the module up by its name
    spec.loader.exec_module(module)
    return module


def _write(source: str, digest: str) -> Path | None:
    """Write the source into the cache folder, at once or not at all; None where the folder cannot be written."""
    folder = cache_folder()
    path = folder / f"mcgrad_{digest}.py"
    try:
        if path.exists() and path.read_text() == source:
            return path
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(source)
        os.replace(temporary, path)
    except OSError:
        return None
    return path


def _execute(source: str, filename: str, natives: list[Any]) -> ModuleType:
    import linecache

    source = source.replace("@njit(cache=True, ", "@njit(")
    module = ModuleType(filename.strip("<>").replace(" ", "_"))
    module.__dict__.update({f"native{i}": function for i, function in enumerate(natives)})
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), module.__dict__)
    return module
