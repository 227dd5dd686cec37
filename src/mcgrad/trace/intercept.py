"""Calls with a Tracer that NumPy's protocols do not pass on to it.

np.array and its relatives are built-in functions, which ask each element of a list for a number. While a trace runs the
module is of a class that gives the user's code, and no other, functions of these names that accept Tracers; np.empty
and the like make arrays that may be filled with traced values there (`filled`). So is np.take, whose protocol looks at
the array alone and not at the indices. What was imported by name before is NumPy's own, and refused with what to write
instead.

scipy.special's logsumexp, softmax and log_softmax convert their argument to an ndarray before they compute, in every
SciPy, so that no protocol applies. Another function under the name `scipy.special.logsumexp` would not be called by
code that has done `from scipy.special import logsumexp`. So while a trace runs, the *code* of the function object
itself is exchanged for a few lines that answer calls with a Tracer, and pass any other call, from whichever thread, to
the original code. Under SCIPY_ARRAY_API the ufuncs are plain functions too, and treated alike.

So are some of scipy.linalg's functions. SciPy is not imported here: where the user's code has not imported it there is
nothing to exchange.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from mcgrad.system.locks import Lock
from mcgrad.trace import array_constructors, filled
from mcgrad.trace.frames import owner
from mcgrad.trace.linear_algebra import SCIPY
from mcgrad.trace.scipy_special import FUNCTIONS, UFUNCS

MODULES = {"scipy.special": (*FUNCTIONS, *UFUNCS), "scipy.linalg": tuple(SCIPY)}  # plain functions that are traced
_lock = Lock()
_tracing = 0
_found: dict[FunctionType, tuple[str, CodeType, CodeType]] = {}  # the name, SciPy's code, the code while tracing


@contextmanager
def intercepted() -> Iterator[None]:
    """Let np.array and its relatives accept Tracers, and scipy.special's plain functions where they are imported."""
    global _tracing
    with _lock:
        _tracing += 1
        np.__class__ = _TracedNumPy
        _find()
        for function, (_, _, detour) in _found.items():
            function.__code__ = detour
    try:
        yield
    finally:
        with _lock:
            _tracing -= 1
            if not _tracing:
                np.__class__ = ModuleType
                for function, (_, code, _) in _found.items():
                    function.__code__ = code


class _TracedNumPy(ModuleType):
    """NumPy while a function is traced."""


def _of_the_user(name: str, answer: str) -> property:
    def function(*args: Any, **kwargs: Any) -> Any:
        from mcgrad.trace import tracer

        return getattr(tracer, answer)(name, args, kwargs)

    def find(module: ModuleType) -> Any:
        of_the_user = owner(sys._getframe(1).f_code.co_filename) is None
        return function if of_the_user else module.__dict__[name]

    function.__name__ = name
    return property(find)


ANSWERS = dict.fromkeys((*array_constructors.FUNCTIONS, *filled.NAMES), "answer_constructor")
ANSWERS["take"] = "answer_lookup"
for _name, _answer in ANSWERS.items():
    setattr(_TracedNumPy, _name, _of_the_user(_name, _answer))


def loaded() -> list[str]:
    """Return those of SciPy's modules with such functions that have been imported."""
    return [module for module in MODULES if module in sys.modules]


def original(name: str) -> Callable[..., Any]:
    """Return SciPy's plain function of this dotted name as SciPy wrote it."""
    function, code = next((f, code) for f, (found, code, _) in list(_found.items()) if found == name)
    twin = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _find() -> None:
    for module, names in MODULES.items():
        for name in names:
            function = getattr(sys.modules.get(module), name, None)
            if isinstance(function, FunctionType) and function not in _found:
                _found[function] = f"{module}.{name}", function.__code__, _detour(module, name, function.__code__)


def _detour(module: str, name: str, code: CodeType) -> CodeType:
    scope: dict[str, Any] = {}
    text = f"""def {name}(*args, **kwargs):
    from mcgrad.trace.tracer import answer_scipy
    return answer_scipy({module!r}, {name!r}, args, kwargs)
"""
    exec(compile(text, __file__, "exec"), scope)  # in this file's name: it is no user's line
    detour: CodeType = scope[name].__code__
    return detour.replace(co_freevars=code.co_freevars)  # a function's code keeps its number of free variables
