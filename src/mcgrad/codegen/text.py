"""Source text: an indented writer, and the table of the names that elementwise ops have in the kernels."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var

INFIX = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "copy": "{}",
    "stop": "{}",
    "implicit": "{}",
    "vibrato_step": "{}",
    "vibrato_mean": "{}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_and": "{} & {}",
    "logical_or": "{} | {}",
    "logical_xor": "{} ^ {}",
    "logical_not": "not {}",
    "where": "select({}, {}, {})",
    "float": "select({}, real(1), real(0))",
}
# of kernels: what is in the module `special`, all others in `elementary`
SPECIAL = {name for name, op in OPS.items() if op.category == "elementwise" and op.source != "numpy"} | {"logaddexp"}


START = {
    "sum": "real(0)",
    "scatter_add": "real(0)",
    "prod": "real(1)",
    "max": "real(-np.inf)",
    "min": "real(np.inf)",
    "cumsum": "real(0)",
    "cumprod": "real(1)",
    "linear_recurrence": "real(0)",
    "mask": "real(1)",
}
REDUCE = {
    "sum": "{} + {}",
    "scatter_add": "{} + {}",
    "prod": "{} * {}",
    "max": "maximum({}, {})",
    "min": "minimum({}, {})",
}
REDUCE_FUNCTION = {"max": "maximum", "min": "minimum"}  # what of `kernels/elementary.py` these templates call
SCAN = {"cumsum": "{} + {}", "cumprod": "{} * {}", "linear_recurrence": "{1} * {0} + {2}"}  # of the running value


def expression(op: str, args: list[str], templates: Mapping[str, str] = INFIX) -> str:
    """One elementwise op as an expression; every op without a template is a kernel function of its own name."""
    template = templates.get(op)
    return template.format(*args) if template else f"{op}({', '.join(args)})"


def elementwise_ops(body: Iterable[Var]) -> set[str]:
    """Return the elementwise ops of a body, with what its reductions are written with."""
    ops = {var.op for var in body}
    called = {REDUCE_FUNCTION[op] for op in ops & REDUCE_FUNCTION.keys()}
    return {op for op in ops if OPS[op].category == "elementwise"} | called


def literal(value: float) -> str:
    """Write a number of the Program's dtype."""
    if math.isfinite(value):
        return f"real({value!r})"
    return f"real({'-' if value < 0 else ''}np.{'nan' if math.isnan(value) else 'inf'})"


def indented(lines: Iterable[str]) -> list[str]:
    """Lines one level deeper."""
    return [f"    {line}" for line in lines]


class Source:
    """Lines of text with an indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    def add(self, *lines: str) -> None:
        """Append lines at the present depth."""
        self.lines += ["    " * self._depth + line if line else "" for line in lines]

    def indent(self) -> None:
        """Go one level deeper."""
        self._depth += 1

    def dedent(self, levels: int) -> None:
        """Come back by some levels."""
        self._depth -= levels

    @contextmanager
    def compound(self, head: str) -> Iterator[None]:
        """Append a compound statement; what is added inside is its body."""
        self.add(head)
        self.indent()
        yield
        self.dedent(1)

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"
