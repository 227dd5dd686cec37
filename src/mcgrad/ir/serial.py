"""Programs to bytes and back, for fingerprints, pickles, and processes in which f was never traced.

The bytes are a line with the version, a digest of the rest, a line of JSON, and the contents of all literal arrays. The
JSON lists the equations in dependency order: op, numbers of the arguments, attributes, and the shape where it does not
follow from these. The order is that of the outputs and arguments, so the bytes depend on what a Program says, not on
how or in which process it was made.

Two kinds of Python functions are in a Program. Those of `table` equations are mcgrad's own and are found by name. Those
of an Integrand cannot be bytes: they go beside them, as `functions` returns them, and the bytes hold a hash of what
each does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from hashlib import blake2b
from importlib import import_module
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.ir.attributes import Call, Literal, Loop
from mcgrad.ir.body import Body
from mcgrad.ir.check import check
from mcgrad.ir.identity import identity
from mcgrad.ir.infer import equation
from mcgrad.ir.lookup import Table
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, Var, toposort
from mcgrad.ir.spaces import Input, RowInput, Space
from mcgrad.noise.source import NoiseSource

KIND, VERSION = b"mcgrad program ", b"1"
DIGEST = 16  # bytes
LEAVES = ("input", "noise", "argument")  # whose shape does not follow from the rest
ACCEPTED = "what Program.to_bytes of this version of mcgrad returned"


def functions(program: Program) -> tuple[Any, ...]:
    """Return the Integrands that equations call, each once, in the order of the equations."""
    return tuple(dict.fromkeys(var.attrs.function for var in program.all_equations() if isinstance(var.attrs, Call)))


def digest(program: Program) -> bytes:
    """Hash a Program, with all literal arrays in it, but not the values of its inputs."""
    return _digest(_parts(program))


def to_bytes(program: Program) -> bytes:
    """Return the serial form of a Program."""
    parts = list(_parts(program))
    return b"".join([KIND, VERSION, b"\n", _digest(parts), *parts])


def from_bytes(content: bytes, functions: Sequence[Any] = ()) -> Program:
    """Return the Program of a serial form.

    Parameters
    ----------
    content : bytes
    functions : sequence of Integrand
        What `functions` returned for it.

    Raises
    ------
    ParameterError
        Bytes of another version or damaged ones; other functions.
    """
    head, _, rest = bytes(content).partition(b"\n")
    if not head.startswith(KIND):
        raise ParameterError("program", "bytes that are no Program", ACCEPTED)
    if head != KIND + VERSION:
        raise ParameterError(
            "program", f"a Program of version {head[len(KIND) :].decode('ascii', 'replace')}", ACCEPTED
        )
    kept, body = rest[:DIGEST], rest[DIGEST:]
    if _digest([body]) != kept:
        raise ParameterError("program", "bytes that are damaged", ACCEPTED)
    text, _, arrays = body.partition(b"\n")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ParameterError("program", "bytes that are damaged", ACCEPTED) from error
    if [_does(function) for function in functions] != header["functions"]:
        accepted = "the functions of the Program, which read numbers, arrays and functions alone, and the same NumPy"
        raise ParameterError("f", "functions that do something else than where the Program was made", accepted)
    try:
        return _Reader(header, arrays, functions).program()
    except ParameterError:
        raise
    except Exception as error:  # whatever an op, attribute or shape that is not known here leads to
        raise ParameterError("program", f"equations that are not known ({error!r})", ACCEPTED) from error


def _flags(out: Output) -> list[bool]:
    """What is true of an output that is summed over rows; others have no flags, as in versions without rows."""
    return [out.summed] * out.summed if out.error else [out.summed, out.error]


def _parts(program: Program) -> Iterator[bytes]:
    """Yield the header, as a line, and the contents of the literal arrays."""
    writer = _Writer()
    rows, number = writer.equations(toposort(program.roots()))
    outputs = [[out.path, number[out.var], out.scale and number[out.scale], *_flags(out)] for out in program.outputs]
    header = {
        "dtype": program.dtype,
        "literals": [[_little(literal).dtype.str, literal.array.shape] for literal in writer.literals],
        "functions": [_does(function) for function in writer.functions],
        "equations": rows,
        "outputs": outputs,
    }
    yield json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    for literal in writer.literals:
        yield _little(literal).tobytes()


class _Writer:
    """Attributes as JSON; numbers literals and functions by the order in which they come."""

    def __init__(self) -> None:
        self.literals: dict[Literal, int] = {}
        self.functions: dict[Any, int] = {}

    def equations(self, order: Iterable[Var]) -> tuple[list[list[Any]], dict[Var, int]]:
        """Return equations as rows, and the number of each."""
        rows: list[list[Any]] = []
        number: dict[Var, int] = {}
        for var in order:
            args = [number[arg] for arg in var.args]
            number[var] = len(number)
            rows.append([var.op, args, self.attributes(var.attrs), *([var.shape] if var.op in LEAVES else [])])
        return rows, number

    def attributes(self, attrs: Any) -> Any:
        """Return the fields of a record, a literal, or None."""
        if attrs is None or isinstance(attrs, Literal):
            return self._value(attrs)
        if isinstance(attrs, Call):
            function = self.functions.setdefault(attrs.function, len(self.functions))
            return [{"function": function}, attrs.shape]
        values = attrs if isinstance(attrs, tuple) else [getattr(attrs, field.name) for field in fields(attrs)]
        if isinstance(attrs, NoiseSource) and not attrs.coordinate:
            values = values[:-1]  # as in versions without it
        if isinstance(attrs, Loop) and attrs.running is None:
            values = values[:-1]
        by_row = [True] if isinstance(attrs, RowInput) else []
        return [*map(self._value, values), *by_row]

    def _value(self, value: Any) -> Any:
        if isinstance(value, Literal):
            return {"literal": self.literals.setdefault(value, len(self.literals))}
        if isinstance(value, Table):
            module, name = value.function.__module__, value.function.__qualname__
            found = getattr(sys.modules[module], name, None)
            assert found is value.function, f"a table made by {module}.{name}, which is not found there"
            return {"table": [module, name, self._value(value.given), value.shape, self._value(value.derivative)]}
        if isinstance(value, Body):
            rows, number = self.equations(value.equations)
            return {"body": [rows, [number[var] for var in value.params], [number[var] for var in value.results]]}
        if isinstance(value, tuple):
            return [self._value(part) for part in value]
        if value is None or isinstance(value, bool | int | str):
            return value
        raise TypeError(f"an attribute without a serial form: {value!r}")


class _Reader:
    """The opposite of a `_Writer`."""

    def __init__(self, header: dict[str, Any], arrays: bytes, functions: Sequence[Any]) -> None:
        self.header, self.functions = header, functions
        self.literals: list[Literal] = []
        start = 0
        for name, shape in header["literals"]:
            dtype = np.dtype(name)
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(arrays, dtype, count, start).reshape(shape)
            self.literals.append(Literal(array.astype(dtype.newbyteorder("="), copy=False)))
            start += count * dtype.itemsize

    def program(self) -> Program:
        """Make the Program, and check it."""
        made = self._equations(self.header["equations"])
        outputs = (
            Output(path, made[var], None if scale is None else made[scale], *flags)
            for path, var, scale, *flags in self.header["outputs"]
        )
        return check(Program(tuple(outputs), self.header["dtype"]))

    def _equations(self, rows: Sequence[Any]) -> list[Var]:
        made: list[Var] = []
        for op, args, attrs, *shape in rows:
            made.append(equation(op, tuple(made[i] for i in args), self._attributes(op, attrs), *map(tuple, shape)))
        return made

    def _attributes(self, op: str, attrs: Any) -> Any:
        record = OPS[op].attributes
        if attrs is None or record is Literal:
            return self._value(attrs)
        if record is Input:
            space, path, *by_row = attrs
            return (RowInput if by_row else Input)(Space(space), path)
        return record(*map(self._value, attrs))

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(self._value(part) for part in value)
        if not isinstance(value, dict):
            return value
        ((kind, found),) = value.items()
        if kind == "literal":
            return self.literals[found]
        if kind == "function":
            return self.functions[found]
        if kind == "body":
            rows, params, results = found
            made = self._equations(rows)
            return Body(tuple(made[i] for i in params), tuple(made[i] for i in results), tuple(made))
        module, name, given, shape, derivative = found
        return Table(_own(module, name), self._value(given), tuple(shape), self._value(derivative))


def _own(module: str, name: str) -> Any:
    """Return a function of one of mcgrad's modules."""
    if module.partition(".")[0] != "mcgrad":
        raise ParameterError("program", f"a table made by {module}.{name}", "a function of mcgrad's")
    return getattr(import_module(module), name)


def _does(function: Any) -> list[str]:
    """Hash what the functions of an Integrand do."""
    return [identity(function.value), identity(function.value_and_grad)]


def _little(literal: Literal) -> np.ndarray[Any, np.dtype[Any]]:
    return literal.array.astype(literal.array.dtype.newbyteorder("<"), copy=False)


def _digest(parts: Sequence[bytes] | Iterator[bytes]) -> bytes:
    found = blake2b(digest_size=DIGEST)
    for part in parts:
        found.update(part)
    return found.digest()
