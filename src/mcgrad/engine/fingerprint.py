"""A short hash that tells one problem from another, in this process and in any other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import any_on_device, computing, to_host
from mcgrad.inputs.integrand import Integrand
from mcgrad.ir.attributes import Attributes, Literal
from mcgrad.ir.program import Program, Var
from mcgrad.ir.spaces import Input

Values = Mapping[Input, npt.NDArray[Any]]


class Fingerprint:
    """The fingerprint of a Program at values of its parameters and data: the same in another process.

    Parameters
    ----------
    program : Program
    data : dict of Input to array
        What the data are unless a call gives others; hashed once.
    """

    def __init__(self, program: Program, data: Values) -> None:
        self._program, self._data = program, data

    def at(self, inputs: Values) -> str | Callable[[], str]:
        """Return the fingerprint; of arrays on a device a function that works it out later, from copies there.

        Parameters
        ----------
        inputs : dict of Input to array
            All of the Program's; those that are no data are parameters.
        """
        params = [value for name, value in inputs.items() if name not in self._data]
        data: Values = {name: inputs[name] for name in self._data}
        if all(data[name] is own for name, own in self._data.items()):
            data = self._data
        if not any_on_device([*params, *data.values()]):
            return self._digest(params, data)
        with computing():
            params = [value.copy() for value in params]
            if data is not self._data:
                data = {name: value.copy() for name, value in data.items()}
        return lambda: self._digest(params, data)

    def _digest(self, params: Iterable[npt.NDArray[Any]], data: Values) -> str:
        identity = self._own if data is self._data else self._identified(data)
        digest = hashlib.blake2b(identity, digest_size=16)
        for value in params:
            digest.update(np.asarray(to_host(value), np.float64).tobytes())  # equal numbers in whatever dtype
        return digest.hexdigest()

    @cached_property
    def _begun(self) -> hashlib.blake2b:
        return program_hash(self._program)

    @cached_property
    def _own(self) -> bytes:
        return self._identified(self._data)

    def _identified(self, data: Values) -> bytes:
        digest = self._begun.copy()
        for name, array in data.items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(to_host(array).data.cast("B"))
        return digest.digest()


def program_hash(program: Program) -> hashlib.blake2b:
    """Hash a Program, with every literal array in it, but not the data that it reads."""
    digest = hashlib.blake2b(digest_size=16)
    number: dict[Var, int] = {}
    for var in program.equations():
        number[var] = len(number)
        attrs = var.attrs
        parts = [value for _, value in attrs.items()] if isinstance(attrs, Attributes) else [attrs]
        for i, part in enumerate(parts):
            if isinstance(part, Literal):
                digest.update(part.array.tobytes())
                parts[i] = part.array.shape
            elif isinstance(part, Integrand):
                parts[i] = [identity(part.value), identity(part.value_and_grad)]
        digest.update(f"{var.op}{[number[arg] for arg in var.args]}{parts}{var.shape};".encode())
    outputs = [(out.path, number[out.var], None if out.scale is None else number[out.scale]) for out in program.outputs]
    digest.update(f"{outputs}{program.dtype}".encode())
    return digest


def identity(function: Any) -> str:
    """Hash what a function does: its code, and what its defaults, closure and globals hold.

    Parameters
    ----------
    function : callable
        A Python function, as it is or compiled by Numba.

    Notes
    -----
    What cannot be told from its contents, such as an instance of a class, is told by its address: another process then
    takes the function for another one.
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
