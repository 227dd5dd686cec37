"""Hashes of users' functions by their code, for serial forms and fingerprints of Programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np


def identity(function: Any) -> str:
    """Hash what a function does: its code, and what its defaults, closure and globals hold.

    Parameters
    ----------
    function : callable
        A Python function, as it is or compiled by Numba.

    Notes
    -----
    An object without describable contents, such as an instance of a class, counts by its address, so in another process
    the function has another hash.
    """
    return hashlib.blake2b("\n".join(_described(function, {})).encode(), digest_size=16).hexdigest()


def _described(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield lines that say what `value` is; functions and containers that were `seen` before by their number."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield f"{type(value).__name__} {value!r}"
        return
    if id(value) in seen:
        yield f"again {list(seen).index(id(value))}"
        return
    seen[id(value)] = value
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        yield f"array {value.dtype} {value.shape} {hashlib.blake2b(value.tobytes()).hexdigest()}"
    elif hasattr(value, "py_func"):  # Numba's
        yield f"compiled {getattr(value, 'targetoptions', None)}"
        yield from _described(value.py_func, seen)
    elif isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        read = {name: value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__}
        for part in (value.__code__, value.__defaults__, value.__kwdefaults__, cells, read):
            yield from _described(part, seen)
    elif isinstance(value, CodeType):
        yield from _described((value.co_code, value.co_names, value.co_varnames, value.co_consts), seen)
    elif isinstance(value, ModuleType):
        yield f"module {value.__name__} {getattr(value, '__version__', None) or _contents(value)}"
    elif isinstance(value, dict):
        yield from _described([part for item in value.items() for part in item], seen)
    elif isinstance(value, tuple | list):
        yield f"{type(value).__name__} of {len(value)}"
        for part in value:
            yield from _described(part, seen)
    elif isinstance(value, BuiltinFunctionType | np.ufunc | type):
        yield f"{getattr(value, '__module__', '')} {getattr(value, '__qualname__', value.__name__)}"
    else:
        yield f"{type(value)} at {id(value)}"


def _names(code: CodeType) -> list[str]:
    """Names that a function and those inside it look up."""
    inner = [name for const in code.co_consts if isinstance(const, CodeType) for name in _names(const)]
    return sorted({*code.co_names, *inner})


def _contents(module: ModuleType) -> str:
    path = getattr(module, "__file__", None)
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest() if path else ""
