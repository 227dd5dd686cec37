"""Calls of scipy.special's plain functions with a Tracer, which NumPy's protocols do not pass on to it.

logsumexp, softmax and log_softmax convert their argument to an ndarray before they compute, in every SciPy, so that no
protocol applies. Another function under the name `scipy.special.logsumexp` would not be called by code that has done
`from scipy.special import logsumexp`. So while a trace runs, the *code* of the function object itself is exchanged for
a few lines that answer calls with a Tracer, and pass any other call, from whichever thread, to the original code. Under
SCIPY_ARRAY_API the ufuncs are plain functions too, and treated alike.

SciPy is not imported here: where the user's code has not imported scipy.special there is nothing to exchange.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

from mcgrad.system.locks import Lock
from mcgrad.trace.scipy_special import FUNCTIONS, UFUNCS

_lock = Lock()
_tracing = 0
_found: dict[FunctionType, tuple[str, CodeType, CodeType]] = {}  # the name, SciPy's code, the code while tracing


@contextmanager
def intercepted() -> Iterator[None]:
    """Let scipy.special's plain functions accept Tracers in the context, if the user's code has imported them."""
    global _tracing
    with _lock:
        _tracing += 1
        _find()
        for function, (_, _, detour) in _found.items():
            function.__code__ = detour
    try:
        yield
    finally:
        with _lock:
            _tracing -= 1
            if not _tracing:
                for function, (_, code, _) in _found.items():
                    function.__code__ = code


def loaded() -> bool:
    """Whether scipy.special has been imported."""
    return "scipy.special" in sys.modules


def original(name: str) -> Callable[..., Any]:
    """Return scipy.special's plain function of this name as SciPy wrote it."""
    function, code = next((f, code) for f, (found, code, _) in list(_found.items()) if found == name)
    twin = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _find() -> None:
    special = sys.modules.get("scipy.special")
    for name in (*FUNCTIONS, *UFUNCS):
        function = getattr(special, name, None)
        if isinstance(function, FunctionType) and function not in _found:
            _found[function] = name, function.__code__, _detour(name, function.__code__)


def _detour(name: str, code: CodeType) -> CodeType:
    scope: dict[str, Any] = {}
    text = f"""def {name}(*args, **kwargs):
    from mcgrad.trace.tracer import answer_special
    return answer_special({name!r}, args, kwargs)
"""
    exec(compile(text, __file__, "exec"), scope)  # in this file's name: it is no user's line
    detour: CodeType = scope[name].__code__
    return detour.replace(co_freevars=code.co_freevars)  # a function's code keeps its number of free variables
