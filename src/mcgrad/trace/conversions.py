"""What turns an array into one Python value, and so cannot be traced; a base class of Tracer."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from mcgrad.trace.refuse import refusal, user_expression, user_stores

CALL = re.compile(r"(?:\w+\.)*(\w+)\(.*\)", re.DOTALL)
RENAMED = {"pow": "np.power", "fsum": "np.sum", "sumprod": "np.dot", "fmod": "np.mod", "dist": "np.linalg.norm",
           "lgamma": "scipy.special.gammaln", "erf": "scipy.special.erf", "erfc": "scipy.special.erfc",
           "asin": "np.arcsin", "acos": "np.arccos", "atan": "np.arctan", "atan2": "np.arctan2", "asinh": "np.arcsinh",
           "acosh": "np.arccosh", "atanh": "np.arctanh"}  # fmt: skip
CHOICES = {"max": "np.maximum(a, b) or np.max(x)", "min": "np.minimum(a, b) or np.min(x)", "any": "np.any(x)",
           "all": "np.all(x)", "abs": "np.abs(x)"}  # fmt: skip
DIFFERS = "its value differs from draw to draw"
INDEX = f"{DIFFERS}: shapes and indices must be known while tracing; np.where chooses by value"
STACK = "build the array with np.stack or np.concatenate"


class Conversions:
    """Refuses float(z), bool(z) and the like with what to write instead."""

    __slots__ = ()

    def __float__(self) -> NoReturn:
        if user_stores():
            raise refusal("storing a traced value in a NumPy array", STACK)
        called = _called()
        if called is not None and hasattr(math, called[1]):
            raise refusal(called[0], f"use {RENAMED.get(called[1], f'np.{called[1]}')}")
        raise refusal(called[0] if called else "float(z)", f"{DIFFERS}: leave out float() and compute with z itself")

    def __int__(self) -> NoReturn:
        raise refusal(_text("int(z)"), f"{DIFFERS}: use np.floor, or np.where to choose by value")

    def __bool__(self) -> NoReturn:
        called = _called()
        if called is not None and called[1] in CHOICES:
            raise refusal(called[0], f"use {CHOICES[called[1]]}")
        condition = called[0] if called and called[1] == "bool" else f"bool({user_expression() or 'z'})"
        raise refusal(
            condition,
            f"{DIFFERS}: use np.where(condition, a, b) for if and else, & | ~ for and, or, not, "
            "and (a < z) & (z < b) for a < z < b",
        )

    def __index__(self) -> NoReturn:
        raise refusal("a traced value as an index, a size or a count", INDEX)

    def __complex__(self) -> NoReturn:
        raise refusal(_text("complex(z)"), "compute with the real and the imaginary part as two real arrays")

    def __round__(self, ndigits: Any = None) -> NoReturn:
        raise refusal(_text("round(z)"), "use np.floor(z + 0.5)")

    def __trunc__(self) -> NoReturn:
        raise refusal(_text("math.trunc(z)"), "use np.trunc")

    def __floor__(self) -> NoReturn:
        raise refusal(_text("math.floor(z)"), "use np.floor")

    def __ceil__(self) -> NoReturn:
        raise refusal(_text("math.ceil(z)"), "use np.ceil")

    def __contains__(self, item: Any) -> NoReturn:
        raise refusal(_text("the operator in"), "use np.any(z == item)")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise refusal("item assignment z[...] = value", "build a new array with np.where(mask, value, z) or np.stack")

    def __delitem__(self, key: Any) -> NoReturn:
        raise refusal("del z[...]", "build a new array with np.concatenate")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        if user_stores():
            raise refusal("storing a traced value in a NumPy array", STACK)
        text, called = user_expression() or "", _called()
        if text.endswith("]") and not text.startswith("["):
            raise refusal(f"{text} with a traced index", INDEX)
        raise refusal(
            f"making a NumPy array of a traced value{f' in {called[0]}' if called else ''}",
            "use it as it is; build arrays with np.stack or np.concatenate instead of np.array([...]), np.asarray or "
            "filling one element by element",
        )


def _called() -> tuple[str, str] | None:
    """Return the text of the user's call and the name of what it calls."""
    text = user_expression()
    match = CALL.fullmatch(text) if text else None
    return (match[0], match[1]) if match else None


def _text(otherwise: str) -> str:
    return user_expression() or otherwise
