"""Integrands written for another library's arrays: a callable that mcgrad traces like a NumPy function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from types import FunctionType
from typing import Any, Self, TypeVar

from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import called
from mcgrad.pickles import is_importable

Kind = TypeVar("Kind", bound="FrameworkFunction")


class FrameworkFunction:
    """A function of another library's arrays, that takes NumPy arrays and Tracers, too.

    Parameters
    ----------
    function : callable
        Its name, docstring and signature are this object's.
    """

    maker = ""  # the public function that makes objects of this class
    __qualname__: str  # the function's

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise ParameterError("f", shown(function), "a function of one draw")
        self.function = function
        self.__name__ = type(function).__name__  # of an object that has no name
        functools.update_wrapper(self, function, updated=())

    def __repr__(self) -> str:
        return f"{self.maker}({called(self.function)})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name where the name in its module is this object, as that of a decorated function is."""
        if is_importable(self):
            return str(self.__qualname__)
        return _made, (type(self), self.function, self.kept)

    def __copy__(self) -> Self:
        return self  # as of a function

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself as of a function: what the function refers to is not copied, so nor is what it is kept with."""
        if isinstance(self.function, FunctionType):
            return self
        return _made(type(self), deepcopy(self.function, memo), deepcopy(self.kept, memo))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return f of the library's own arrays as f computes it, and of NumPy arrays and Tracers by NumPy's functions.

        Arrays may be in nested dicts, tuples and lists.
        """
        if any(self.own(leaf) for leaf in leaves((args, kwargs))):
            return self.call(*args, **kwargs)
        return self.replayed(args, kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Return what f computes, of the library's own arrays."""
        return self.function(*args, **kwargs)

    @property
    def kept(self) -> dict[str, Any]:
        """The other arguments that it was made with, by name."""
        return {}

    def own(self, value: Any) -> bool:
        """Whether a value is an array of the library."""
        raise NotImplementedError

    def replayed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what f computes, of NumPy arrays and Tracers."""
        raise NotImplementedError


def _made(kind: type[Kind], function: Any, kept: Mapping[str, Any]) -> Kind:
    return kind(function, **kept)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the values in nested dicts, tuples and lists."""
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves(part)
    else:
        yield tree
