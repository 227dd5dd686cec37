"""Tracer: the stand-in for an array that a user's function is called with; its answers to NumPy's protocols."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mcgrad.errors import TraceError
from mcgrad.ir.program import Var
from mcgrad.trace import remedies, scipy_special
from mcgrad.trace.array_functions import BUILDERS, JUMPING
from mcgrad.trace.array_methods import ATTRIBUTES, METHODS, remedy
from mcgrad.trace.assignment import Elements, assigned, read
from mcgrad.trace.conversions import Conversions
from mcgrad.trace.filled import plain
from mcgrad.trace.indexing import getitem
from mcgrad.trace.lines import noted, noted_function
from mcgrad.trace.memory import READ_ONLY, VIEWS, Memory, is_view
from mcgrad.trace.operands import DTYPES, operand
from mcgrad.trace.operators import Operators
from mcgrad.trace.refuse import refusal
from mcgrad.trace.rounded import INDICES, is_rounded, refuse_rounded
from mcgrad.trace.traced_index import chooses, chosen, stacked
from mcgrad.trace.ufunc_methods import ACCUMULATE, REDUCE, outer
from mcgrad.trace.ufuncs import UFUNCS

OF_A_COPY = "write to the array itself, or to a copy, z.copy(), or make a new one: z = mg.at(z, i).set(value)"
READ_ONLY_VIEW = "it is a view that NumPy does not let one write to: write to a copy, z.copy()"
UNKNOWN = "it is not among the supported functions, which docs/numpy.md lists"
STEPPING = {"astype", "searchsorted", "digitize", "interp"}  # functions and methods that compare, or round
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "where": (True,),
    "casting": ("same_kind",),
    "order": ("K", "C"),
    "subok": (True, False),
    "mode": ("raise",),
    "copy": (True, False),
    "check_finite": (True, False),
    "overwrite_a": (True, False),
    "overwrite_b": (True, False),
}
STATIC = {"axis", "axes", "axis1", "axis2", "source", "destination", "shape", "indices", "indices_or_sections",
          "repeats", "reps", "shift", "pad_width", "mode", "constant_values", "n", "k", "ord", "offset", "ddof", "dx",
          "dtype", "keepdims"}  # fmt: skip


class NoAttributeError(TraceError, AttributeError):
    """An attribute of ndarray that a Tracer does not have."""


class Tracer(Operators, Conversions):
    """A stand-in for one array of one draw, that records what is done with it.

    Parameters
    ----------
    var : Var
        The equation that computes it.
    base : Tracer, optional
        The array of which it is a view.
    locked : str
        Why its elements may not be assigned to, and what to do; "" if they may.
    """

    __slots__ = ("_locked", "_memory", "_origin", "_rounded", "_value", "_writes")
    __array_priority__ = 1000.0

    def __init__(self, var: Var, base: Tracer | None = None, locked: str = "") -> None:
        self._value: Var | Elements = var
        self._memory: Memory = Memory() if base is None else base._memory
        self._locked: str = locked if base is None else locked or base._locked
        self._writes = self._memory.writes  # to the memory, when this was its value
        self._origin: tuple[Tracer, Any] | None = None  # the array and the key that it is elements of, if a view
        self._rounded = False  # see `trace/rounded`

    @property
    def _current(self) -> Var | Elements:
        if self._writes != self._memory.writes:
            if self._origin is None:
                raise refusal(
                    "an array that was written to by way of another one, a view of it or its base,",
                    self._locked or OF_A_COPY,
                )
            base, key = self._origin
            self._value, self._writes = base[key]._current, self._memory.writes
        return self._value

    @property
    def _var(self) -> Var:
        value = self._current
        if isinstance(value, Elements):
            value = self._value = value.whole()
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one draw."""
        return self._current.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._current.shape)

    @property
    def size(self) -> int:
        """Number of elements of one draw."""
        return self._current.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64, whatever the width in which the Program will run, or bool."""
        return DTYPES[self._current.kind]

    def __len__(self) -> int:
        if not self._current.shape:
            raise TypeError("len() of unsized object")
        return self._current.shape[0]

    def __iter__(self) -> Iterator[Tracer]:
        if not self._var.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self._var.shape[0]))

    def __getitem__(self, key: Any) -> Tracer:
        refuse_rounded(key)
        written = self._current
        if isinstance(written, Elements) and not holds_tracer(key) and (found := written.read(key)) is not None:
            return self._view(found, key)
        index = stacked(unwrap(key))
        if chooses(index):
            return Tracer(chosen(self._var, index))
        return self._view((read if self._writes else getitem)(self._var, index), key)

    def _view(self, found: Var, key: Any) -> Tracer:
        """Return elements at a key, which may share memory with the array."""
        if not is_view(key, self.ndim):
            return Tracer(found)
        view = Tracer(found, self)
        view._origin = self, key
        return view

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_rounded(key)
        if self._locked:
            raise refusal("assignment to an element", self._locked)
        self._memory.check_is_of_step()
        if holds_tracer(key):
            self._value = assigned(self._var, stacked(unwrap(key)), unwrap(value))
        else:
            value = unwrap(value)  # before, as it may be of this array
            elements = written if isinstance(written := self._current, Elements) else Elements(written)
            elements.assign(key, value)
            self._value = elements
        self._written()

    def _overwritten(self, ufunc: np.ufunc, other: Any) -> Any:
        """Write what a function makes of the array and another into the array, and return it.

        Numbers are made anew, as NumPy's are. So are parameters and data, which all draws read: the array itself, which
        NumPy would have changed, may not be read by another name after that.
        """
        result = ufunc(self, other)
        if not self.shape or not isinstance(result, Tracer):
            return result
        self._memory.check_is_of_step()
        if self._locked:
            self._memory.writes += 1
            return result
        if result.shape != self.shape:
            raise ValueError(
                f"non-broadcastable output operand with shape {self.shape} doesn't match the broadcast shape "
                f"{result.shape}"
            )
        if result.dtype != self.dtype:
            raise TypeError(f"Cannot cast ufunc '{ufunc.__name__}' output from {result.dtype} to {self.dtype}")
        self._value = result._var
        self._written()
        return self

    def _written(self) -> None:
        """Note that this has another value now, as has what it is a view of."""
        if self._origin is not None:
            base, key = self._origin
            base[key] = Tracer(self._var)
        else:
            self._memory.writes += 1
        self._writes = self._memory.writes

    def __getattr__(self, name: str) -> Any:
        if name in METHODS:
            return lambda *args, **kwargs: sharing(
                name, [self], stepping(name, [self], call(f".{name}", METHODS[name], (self, *args), kwargs))
            )
        if name in ATTRIBUTES:
            return sharing(name, [self], Tracer(ATTRIBUTES[name](self._var)))
        if name.startswith("__"):
            raise AttributeError(name)
        error = refusal(f".{name}", remedy(name))
        raise NoAttributeError(error.message, error.filename, error.lineno)

    def __copy__(self) -> Tracer:
        return Tracer(self._var)

    def __deepcopy__(self, memo: Any) -> Tracer:
        return Tracer(self._var)

    def __repr__(self) -> str:
        return f"Tracer({self.dtype}{list(self._var.shape)})"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        shown = _ufunc_name(name) + ("" if method == "__call__" else f".{method}")
        tables = {"__call__": CALLED, "outer": CALLED, "reduce": REDUCE, "accumulate": ACCUMULATE}
        table = tables.get(method, {})
        if name not in table:
            raise refusal(shown, remedies.FUNCTIONS.get(name, UNKNOWN) if method == "__call__" else UNKNOWN)
        builder = table[name]
        if method in ("__call__", "outer"):
            only_defaults(shown, kwargs)
            vars_ = [operand(x) for x in unwrap(inputs)]
            result = (outer(builder) if method == "outer" else builder)(*vars_)
            found = Tracer(noted(result, vars_) if name in UFUNCS else result)
            found._rounded = is_rounded(name, inputs)
            return found
        return call(shown, builder, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return call_function(func, args, kwargs)


CALLED = {**UFUNCS, **scipy_special.UFUNCS}


def wrap(value: Any, locked: str = "") -> Any:
    """Put Tracers around Vars in tuples and lists."""
    if isinstance(value, Var):
        return Tracer(value, locked=locked)
    if isinstance(value, tuple | list) and any(isinstance(part, Var) for part in value):
        made = getattr(type(value), "_make", type(value))  # of a named tuple
        return made(wrap(part, locked) for part in value)
    return value


def unwrap(value: Any) -> Any:
    """Take the Tracers off Vars in nested tuples and lists, and off arguments and results of functions in them."""
    value = plain(value)
    if isinstance(value, Tracer):
        return value._var
    if isinstance(value, tuple | list):
        made = getattr(type(value), "_make", type(value))  # of a named tuple
        return made(map(unwrap, value))
    if callable(value) and not isinstance(value, type):
        return lambda *args, **kwargs: unwrap(value(*map(wrap, args), **kwargs))
    return value


def sharing(name: str, arguments: Sequence[Any], result: Any) -> Any:
    """Say of Tracers that a function of NumPy's makes which arrays among its arguments they are views of."""
    if name not in VIEWS and name not in READ_ONLY:
        return result
    if isinstance(result, tuple | list):
        bases = arguments if len(arguments) == len(result) else [arguments[0]] * len(result)
        return type(result)(sharing(name, [base], part) for base, part in zip(bases, result, strict=True))
    base = arguments[0]
    if not isinstance(result, Tracer) or not isinstance(base, Tracer) or (name == "diag" and base.ndim == 1):
        return result
    return Tracer(result._var, base, READ_ONLY_VIEW if name in READ_ONLY else "")


def stepping(name: str, arguments: Sequence[Any], result: Any) -> Any:
    """Note the line of a function that may jump where its arguments do not."""
    if name in STEPPING:
        noted(result._var, [value._var for value in arguments if isinstance(value, Tracer)])
    return result


def call_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call what stands for a function of NumPy's that is no ufunc."""
    shown = _function_name(func)
    if func not in BUILDERS:
        raise refusal(shown, remedies.FUNCTIONS.get(func.__name__, UNKNOWN))
    given = [*args, *kwargs.values()]
    return sharing(func.__name__, given, stepping(func.__name__, given, call(shown, BUILDERS[func], args, kwargs)))


signature = functools.cache(inspect.signature)


def call(shown: str, builder: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call an entry of a table with Tracers taken off the arguments and put around the result.

    Raises
    ------
    TraceError
        A keyword that the entry does not have.
    """
    accepted = signature(builder)
    given = {name: value for name, value in kwargs.items()
             if value is not np._NoValue and (name in accepted.parameters or not _is_default(name, value))}  # fmt: skip
    try:
        arguments = accepted.bind(*args, **given).arguments
    except TypeError as error:
        _refuse_keywords(shown, [name for name in given if name not in accepted.parameters])
        names = ", ".join(accepted.parameters)
        raise refusal(f"{shown} with these arguments", f"{error}; accepted are {names}") from None
    for name in INDICES.get(shown, ()):
        refuse_rounded(arguments.get(name))
    for name, value in arguments.items():
        if name in STATIC and holds_tracer(value) and name != "indices":
            raise refusal(f"{shown} with a traced value for {name}=", "it must be known while tracing")
    positional, by_name = unwrap(args), {name: unwrap(value) for name, value in given.items()}
    result = builder(*positional, **by_name)
    noted_function(result, [positional, by_name], builder in JUMPING)
    return wrap(result)


def only_defaults(shown: str, kwargs: dict[str, Any]) -> None:
    """Refuse keywords that say something, of a function that has none."""
    _refuse_keywords(shown, [name for name, value in kwargs.items() if not _is_default(name, value)])


def _is_default(name: str, value: Any) -> bool:
    """Whether an argument says nothing: NumPy's default, or a float dtype, whose width is the estimator's to choose."""
    if value is None or (name == "out" and isinstance(value, tuple) and all(array is None for array in value)):
        return True
    if name == "dtype":
        return bool(np.dtype(value).kind == "f")
    return isinstance(value, str | bool) and value in DEFAULTS.get(name, ())


def _refuse_keywords(shown: str, names: list[str]) -> None:
    if "out" in names:
        raise refusal(f"{shown} with out=", "use its result: write a = a + z rather than a += z or np.add(a, z, out=a)")
    if names:
        spelled = " and ".join(f"{name}=" for name in names)
        raise refusal(f"{shown} with {spelled}", "leave it out; docs/numpy.md lists what is supported")


def holds_tracer(value: Any) -> bool:
    """Whether a Tracer is anywhere in nested lists and tuples."""
    value = plain(value)
    return isinstance(value, Tracer) or (isinstance(value, tuple | list) and any(holds_tracer(part) for part in value))


def _ufunc_name(name: str) -> str:
    if hasattr(np, name):
        return f"np.{name}"
    return f"scipy.special.{name}" if hasattr(sys.modules.get("scipy.special"), name) else name


def _function_name(func: Any) -> str:
    module = str(getattr(func, "__module__", "numpy")).replace("numpy", "np", 1)
    return f"{module}.{getattr(func, '__name__', func)}"
