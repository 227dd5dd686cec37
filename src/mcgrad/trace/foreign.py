"""Refusals of functions, arrays and errors of other libraries."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FrameType, ModuleType, TracebackType
from typing import Any

import numpy as np

import mcgrad.errors
from mcgrad.errors import TraceError
from mcgrad.reals import UNMASKED, obstacle
from mcgrad.trace.frames import expression, owner
from mcgrad.trace.refuse import refusal

RENAMED = {"pow": "np.power", "fsum": "np.sum", "sumprod": "np.dot", "fmod": "np.mod", "dist": "np.linalg.norm",
           "lgamma": "scipy.special.gammaln", "erf": "scipy.special.erf", "erfc": "scipy.special.erfc",
           "asin": "np.arcsin", "acos": "np.arccos", "atan": "np.arctan", "atan2": "np.arctan2", "asinh": "np.arcsinh",
           "acosh": "np.arccosh", "atanh": "np.arctanh"}  # fmt: skip
NUMPY = "write it with NumPy's functions and those of scipy.special that docs/numpy.md lists"
WHOLE = "give the function itself, written for whole arrays, with np.where for if"
PARAMETER = "give it in params=, for a gradient in it, or x.detach() for a constant"
COMPILED = "give the Python function, {function}, or an mg.Integrand of it and its gradient"
LIBRARIES = {
    "numba": "call the Python function, .py_func, or give an mg.Integrand, a compiled function with its gradient",
    "scipy": f"{NUMPY}; solve, inv and det of scipy.linalg are those of np.linalg, norm.cdf is scipy.special.ndtr, "
    "norm.ppf ndtri, norm.logpdf mg.Normal(0.0, 1.0).log_prob(z)",
    "python": NUMPY,
    "numpy.ma": f"accepted is {UNMASKED}",
    **{name: f"give mg.from_{name}(f) for f, or {NUMPY}" for name in ("jax", "torch")},
}
FRAMEWORKS = tuple(os.path.join(os.path.dirname(mcgrad.errors.__file__), name) + os.sep for name in ("jax", "torch"))
OTHERS = f"{NUMPY}, and turn its arrays into NumPy's before: np.asarray(x), x.to_numpy(), x.detach().numpy()"


def renamed(name: str) -> str:
    """Return what NumPy or SciPy call a function of math."""
    return RENAMED.get(name, f"np.{name}")


def instead_of(library: str) -> str:
    """Return what to write instead of a library's functions."""
    return LIBRARIES.get(library, OTHERS)


def refuse_untraceable(function: Callable[..., Any]) -> None:
    """Refuse what cannot be traced whatever it is called with.

    Raises
    ------
    TraceError
        What Numba has compiled, a function of math, or a loop over elements.
    """
    name = getattr(function, "__name__", None) or type(function).__name__
    if hasattr(function, "py_func"):
        raise refusal(f"{name}, which Numba has compiled,", COMPILED.format(function=f"{name}.py_func"))
    if type(function).__module__.startswith("numba."):
        raise refusal(f"{name}, which Numba has compiled,", COMPILED.format(function="without the decorator"))
    if isinstance(function, np.vectorize):
        raise refusal("np.vectorize, which calls its function with one number at a time,", WHOLE)
    if isinstance(function, BuiltinFunctionType) and function.__module__ == "math":
        raise refusal(f"math.{name}, which takes one Python number,", f"use {renamed(name)}")
    if isinstance(function, np.ufunc) and function not in vars(np).values() and function.nargs > 0:
        special = sys.modules.get("scipy.special")
        if special is None or getattr(special, function.__name__, None) is not function:
            raise refusal(f"{name}, a ufunc that NumPy does not have,", "give the Python function that it is made of")


def refuse_operand(value: Any) -> None:
    """Refuse an array whose elements or operators mean something else than those of a plain array.

    Raises
    ------
    TraceError
        A masked or sparse array, a tensor that requires grad, or a matrix, whose `*` is a matrix product.
    """
    found = obstacle(value)
    if found:
        accepted = PARAMETER if getattr(value, "requires_grad", False) is True else f"accepted is {found[1]}"
        raise refusal(f"{found[0]} as an operand", accepted)
    if isinstance(value, np.matrix):
        raise refusal("np.matrix as an operand", "accepted is a plain array, np.asarray(x), with @ for matrix products")


def library_refusal(error: Exception) -> TraceError | None:
    """Return the refusal for an error that another library raised because it was given a Tracer, or None.

    Parameters
    ----------
    error : Exception
        Raised by a user's function. What its own code, or NumPy, raises is left as it is, and so is what JAX or PyTorch
        raise in a function that is written for them.
    """
    steps: list[TracebackType] = []
    step = error.__traceback__
    while step is not None:
        steps.append(step)
        step = step.tb_next
    mine = [i for i, step in enumerate(steps) if owner(step.tb_frame.f_code.co_filename) is None]
    if any(step.tb_frame.f_code.co_filename.startswith(FRAMEWORKS) for step in steps):
        return None
    kinds = (TypeError, ValueError, RuntimeError, NotImplementedError)
    if not mine or not (isinstance(error, kinds) or type(error).__module__.startswith("numba.")):
        return None
    last = steps[mine[-1]]
    text = expression(last.tb_frame, last.tb_lasti)
    inner = [owner(step.tb_frame.f_code.co_filename) for step in steps[mine[-1] + 1 :]]
    libraries = [type(error).__module__.partition(".")[0], _called_library(last.tb_frame, text), *inner]
    found = next((name for name in libraries if name not in (None, "mcgrad", "numpy", "builtins")), None)
    if found is None or (found == "python" and "Tracer" not in str(error)):
        return None
    lines = str(error).replace("mcgrad.trace.tracer.Tracer", "Tracer").splitlines()
    reason = next((line.strip() for line in lines if "Tracer" in line), lines[0] if lines else "")
    call = f"{text or found} cannot be traced"
    message = f"{call}; {instead_of(found)} (raised was {type(error).__name__}: {reason})"
    return TraceError(message, last.tb_frame.f_code.co_filename, last.tb_lineno)


def _called_library(frame: FrameType, text: str | None) -> str | None:
    """Return the library that a call's first name belongs to, such as torch for "torch.sin(z)"."""
    name = (text or "").split("(")[0].split(".")[0].strip()
    names: dict[str, Any] = {**frame.f_globals, **frame.f_locals}
    found = names.get(name)
    if found is None:
        return None
    module = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None)
    root = str(module).partition(".")[0]
    if root in sys.stdlib_module_names:
        return "python"
    file = getattr(sys.modules.get(root), "__file__", None)
    return owner(file) if file else None
