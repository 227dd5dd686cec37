"""Write one draw of a small Program as straight-line code: a name for every element, from noise to outputs.

What only moves elements costs nothing: it is done here, on arrays of names, by the ops' own meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.loops.lower import expand
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.text import REDUCE, SCAN, Source, expression, literal
from mcgrad.ir.build import fill_value
from mcgrad.ir.interpret import IMPL
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Program, Var

Names = npt.NDArray[Any]  # of str, of the shape of a Var
COSTLY, LONG = 200, 40  # an op of that cost is as long as that many lines


class Straight:
    """The function `draw` of one Program.

    Parameters
    ----------
    program : Program
    templates : mapping of str to str
        How elementwise ops are written, where not as on the CPU.
    arguments : type
        What numbers the arguments.

    Attributes
    ----------
    source : Source
        Its text.
    noise : list of str
        Names of the noise it takes, by stream and component.
    arguments : Arguments
        Draw-independent Vars, whose elements it takes by the names c0, c1, ... (memory and place), and the user's own
        functions.
    outputs : list of str
        Names of the random outputs, as it returns them.
    """

    def __init__(self, program: Program, templates: Mapping[str, str], arguments: type[Arguments] = Arguments) -> None:
        self.program = expand(program)
        self.templates = templates
        self.source = Source()
        self.noise: list[str] = []
        self._names: dict[Var, Names] = {}
        self._label = {var: f"v{i}" for i, var in enumerate(self.program.equations())}
        self.arguments = arguments(self.program, self._label)
        body = self.program.body()
        for var in self.program.noise():
            self._names[var] = names = _named(f"e{self._label[var][1:]}", var.shape)
            self.noise += names.ravel().tolist()
        self.ops = {var.op for var in body}
        lines = Source()
        for var in body:
            if var.op != "noise":
                self._names[var] = self._equation(lines, var)
        outputs = [self.read(out.var) for out in self.program.outputs if out.var.by_draw]
        self.outputs = [name for names in outputs for name in names.ravel()]
        self.constants = [name for var in self.arguments.scalars for name in self._constant(var)]
        with self.source.compound(f"def draw({', '.join([*self.noise, *self.constants])}):"):
            self.source.add('"""Outputs of one draw, from its noise and what no draw changes."""')
            self.source.add(*lines.lines)
            self.source.add(f"return ({', '.join(self.outputs)},)")

    def read(self, var: Var) -> Names:
        """Names of the elements of a Var."""
        if var.by_draw:
            return self._names[var]
        value = fill_value(var)
        if value is not None:
            return np.full(var.shape, literal(value), object)
        text = "{}" if var.kind == "float" else "({} != real(0))"
        return _array(map(text.format, self._constant(var)), var.shape)

    def _constant(self, var: Var) -> list[str]:
        """Names of the elements of a draw-independent Var, as they are passed."""
        memory, first = self.arguments.memory(var), self.arguments.scalar(var)
        return [f"{memory}{first + i}" for i in range(var.size)]

    def _equation(self, lines: Source, var: Var) -> Names:
        args = [self.read(arg) for arg in var.args]
        category = OPS[var.op].category
        if category in ("view", "assembly"):
            moved = IMPL[var.op](var, *[arg[..., None] for arg in args])[..., 0]
            return np.where(moved == 0, literal(0.0), moved)  # a pad's zeros
        label = self._label[var]
        if category == "native":
            return self._native(lines, var, args)
        names = _named(label, var.shape)
        if category == "elementwise":
            for index in np.ndindex(var.shape):
                here = [str(arg[index]) for arg in args]
                lines.add(f"{names[index]} = {expression(var.op, here, self.templates)}")
        elif var.op == "scatter_add":
            terms: dict[int, list[str]] = {i: [] for i in range(var.size)}
            for i, name in zip(var.attrs.index.array.ravel().tolist(), args[0].ravel(), strict=True):
                terms[i].append(name)
            for i, name in enumerate(names.ravel()):
                lines.add(f"{name} = {_tree('sum', terms[i])}")
        elif category == "reduction":
            axes = var.attrs.axes
            kept = [i for i in range(args[0].ndim) if i not in axes]
            rows = args[0].transpose(*kept, *axes).reshape(var.size, -1)
            for name, row in zip(names.ravel(), rows, strict=True):
                lines.add(f"{name} = {_tree(var.op, row.tolist())}")
        else:
            self._scan(lines, var, args, names)
        return names

    def _scan(self, lines: Source, var: Var, args: list[Names], names: Names) -> None:
        axis, backwards = var.attrs.axis, var.attrs.reverse
        arrays = [np.moveaxis(a, axis, 0) for a in (*args, names)]
        if backwards:
            arrays = [a[::-1] for a in arrays]
        *given, made = arrays
        for k in range(len(made)):
            for index in np.ndindex(made.shape[1:]):
                here = [a[(k, *index)] for a in given]
                text = SCAN[var.op].format(made[(k - 1, *index)], *here) if k else here[-1]
                lines.add(f"{made[(k, *index)]} = {text}")

    def _native(self, lines: Source, var: Var, args: list[Names]) -> Names:
        """Put the draw into an array, call the user's function, take what it gives."""
        label, (call, _) = self._label[var], self.arguments.user_function(var)
        arrays: list[str] = []
        for i, (arg, names) in enumerate(zip(var.args, args, strict=True)):
            if i and not arg.shape:
                arrays.append(str(names[()]))
                continue
            array = f"{label}_{i}"
            arrays.append(array if i == 0 else f"{array}.reshape({arg.shape})")
            lines.add(f"{array} = cuda.local.array({arg.size}, real_type)")
            lines.add(*(f"{array}[{k}] = {name}" for k, name in enumerate(names.ravel())))
        if var.op == "native_value":
            lines.add(f"{label} = real({call}({', '.join(arrays)}))")
            return _array([label], ())
        lines.add(
            f"{label} = cuda.local.array({var.size}, real_type)",
            f"{call}({', '.join([arrays[0], label, *arrays[1:]])})",
        )
        return _array([f"{label}[{k}]" for k in range(var.size)], var.shape)


def size(program: Program) -> int:
    """How many lines of straight code a Program makes, roughly."""
    return sum(
        (LONG if OPS[var.op].cost >= COSTLY else 1) * max(var.size, *(arg.size for arg in var.args))
        if var.args
        else var.size
        for var in expand(program).body()
        if OPS[var.op].category not in ("view", "assembly")
    )


def _named(label: str, shape: tuple[int, ...]) -> Names:
    return _array([f"{label}_{i}" for i in range(int(np.prod(shape, initial=1)))], shape)


def _array(names: Iterable[str], shape: tuple[int, ...]) -> Names:
    names = list(names)
    array = np.empty(len(names), object)
    array[:] = names
    return array.reshape(shape)


def _tree(op: str, terms: list[str]) -> str:
    """Reduce terms in pairs, pairs of pairs, ...: more of them at once, and less rounding, than one after the other."""
    if not terms:
        return literal(0.0)
    while len(terms) > 1:
        pairs = [REDUCE[op].format(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = [f"({pair})" for pair in pairs] + terms[len(pairs) * 2 :]
    return terms[0]
