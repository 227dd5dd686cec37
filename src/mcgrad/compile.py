"""Turn emitted source into a module or a compiled function, by way of the cache.

Source is executed from memory, under a name by which tracebacks and debuggers find its lines. What Numba makes of it
is an entry of the cache (`machine_code`), under a hash of all that it depends on (`cache.key`): a second process
compiles nothing.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mcgrad.cache import entry, folder
from mcgrad.cache.key import key
from mcgrad.machine_code import KIND, MachineCode

_lock = threading.RLock()
_loaded: dict[str, Callable[..., Any]] = {}
_modules: dict[str, ModuleType] = {}


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
        known = f"{key(source)}.{name}"
        if known not in _loaded:
            function = getattr(module(source, natives), name)
            function._cache = MachineCode(_entry(source, name))
            _loaded[known] = function
        return _loaded[known]


def module(source: str, natives: list[Any]) -> ModuleType:
    """Execute emitted source as a module: once, unless there are `natives`."""
    if natives:
        return _execute(source, natives)
    with _lock:
        name = key(source)
        if name not in _modules:
            _modules[name] = _execute(source, natives)
        return _modules[name]


def is_compiled(source: str, name: str) -> bool:
    """Whether machine code for emitted source exists, in this process or in the cache folder."""
    loaded = _loaded.get(f"{key(source)}.{name}")
    if loaded is not None and loaded.signatures:  # type: ignore[attr-defined]
        return True
    return folder.exists(_entry(source, name))


def _entry(source: str, name: str) -> str:
    return entry.file_name(key(source, name), KIND)


def _execute(source: str, natives: list[Any]) -> ModuleType:
    found = key(source)
    filename, module = f"<mcgrad-{found}>", ModuleType(f"mcgrad_{found}")
    module.__dict__.update({f"native{i}": function for i, function in enumerate(natives)})
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    if not natives:
        sys.modules[module.__name__] = module  # Numba finds it by its name as it loads machine code
    exec(compile(source, filename, "exec"), module.__dict__)
    return module
