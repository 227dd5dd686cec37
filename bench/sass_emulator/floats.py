"""Floating-point instructions: each function takes an `Instruction` and returns what to do with a block's state.

Float32 sums of products are rounded twice, in float64 and then to float32; float64 ones are computed in long double.
"""

import operator
import re

import numpy as np

from sass_emulator.operands import (
    F32,
    F64,
    I64,
    U32,
    U64,
    integer,
    real,
    signed,
    to,
    to_pair,
    to_truth,
    truth,
    unsigned_name,
)

RELATIONS = {"LT": operator.lt, "EQ": operator.eq, "LE": operator.le, "GT": operator.gt, "GE": operator.ge}
LOGIC = {"AND": np.logical_and, "OR": np.logical_or, "XOR": np.logical_xor}
SCALE = {f"{way}{2**i}": F32(2.0**i if way == "M" else 2.0**-i) for way in "MD" for i in (1, 2, 3)}  # of products
ROUND = {"TRUNC": np.trunc, "FLOOR": np.floor, "CEIL": np.ceil}
SPECIAL = {
    "RCP": lambda x: 1 / x,
    "RSQ": lambda x: 1 / np.sqrt(x),
    "SQRT": np.sqrt,
    "EX2": np.exp2,
    "LG2": np.log2,
    "SIN": lambda x: np.sin(2 * np.pi * x),
    "COS": lambda x: np.cos(2 * np.pi * x),
    "TANH": np.tanh,
}


def float_operation(count, function, wide=False):
    def make(ins):
        args, write = [real(ins, i + 1, wide) for i in range(count)], (to_pair if wide else to)(ins)
        if not {*ins.parts} <= {*SCALE, "FTZ", "RM", "RP", "SAT"}:
            raise NotImplementedError(ins)
        if function is fma32 and {"RM", "SAT"} & {*ins.parts}:
            exact = fma32_down if "RM" in ins.parts else fma32_saturated
            return lambda s: write(s, exact(*(a(s) for a in args)).view(U32))
        scale = next((SCALE[p] for p in ins.parts if p in SCALE), None)
        if wide:
            return lambda s: write(s, function(*(a(s) for a in args)))
        if scale is not None:
            return lambda s: write(s, (function(*(a(s) for a in args)) * scale).view(U32))
        return lambda s: write(s, function(*(a(s) for a in args)).view(U32))

    return make


def fma32(a, b, c):
    return (a.astype(F64) * b.astype(F64) + c.astype(F64)).astype(F32)


def fma32_down(a, b, c):
    """Rounded towards minus infinity."""
    exact = a.astype(F64) * b.astype(F64) + c.astype(F64)
    near = exact.astype(F32)
    return np.where(near > exact, np.nextafter(near, F32(-np.inf)), near)


def fma32_saturated(a, b, c):
    """Between 0 and 1; 0 for what is no number."""
    return np.clip(np.nan_to_num(fma32(a, b, c), nan=0.0), F32(0), F32(1))


def fma64(a, b, c):
    long = np.longdouble
    return (a.astype(long) * b.astype(long) + c.astype(long)).astype(F64)


def _relation(name):
    """Compare two arrays of floats: EQ, LT, ... are false for NaN, EQU, LTU, ... true."""
    if name in RELATIONS:
        return RELATIONS[name]
    either = lambda a, b: np.isnan(a) | np.isnan(b)  # noqa: E731
    if name == "NE":
        return lambda a, b: (a != b) & ~either(a, b)
    if name == "NEU":
        return lambda a, b: a != b
    if name in ("NAN", "NUM"):
        return either if name == "NAN" else lambda a, b: ~either(a, b)
    return lambda a, b: RELATIONS[name[:-1]](a, b) | either(a, b)


def float_compare(wide):
    def make(ins):
        if ins.parts[0] in ("MAX", "MIN"):
            return _extreme_compare(ins, wide)
        compare, logic = _relation(ins.parts[0]), LOGIC[ins.parts[-1]]
        first, second = to_truth(ins.operands[0]), to_truth(ins.operands[1])
        a, b, p = real(ins, 2, wide), real(ins, 3, wide), truth(ins.operands[4])

        def run(s):
            found, other = compare(a(s), b(s)), p(s)
            first(s, logic(found, other))
            second(s, logic(~found, other))

        return run

    return make


def _extreme_compare(ins, wide):
    """DSETP.MAX p, q, a, b: whether a is the one; and whether b is no number, so that it has to be made quiet."""
    first, second = to_truth(ins.operands[0]), to_truth(ins.operands[1])
    a, b = real(ins, 2, wide), real(ins, 3, wide)
    better = np.greater if ins.parts[0] == "MAX" else np.less

    def run(s):
        none = np.isnan(b(s))
        first(s, better(a(s), b(s)) | none)
        second(s, none)

    return run


def set_float(ins):
    """FSET.BF d, a, b, p: one where a comparison holds, else zero."""
    compare, logic = _relation(next(p for p in ins.parts if p != "BF")), LOGIC[ins.parts[-1]]
    a, b, p, write = real(ins, 1), real(ins, 2), truth(ins.operands[3]), to(ins)
    return lambda s: write(s, logic(compare(a(s), b(s)), p(s)).astype(F32).view(U32))


def choose_float(ins):
    a, b, p, write = real(ins, 1), real(ins, 2), truth(ins.operands[3]), to(ins)
    return lambda s: write(s, np.where(p(s), a(s), b(s)).view(U32))


def extreme_float(ins):
    a, b, p, write = real(ins, 1), real(ins, 2), truth(ins.operands[3]), to(ins)
    least, most = (np.minimum, np.maximum) if "NAN" in ins.parts else (np.fmin, np.fmax)
    return lambda s: write(s, np.where(p(s), least(a(s), b(s)), most(a(s), b(s))).view(U32))


def _as(ins, i, kind):
    if kind[0] == "F":
        return real(ins, i, kind == "F64")
    if kind.endswith("64"):
        read = integer(ins, i, wide=True)
        return (lambda s: read(s).view(I64)) if kind[0] == "S" else read
    return signed(ins, i) if kind[0] == "S" else integer(ins, i)


def integer_to_float(ins):
    names = [p for p in ins.parts if re.match(r"[FSU](32|64)$", p)]
    target = next((n for n in names if n[0] == "F"), "F32")
    read = _as(ins, 1, next((n for n in names if n[0] != "F"), "S32"))
    write = (to_pair if target == "F64" else to)(ins)
    if target == "F64":
        return lambda s: write(s, read(s).astype(F64))
    return lambda s: write(s, read(s).astype(F32).view(U32))


def float_to_integer(ins):
    names = [p for p in ins.parts if re.match(r"[FSU](32|64)$", p)]
    read = real(ins, 1, "F64" in names)
    target = next((n for n in names if n[0] != "F"), "S32")
    turn = ROUND[next((p for p in ins.parts if p in ROUND), "TRUNC")] if {*ins.parts} & {*ROUND} else np.rint
    least, most = (0, 2 ** int(target[1:]) - 1) if target[0] == "U" else (-(2**31), 2**31 - 1)
    write = (to_pair if target.endswith("64") else to)(ins)

    def run(s):
        value = np.clip(np.nan_to_num(turn(read(s).astype(F64))), least, most)
        value = value.astype(I64 if target[0] == "S" else U64).view(U64)
        write(s, value if target.endswith("64") else value.astype(U32))

    return run


def float_to_float(ins):
    target, source = [p for p in ins.parts if p in ("F32", "F64")]
    read, write = real(ins, 1, source == "F64"), (to_pair if target == "F64" else to)(ins)
    if target == "F64":
        return lambda s: write(s, read(s).astype(F64))
    return lambda s: write(s, read(s).astype(F32).view(U32))


def round_float(ins):
    wide = "F64" in ins.parts
    turn = next((ROUND[p] for p in ins.parts if p in ROUND), np.rint)
    read, write = real(ins, 1, wide), (to_pair if wide else to)(ins)
    return lambda s: write(s, turn(read(s)) if wide else turn(read(s)).view(U32))


def special(ins):
    name, write = ins.parts[0], to(ins)
    if name.endswith("64H"):
        high, function = integer(ins, 1), SPECIAL[name[:3]]
        return lambda s: write(s, (function((high(s) << U64(32)).view(F64)).view(U64) >> U64(32)).astype(U32))
    read, function = real(ins, 1), SPECIAL[name]
    return lambda s: write(s, function(read(s).astype(F64)).astype(F32).view(U32))


def halves(ins):
    """HFMA2 of -0, 0 and two halves, by which constants are loaded."""
    if [unsigned_name(x)[0] for x in ins.operands[1:3]] != ["RZ", "RZ"]:
        raise NotImplementedError(ins)
    high, low = (np.array(float(x), np.float16).view(np.uint16) for x in ins.operands[3:5])
    write, value = to(ins), np.array([int(high) << 16 | int(low)], U32)
    return lambda s: write(s, value)


def division_check(ins):
    """FCHK: whether a quotient needs the slow path."""
    first, a, b = to_truth(ins.operands[0]), real(ins, 1), real(ins, 2)

    def run(s):
        exponents = [np.frexp(x(s))[1] for x in (a, b)]
        quiet = (np.abs(exponents[0] - exponents[1]) < 100) & (np.abs(exponents[1]) < 120) & np.isfinite(a(s) / b(s))
        first(s, ~quiet)

    return run
