"""Calls with a Tracer that NumPy's protocols do not pass on to it.

np.array and its relatives are built-in functions, which ask each element of a list for a number; np.mean, np.exp and
all others do so of a list that they are given in place of an array; np.take looks at the array alone and not at the
indices. While a trace runs NumPy's modules are of classes that give the user's code, and no other, what stands for
these functions and answers such calls (`answers`); np.empty and the like make arrays that may be filled with traced
values there (`filled`). What was imported by name before is NumPy's own, and refused with what to write instead.

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
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mcgrad.system.locks import Lock
from mcgrad.trace import answers, array_constructors, filled
from mcgrad.trace.array_functions import FUNCTIONS
from mcgrad.trace.frames import owner
from mcgrad.trace.linear_algebra import SCIPY
from mcgrad.trace.scipy_special import FUNCTIONS as SPECIAL, UFUNCS as SPECIAL_UFUNCS
from mcgrad.trace.tracer import holds_tracer
from mcgrad.trace.ufuncs import UFUNCS

MODULES = {
    "scipy.special": (*SPECIAL, *SPECIAL_UFUNCS),
    "scipy.linalg": tuple(SCIPY),
}  # plain functions that are traced
ANSWERS: dict[str, answers.Answer] = {
    **{f"numpy.{name}": answers.answer_ufunc for name in UFUNCS},
    **{f"numpy.{name}": answers.answer_function for name in FUNCTIONS},
    **{f"numpy.{name}": answers.answer_constructor for name in array_constructors.FUNCTIONS},
    **{f"numpy.{name}": answers.answer_filled for name in filled.NAMES},
    **{f"scipy.special.{name}": answers.answer_ufunc for name in SPECIAL_UFUNCS},
}
_lock = Lock()
_tracing = 0
_found: dict[FunctionType, tuple[str, CodeType, CodeType]] = {}  # the name, SciPy's code, the code while tracing


@contextmanager
def intercepted() -> Iterator[None]:
    """Let NumPy's functions accept Tracers in lists, and scipy.special's plain functions where they are imported."""
    global _tracing
    with _lock:
        _tracing += 1
        for module in _modules():
            module.__class__ = _class_of(module)
        _find()
        for function, (_, _, detour) in _found.items():
            function.__code__ = detour
    try:
        yield
    finally:
        with _lock:
            _tracing -= 1
            if not _tracing:
                for module in _modules():
                    module.__class__ = ModuleType
                for function, (_, code, _) in _found.items():
                    function.__code__ = code


class Standing:
    """What stands for a function of NumPy's or SciPy's in the user's code while a function is traced."""

    def __init__(self, function: Callable[..., Any], answer: answers.Answer) -> None:
        self._function, self._answer = function, answer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a call of the function."""
        return self._answer(self._function, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._function, name)
        return Standing(found, self._answer) if name in ("reduce", "accumulate", "outer") else found

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._function)

    def __eq__(self, other: object) -> bool:
        return bool(self._function == getattr(other, "_function", other))

    def __hash__(self) -> int:
        return hash(self._function)

    def __repr__(self) -> str:
        return repr(self._function)


@cache
def _class_of(module: ModuleType) -> type[ModuleType]:
    """Return the class of a module of NumPy's or SciPy's while a function is traced."""
    prefix = f"{module.__name__}."
    names = {name.removeprefix(prefix): answer for name, answer in ANSWERS.items() if name.startswith(prefix)}
    found = {name: _of_the_user(name, answer) for name, answer in names.items() if name in vars(module)}
    return type(f"Traced_{module.__name__.replace('.', '_')}", (ModuleType,), found)


def _of_the_user(name: str, answer: answers.Answer) -> property:
    standing = cache(lambda function: Standing(function, answer))

    def find(module: ModuleType) -> Any:
        function, of_the_user = vars(module)[name], owner(sys._getframe(1).f_code.co_filename) is None
        return standing(function) if of_the_user else function

    return property(find)


def _modules() -> list[ModuleType]:
    """Return the modules, among those that have been imported, with functions that stand-ins are found for."""
    return [sys.modules[name] for name in sorted({name.rpartition(".")[0] for name in ANSWERS}) if name in sys.modules]


def loaded() -> list[str]:
    """Return those of SciPy's modules with such functions that have been imported."""
    return [module for module in MODULES if module in sys.modules]


def answer_plain(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of a plain function of SciPy's, whose code is exchanged."""
    if holds_tracer((*args, *kwargs.values())):
        return answers.call_scipy(module, name, args, kwargs)
    return _original(f"{module}.{name}")(*args, **kwargs)


def _original(name: str) -> Callable[..., Any]:
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
    from mcgrad.trace.intercept import answer_plain
    return answer_plain({module!r}, {name!r}, args, kwargs)
"""
    exec(compile(text, __file__, "exec"), scope)  # in this file's name: it is no user's line
    detour: CodeType = scope[name].__code__
    return detour.replace(co_freevars=code.co_freevars)  # a function's code keeps its number of free variables
