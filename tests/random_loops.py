"""Random integrands of loops: programs of Python loops, mg.scan and mg.while_loop, by a grammar."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import mcgrad as mg

T = 18  # steps, enough for a Python loop to become a loop of the Program
RNG = np.random.default_rng(3)
PARAMS = {"t": 0.7, "w": RNG.uniform(-1, 1, 3)}
DATA = {"c": np.linspace(0.2, 1.1, T)}
LOC, SCALE = RNG.uniform(-0.5, 0.5, T + 3), 0.7

NUMBERS = ("z[0]", "z[18]", "t", "w[0]", "w[1] * z[19]", "0.5", "np.sum(z[18:])")
ROWS = ("z[:T]", "c", "z[T - 1::-1]")  # an element for each step
READS = (
    *("{row}[{i}]", "{row}[{i}]", "{row}[T - 1 - {i}]", "{row}[-1 - {i}]", "{row}[({i} + 1) % T]", "{row}[{i} - 1]"),
    *("{row}[{i} // 2]", "{i} * 0.05", "np.array([0.2, -0.4, 0.9])[{i} % 3]", "(0.3 if {i} % 2 else -0.1)"),
)
UNARY = (
    *("np.sin({})", "np.tanh({})", "0.5 * {}", "np.abs({})", "np.exp(-np.abs({}))", "{} ** 2", "np.arctan({})"),
    *("np.clip({}, -1.0, 1.0)", "np.sqrt(1 + {} ** 2)", "1 / (2 + np.cos({}))", "np.mean([{}, t])"),
)
BINARY = ("{} + {}", "{} * {}", "{} - {}", "np.maximum({}, {})", "np.minimum({}, {})", "{} / (1 + {} ** 2)",
          "np.where({} > 0.1, 0.3, 0.3 + 0.0 * {})", "np.logaddexp({}, {})")  # fmt: skip
SUMMARIES = ("{}[-1]", "sum({})", "np.max({})", "np.mean({})", "np.stack({})[3]", "np.sum(np.array({}) ** 2)",
             "np.sort({})[5]", "np.cumsum({})[7]", "np.var({})", "np.array({})[::3][1]")  # fmt: skip


class Grammar:
    """A program of loops, drawn from a seed: `text` is the body of f(z, *, t, w, c)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lines: list[str] = []
        self._depth = self._made = 0
        self._numbers, self._rows = list(NUMBERS), list(ROWS)  # that an expression may read
        for _ in range(3):
            self._choice((self._python_loop, self._python_loop, self._scan, self._while_loop))()
        terms = [f"np.sin({x})" for x in dict.fromkeys(self._numbers[len(NUMBERS) :])]
        self._line(f"return {' + '.join(terms)} + 0.1 * (t + np.sum(w) + np.sum(z))")
        self.text = "\n".join(self._lines)

    def _choice(self, options: Any) -> Any:
        return self._random.choice(options)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _name(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made}"

    def _line(self, text: str) -> None:
        self._lines.append("    " * (self._depth + 1) + text)

    def _read(self, step: str) -> str:
        return str(self._choice(READS)).format(row=self._choice(self._rows), i=step)

    def _expression(self, local: list[str], read: Callable[[], str] | None, depth: int = 2) -> str:
        """Return an expression of values of the step, of what `read` gives at it, and of numbers outside of it."""
        if depth == 0 or self._chance(0.2):
            if local and self._chance(0.5):
                return str(self._choice(local))
            return read() if read is not None and self._chance(0.7) else str(self._choice(self._numbers))
        rule = str(self._choice(BINARY if self._chance(0.5) else UNARY))
        return rule.format(*(f"({self._expression(local, read, depth - 1)})" for _ in range(rule.count("{}"))))

    def _starts(self) -> list[str]:
        """Return names of numbers that a loop carries."""
        names = [self._name("s") for _ in range(self._random.randrange(1, 4))]
        for name in names:
            self._line(f"{name} = {self._choice(('0.3', '0', self._expression([], None, 1)))}")
        return names

    def _python_loop(self) -> None:
        carried, values, array, step = self._starts(), self._name("values"), self._name("array"), self._name("i")
        steps = self._choice(("range(T)", "range(T - 1, -1, -1)"))
        self._line(f"{values}, {array} = [], np.{self._choice(('zeros', 'ones'))}(T)")
        self._line(f"for {step} in {steps}:")
        self._depth += 1
        local, read = list(carried), lambda: self._read(step)
        for _ in range(self._random.randrange(1, 4)):
            name, rule = self._choice(carried), self._random.randrange(6)
            if rule < 2:
                self._line(f"{name} = np.tanh({self._expression(local, read)})")
            elif rule == 2:
                self._line(f"{name} += 0.1 * {self._expression(local, read)}")
            elif rule == 3:
                self._line(f"if {step} {self._choice(('% 2 == 0', '> 5', '< 12'))}:")
                self._line(f"    {name} = np.sin({self._expression(local, read)})")
            elif rule == 4:
                local.append(self._name("v"))
                self._line(f"{local[-1]} = {self._expression(local[:-1], read)}")
            else:
                self._line(f"{carried[0]}, {carried[-1]} = {carried[-1]}, np.sin({self._expression(local, read)})")
        self._line(f"{values}.append({self._expression(local, read, 1)})")
        self._line(f"{array}[{step}] {self._choice(('=', '+='))} {self._expression(local, read, 1)}")
        self._depth -= 1
        self._numbers += [*carried, str(self._choice(SUMMARIES)).format(values), f"np.sum({array} ** 2)"]
        self._rows.append(array)

    def _scan(self) -> None:
        carried, step, rows = self._starts(), self._name("step"), [self._choice(self._rows) for _ in range(2)]
        names, outputs = f"({', '.join(carried)},)", self._name("ys")
        self._line(f"def {step}(carry, x):")
        self._depth += 1
        self._line(f"{names} = carry")
        local = [*carried, "x[0]", "x[1]"]
        new = ", ".join(f"np.tanh({self._expression(local, None)})" for _ in carried)
        self._line(f"return ({new},), {self._expression(local, None)}")
        self._depth -= 1
        reverse = ", reverse=True" if self._chance(0.4) else ""
        self._line(f"{names}, {outputs} = mg.scan({step}, {names}, ({', '.join(rows)}){reverse})")
        self._numbers += [*carried, str(self._choice(SUMMARIES[2:])).format(outputs)]
        self._rows.append(outputs)

    def _while_loop(self) -> None:
        total, other, body = self._name("s"), self._name("s"), self._name("body")
        self._line(f"def {body}(carry):")
        self._depth += 1
        self._line(f"{total}, {other} = carry")
        more, new = (self._expression([total, other], None) for _ in range(2))
        self._line(f"return {total} + 0.2 + 0.1 * np.tanh({more}), np.sin({new})")
        self._depth -= 1
        start = self._expression([], None, 1)
        self._line(f"{total}, {other} = mg.while_loop(lambda carry: carry[0] < 0.9, {body}, (0.1, {start}), 9)")
        self._numbers += [total, other]


def integrand(text: str) -> Callable[..., Any]:
    """Return the function f(z, *, t, w, c) of which `text` is the body."""
    scope: dict[str, Any] = {"np": np, "mg": mg, "T": T}
    exec(f"def f(z, *, t, w, c):\n{text}", scope)
    return scope["f"]  # type: ignore[no-any-return]


def family(at: Mapping[str, Any]) -> mg.Normal:
    """Return the distribution of z at parameters `loc` and `scale`."""
    return mg.Normal(at["loc"], at["scale"])
