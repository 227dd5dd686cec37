"""Integer, logic and move instructions: each function takes an `Instruction` and returns what to do with a state."""

import numpy as np

from sass_emulator.floats import LOGIC, RELATIONS
from sass_emulator.operands import (
    I64,
    LOW,
    U32,
    U64,
    Instruction,
    integer,
    is_predicate,
    signed,
    to,
    to_pair,
    to_truth,
    truth,
)


def isetp(ins):
    unsigned, logic = "U32" in ins.parts, LOGIC[next(p for p in ins.parts if p in LOGIC)]
    name = ins.parts[0]
    read = integer if unsigned else signed
    a, b = read(ins, 2), read(ins, 3)
    first, second, p = to_truth(ins.operands[0]), to_truth(ins.operands[1]), truth(ins.operands[4])
    lower = truth(ins.operands[5]) if "EX" in ins.parts else None

    def run(s):
        x, y = (a(s), b(s)) if not unsigned else (a(s) & LOW, b(s) & LOW)
        if lower is None:
            found = x != y if name == "NE" else RELATIONS[name](x, y)
        elif name == "NE":
            found = (x != y) | lower(s)
        elif name == "EQ":
            found = (x == y) & lower(s)
        else:
            found = RELATIONS[name[0] + "T"](x, y) | ((x == y) & lower(s))
        first(s, logic(found, p(s)))
        second(s, logic(~found, p(s)))

    return run


def split(ins):
    """Where the sources start, behind predicates that are written; and the predicates behind the sources."""
    start = 1
    while is_predicate(ins.operands[start]):
        start += 1
    end = len(ins.operands)
    while end > start and is_predicate(ins.operands[end - 1]):
        end -= 1
    carries = [to_truth(x) for x in ins.operands[1:start]]
    return start, end, carries, [truth(x) for x in ins.operands[end:]]


def iadd3(ins):
    start, end, carries, given = split(ins)
    extended = "X" in ins.parts
    args, write = [integer(ins, i) for i in range(start, end)], to(ins)
    if extended:  # here -x stands for ~x
        args = [integer(_inverted(ins, i), i) for i in range(start, end)]

    def run(s):
        total = args[0](s)
        for arg in args[1:]:
            total = total + arg(s)
        for carry in given:
            total = total + carry(s).astype(U64)
        write(s, total.astype(U32))
        for i, carry in enumerate(carries):
            carry(s, total >= U64(1 << (32 + i)))

    return run


def _inverted(ins, i):
    operands = [*ins.operands]
    if not operands[i].startswith("-0x"):
        operands[i] = operands[i].replace("-", "~")
    return Instruction(ins.address, ins.guard, ins.name, operands, ins.labels)


def imad(ins):
    start, _, carries, given = split(ins)
    if "WIDE" in ins.parts or "HI" in ins.parts:
        return _imad_wide(ins, start, carries, given)
    a, b, c, write = integer(ins, start), integer(ins, start + 1), integer(ins, start + 2), to(ins)

    def run(s):
        total = (a(s) & LOW) * (b(s) & LOW) + (c(s) & LOW)
        for carry in given:
            total = total + carry(s).astype(U64)
        write(s, total.astype(U32))
        for carry in carries:
            carry(s, total >= U64(1 << 32))

    return run


def _imad_wide(ins, start, carries, given):
    read = integer if "U32" in ins.parts else signed
    a, b, c = read(ins, start), read(ins, start + 1), integer(ins, start + 2, wide=True)
    high, write = "HI" in ins.parts, (to if "HI" in ins.parts else to_pair)(ins)

    def run(s):
        added = c(s)
        total = a(s).astype(U64) * b(s).astype(U64) + added
        over = total < added
        for carry in given:
            total = total + carry(s).astype(U64)
            over = over | (carry(s) & (total == U64(0)))
        write(s, (total >> U64(32)).astype(U32) if high else total)
        for carry in carries:
            carry(s, over)

    return run


def lop3(ins):
    carries = [to_truth(ins.operands[0])] if is_predicate(ins.operands[0]) else []
    at = len(carries)
    a, b, c = (integer(ins, at + i) for i in (1, 2, 3))
    table, write = int(ins.operands[at + 4], 16), to(ins, at)

    def run(s):
        found = _lut(table, [x(s).astype(U32) for x in (a, b, c)])
        write(s, found)
        for carry in carries:
            carry(s, found != 0)

    return run


def _lut(table, args):
    """Three-input logic: bit abc of the table says what comes of bits a, b and c."""
    a, b, c = args
    total = np.zeros(np.broadcast_shapes(a.shape, b.shape, c.shape), a.dtype)
    for i in range(8):
        if table >> i & 1:
            total = total | ((a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c))
    return total


def plop3(ins):
    first, second = to_truth(ins.operands[0]), to_truth(ins.operands[1])
    args = [truth(x) for x in ins.operands[2:5]]
    tables = [int(x, 16) for x in ins.operands[5:7]]

    def run(s):
        given = [x(s) for x in args]
        first(s, _lut(tables[0], given))
        second(s, _lut(tables[1], given))

    return run


def shf(ins):
    low, by, high, write = integer(ins, 1), integer(ins, 2), integer(ins, 3), to(ins)
    left, arithmetic, top = "L" in ins.parts, bool({"S32", "S64"} & {*ins.parts}), "HI" in ins.parts
    most = 31 if "W" in ins.parts else 63

    def run(s):
        shift = by(s) & LOW
        shift = shift & U64(31) if most == 31 else np.minimum(shift, U64(63))
        value = (high(s) & LOW) << U64(32) | (low(s) & LOW)
        value = (
            value << shift if left else (value.view(I64) >> shift.view(I64)).view(U64) if arithmetic else value >> shift
        )
        write(s, (value >> U64(32) if top else value).astype(U32))

    return run


def lea(ins):
    start, end, carries, given = split(ins)
    a, b, write = integer(ins, start), integer(ins, start + 1), to(ins)
    by = int(ins.operands[end - 1], 16)
    if "HI" not in ins.parts:
        head = lambda s: ((a(s) & LOW) << U64(by)) & LOW  # noqa: E731
    elif "SX32" in ins.parts:
        own = signed(ins, start)
        head = lambda s: ((own(s) << by) >> 32).view(U64) & LOW  # noqa: E731
    else:
        c = integer(ins, start + 2)
        head = lambda s: ((((c(s) & LOW) << U64(32)) | (a(s) & LOW)) << U64(by)) >> U64(32)  # noqa: E731

    def run(s):
        total = head(s) + b(s)
        for carry in given:
            total = total + carry(s).astype(U64)
        write(s, total.astype(U32))
        for carry in carries:
            carry(s, total >= U64(1 << 32))

    return run


def move(ins):
    read, write = integer(ins, 1), to(ins)
    return lambda s: write(s, read(s).astype(U32))


def choose(ins):
    a, b, p, write = integer(ins, 1), integer(ins, 2), truth(ins.operands[3]), to(ins)
    return lambda s: write(s, np.where(p(s), a(s), b(s)).astype(U32))


def extreme_integer(ins):
    read = integer if "U32" in ins.parts else signed
    a, b, p, write = read(ins, 1), read(ins, 2), truth(ins.operands[3]), to(ins)
    return lambda s: write(s, np.where(p(s), np.minimum(a(s), b(s)), np.maximum(a(s), b(s))).astype(U64).astype(U32))


def extreme_of_sum(ins):
    """VIADDMNMX d, a, b, c, p: the lesser of a + b and c where p, else the greater."""
    read = integer if "U32" in ins.parts else signed
    a, b, c, p, write = read(ins, 1), read(ins, 2), read(ins, 3), truth(ins.operands[4]), to(ins)

    def run(s):
        total = a(s) + b(s)
        write(s, np.where(p(s), np.minimum(total, c(s)), np.maximum(total, c(s))).astype(U64).astype(U32))

    return run


def magnitude(ins):
    read, write = signed(ins, 1), to(ins)
    return lambda s: write(s, np.abs(read(s)).astype(U32))


def permute(ins):
    a, selector, b, write = integer(ins, 1), integer(ins, 2), integer(ins, 3), to(ins)

    def run(s):
        value, chosen, total = (b(s) & LOW) << U64(32) | (a(s) & LOW), selector(s), U64(0)
        for i in range(4):
            nibble = chosen >> U64(4 * i) & U64(15)
            byte = value >> (nibble & U64(7)) * U64(8) & U64(255)
            sign = (byte >> U64(7)) * U64(255)
            total = total | np.where(nibble & U64(8), sign, byte) << U64(8 * i)
        write(s, total.astype(U32))

    return run


def zero_pair(ins):
    write = to_pair(ins)
    return lambda s: write(s, np.zeros(1, U64))
