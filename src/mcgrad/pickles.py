"""Functions in pickles: by name where another process can import them, and as code, by cloudpickle, otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from operator import attrgetter
from types import FunctionType
from typing import Any, Self
from weakref import WeakValueDictionary

from mcgrad.errors import ParameterError

_being_written: ContextVar[tuple[Any, ...]] = ContextVar("functions whose code is being written", default=())


class HoldsFunctions:
    """An object with functions of the user's among its attributes, whose pickle takes them along whatever they are."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for a pickle."""
        return portable(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set the attributes."""
        vars(self).update(restored(state))


class Code:
    """Stands for a function in what is pickled; it arrives as the function.

    Parameters
    ----------
    function : function
    name : str
        What it is to the user, for an error.
    """

    def __init__(self, function: Any, name: str) -> None:
        self.function, self.name = function, name

    def __reduce__(self) -> tuple[Any, ...]:
        return _function, (_written(self.function, self.name),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # as of the function


_codes: WeakValueDictionary[int, Code] = WeakValueDictionary()  # by the function's id: a pickle has a function once


def portable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an object with a `Code` in place of each function that pickle would not take.

    Such a function has no name in a module that other processes can import: it is a lambda, or was defined inside of
    another function or in a notebook.
    """
    return {name: code_of(value, name) for name, value in fields.items()}


def restored(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with their functions: a copy, which is made of `portable` fields, too, has a `Code` for some."""
    return {name: function_of(value) for name, value in fields.items()}


def code_of(value: Any, name: str) -> Any:
    """Return a `Code` in place of a function that pickle would not take, and anything else as it is."""
    function = value.func if isinstance(value, partial) else value
    if not isinstance(function, FunctionType) or is_importable(function):
        return value
    if any(value is each for each in _being_written.get()):
        return value  # in what the function itself refers to: cloudpickle is at work, and knows the function
    return _codes.setdefault(id(value), Code(value, name))


def function_of(value: Any) -> Any:
    """Return the function that a `Code` stands for, and anything else as it is."""
    return value.function if isinstance(value, Code) else value


def unnamed(function: FunctionType) -> FunctionType:
    """Return a copy of a function, which cloudpickle takes as code with the globals that it reads."""
    new = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    new.__kwdefaults__, new.__doc__ = function.__kwdefaults__, function.__doc__
    new.__module__, new.__qualname__ = function.__module__, function.__qualname__
    return new


def is_importable(function: Any) -> bool:
    """Return whether other processes find a function by the name that it has in its module."""
    if function.__module__ == "__main__" and is_interactive():
        return False
    try:
        return bool(attrgetter(function.__qualname__)(sys.modules[function.__module__]) is function)
    except (AttributeError, KeyError):
        return False


def is_interactive() -> bool:
    """Return whether ``__main__`` is no file, as in a notebook: other processes cannot import its functions."""
    return not os.path.isfile(getattr(sys.modules["__main__"], "__file__", ""))  # "<stdin>" for a program on stdin


def _written(function: Any, name: str) -> bytes:
    """Return a function as bytes.

    Raises
    ------
    ParameterError
        It holds an object that cannot be pickled, such as an open file.
    """
    from numba import cloudpickle  # part of Numba, a dependency

    token = _being_written.set((*_being_written.get(), function))
    try:
        return bytes(cloudpickle.dumps(function))  # type: ignore[no-untyped-call]
    except ParameterError:
        raise
    except Exception as error:  # any exception of a user's __reduce__
        given = f"{_named(function)}, which cannot be pickled ({error})"
        raise ParameterError(name, given, "a function that holds what pickle or cloudpickle takes") from error
    finally:
        _being_written.reset(token)


def _named(value: Any) -> str:
    function = value.func if isinstance(value, partial) else value
    code = function.__code__
    return f"{function.__qualname__.rpartition('<locals>.')[2]} of {code.co_filename}, line {code.co_firstlineno}"


def _function(code: bytes) -> Any:
    """Return the function."""
    from numba import cloudpickle

    return cloudpickle.loads(code)
