"""Compile emitted source to a function for the CPU, or load it from the cache; execute it as a module for the GPU.

The CPU backend calls `load`, `ptx` calls `module`. Source is executed from memory, under a file name by which
tracebacks and debuggers find its lines. The machine code that Numba makes is an entry of the cache (`machine_code`),
under a hash of everything that it depends on (`cache.key`): a second process compiles nothing.

A function is kept in memory while a kernel refers to it, and the last `RECENT` for longer. Numba's own registries would
keep every function, with the results of its type inference, for the life of the process, as their entries refer back to
the function. `_release` and the empty module of `_importable` cut these references.
"""

from __future__ import annotations

import linecache
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Any

from mcgrad.cache import entry, folder, making
from mcgrad.cache.key import key
from mcgrad.system.locks import Lock
from mcgrad.system.recent import Recent
from mcgrad.toolchain.machine_code import KIND, MachineCode

RECENT = 256  # compiled functions that are kept though no kernel refers to them; releasing them frees little memory

_lock = Lock()  # held while compiling, which takes seconds
_finding = Lock()  # of `_loaded`, so that functions are found while another thread compiles
_loaded: Recent[tuple[Any, ...], Callable[..., Any]] = Recent(RECENT)


def load(source: str, name: str, user_functions: Sequence[Any], arguments: Sequence[Any]) -> Callable[..., Any]:
    """Compile emitted source, or find it compiled: in this process, or in the cache folder.

    Parameters
    ----------
    source : str
        Source of a module; user functions are its globals native0, native1, ...
    name : str
        The function to return.
    user_functions : sequence
        The user's own compiled functions. With any of these nothing is kept on disk, as Numba could not tell whether
        they have changed; in this process the same objects have the same code.
    arguments : sequence
        Of the types that it is compiled for; it is called with these.
    """
    # The compiled function refers to the user's functions, so that their ids are not given to other objects.
    known = (key(source), name, *map(id, user_functions))
    found = _find(known)
    if found is not None:
        return found
    _delay_forks()
    with _lock:
        found = _find(known)  # another thread may have compiled it while this one waited
        if found is None:
            found = _compiled(source, name, user_functions, arguments)
            with _finding:
                _loaded.put(known, found)
        return found


def _find(known: tuple[Any, ...]) -> Callable[..., Any] | None:
    with _finding:
        return _loaded.find(known)


def is_compiled(source: str, name: str, user_functions: Sequence[Any] = ()) -> bool:
    """Whether machine code for emitted source exists, in this process or in the cache folder."""
    known = _loaded.get((key(source), name, *map(id, user_functions)))
    return known is not None or (not user_functions and folder.exists(_entry(source, name)))


def module(source: str, user_functions: Sequence[Any]) -> ModuleType:
    """Execute emitted source as a module."""
    found = key(source)
    filename, module = f"<mcgrad-{found}>", ModuleType(f"mcgrad_{found}")
    module.__dict__.update({f"native{i}": function for i, function in enumerate(user_functions)})
    lines = (len(source), None, source.splitlines(keepends=True), filename)
    linecache.cache[filename] = lines
    weakref.finalize(module, _forget, filename, lines).atexit = False
    exec(compile(source, filename, "exec"), module.__dict__)
    return module


def address(function: Any) -> int:
    """Return the address of the machine code of a function that `load` returned, to be called by other such code."""
    (result,) = function.overloads.values()
    found: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return found


@cache
def _delay_forks() -> None:
    """Delay forks until compilations end: a child could not acquire Numba's lock, which a compilation holds."""
    import numba  # noqa: F401 - it imports logging, whose lock is taken by compilations and by forks

    _lock.delay_forks()


def _entry(source: str, name: str) -> str:
    return entry.file_name(key(source, name), KIND)


def _compiled(source: str, name: str, user_functions: Sequence[Any], arguments: Sequence[Any]) -> Callable[..., Any]:
    from mcgrad.kernels import symbols  # noqa: F401 - before anything is compiled, so that no symbol is made twice

    made = module(source, user_functions)
    function: Any = getattr(made, name)
    function.module = made  # keeps its lines in `linecache`
    with _importable(made.__name__):
        if user_functions:
            function(*arguments)
        else:
            with making.content(_entry(source, name)) as content:
                function._cache = MachineCode(_entry(source, name), content)
                function(*arguments)
    _release(function)
    return function  # type: ignore[no-any-return]


@contextmanager
def _importable(name: str) -> Iterator[None]:
    """Put an empty module of this name into `sys.modules`, which Numba imports as it makes or loads machine code."""
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        sys.modules.pop(name, None)


def _release(function: Any) -> None:
    """Remove a compiled function from Numba's registries, and the data that only other compilations would read."""
    for types, result in list(function.overloads.items()):
        with suppress(KeyError):
            result.target_context.remove_user_function(result.entry_point)  # for calls by other compiled functions
        result.fndesc.typemap = result.fndesc.calltypes = None
        result.library._shared_module = result.library._compiled_object = None  # LLVM modules, for linking into others
        function.overloads[types] = result._replace(type_annotation="", metadata=None)  # its typed IR


def _forget(filename: str, lines: object) -> None:
    if linecache.cache.get(filename) is lines:
        del linecache.cache[filename]
