"""Conversions of an array to one Python value, which tracing refuses; a base class of Tracer."""

from __future__ import annotations

import ast
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from mcgrad.ir.program import Var, toposort
from mcgrad.trace.foreign import WHOLE, instead_of, renamed
from mcgrad.trace.frames import crossed, user_expression, user_stores
from mcgrad.trace.operands import index_remedy
from mcgrad.trace.refuse import refusal

CALL = re.compile(r"(?:[^()]*\.)?(\w+)\(.*\)", re.DOTALL)
CHOICES = {"max": "np.maximum(a, b) or np.max(x)", "min": "np.minimum(a, b) or np.min(x)", "any": "np.any(x)",
           "all": "np.all(x)", "abs": "np.abs(x)"}  # fmt: skip
DIFFERS = "its value differs from draw to draw"
STEPS = "its value may differ from step to step"
CHANGES = "it is made of parameters or float data, whose values may change from call to call"
NOISE = "random numbers belong in q, where each draw has its own: mg.Joint(z=q, noise=mg.Normal(0.0, 1.0))"
SIZES = (
    "shapes and counts must be known while tracing; np.where chooses by value, and mg.while_loop turns as often as "
    "the draw needs"
)
INDEX = (
    "for x[k] of a list or a NumPy array x write np.take(x, k, axis=0), by this name and with whole numbers k, as "
    "k.astype(int) makes them; np.where chooses by value"
)
STACK = "build the array with np.stack or np.concatenate, or make another one: out = mg.at(out, i).set(value)"


class Conversions:
    """Refuses float(z), bool(z) and the like with what to write instead."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _var(self) -> Var: ...

    def _reason(self) -> str:
        if any(var.op == "argument" for var in toposort([self._var])):
            return STEPS
        return DIFFERS if self._var.by_draw else CHANGES

    def __float__(self) -> NoReturn:
        if user_stores():
            raise refusal("storing a traced value in a NumPy array", STACK)
        _refuse_library()
        called = _called()
        if called is not None and hasattr(math, called[1]):
            raise refusal(called[0], f"use {renamed(called[1])}")
        text = called[0] if called else "float(z)"
        raise refusal(text, f"{self._reason()}: leave out float() and compute with the array itself")

    def __int__(self) -> NoReturn:
        remedy = "use z.astype(int) to index, np.floor, or np.where to choose by value"
        raise refusal(_text("int(z)"), f"{self._reason()}: {remedy}")

    def __bool__(self) -> NoReturn:
        _refuse_library()
        called = _called()
        if called is not None and called[1] in CHOICES:
            raise refusal(called[0], f"use {CHOICES[called[1]]}")
        condition = called[0] if called and called[1] == "bool" else f"bool({user_expression() or 'z'})"
        raise refusal(
            condition,
            f"{self._reason()}: use np.where(condition, a, b) for if and else, mg.while_loop for while, & | ~ for and, "
            "or, not, and (a < z) & (z < b) for a < z < b",
        )

    def __index__(self) -> NoReturn:
        text = user_expression() or ""
        if _is_item(text):
            raise refusal(f"{text} with a traced index", self._index_remedy(INDEX))
        raise refusal("a traced value as an index, a size or a count", self._index_remedy(SIZES))

    def _index_remedy(self, remedy: str) -> str:
        return index_remedy(self._var) or f"{self._reason()}: {remedy}"

    def __format__(self, spec: str) -> str:
        if spec:
            raise refusal(_text("formatting z"), f"{self._reason()}; print(z) shows its shape")
        return repr(self)

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

    def __delitem__(self, key: Any) -> NoReturn:
        raise refusal("del z[...]", "build a new array with np.concatenate")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        if user_stores():
            raise refusal("storing a traced value in a NumPy array", STACK)
        text, called, library = user_expression() or "", _called(), crossed()
        if library is not None:
            raise refusal(f"making a NumPy array of a traced value in {text or library}", instead_of(library))
        if _is_item(text) or (called and called[1] == "take"):
            raise refusal(f"{text} with a traced index", self._index_remedy(INDEX))
        if called and "vectorize" in called[0]:
            raise refusal(called[0], WHOLE)
        if called and "random" in called[0]:
            raise refusal(called[0], NOISE)
        raise refusal(
            f"making a NumPy array of a traced value{f' in {called[0]}' if called else ''}",
            "use it as it is; build arrays with np.array([...]), by this name, or np.stack, and not by filling "
            "one element by element. A function of NumPy's takes a list of traced values where it is called by its "
            "name in the module, np.mean(xs), and not as imported by name",
        )


def _refuse_library() -> None:
    """Refuse another library's function that converts its argument to one number; the error quotes the user's call."""
    library = crossed()
    if library not in (None, "python"):
        raise refusal(user_expression() or str(library), instead_of(str(library)))


def _is_item(text: str) -> bool:
    """Whether an expression is an element of something, x[k], and no list."""
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.Subscript)
    except SyntaxError:
        return False


def _called() -> tuple[str, str] | None:
    """Return the text of the user's call and the name of what it calls."""
    text = user_expression()
    match = CALL.fullmatch(text) if text else None
    return (match[0], match[1]) if match else None


def _text(otherwise: str) -> str:
    return user_expression() or otherwise
