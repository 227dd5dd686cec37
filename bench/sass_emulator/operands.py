"""Operands of instructions: readers of registers, constants, immediates and addresses, and writers of results.

A reader takes the state of a block and returns an array with an element a thread, or one for all.
"""

import re

import numpy as np

U32, U64, I32, I64, F32, F64 = np.uint32, np.uint64, np.int32, np.int64, np.float32, np.float64
LOW = U64(0xFFFFFFFF)
REGISTER, PREDICATE = re.compile(r"(U?R)(\d+|Z)$"), re.compile(r"(U?P)([0-6T])$")


class Instruction:
    """One line of a disassembly: its predicate, its name in parts, its operands."""

    def __init__(self, address, guard, name, operands, labels):
        self.address, self.guard, self.name, self.labels = address, guard, name, labels
        self.base, *self.parts = name.split(".")
        self.operands = operands

    def __repr__(self):
        return f"{self.address:#x}: {self.name} {', '.join(self.operands)}"

    def label(self):
        """The address that the last operand names."""
        return self.labels[re.search(r"`\((.+)\)", self.operands[-1])[1]]


def register(text):
    """File and row of a register's name."""
    kind, number = REGISTER.match(text).groups()
    return kind, {"R": 255, "UR": 63}[kind] if number == "Z" else int(number)


def constant(text, wide):
    """A reader of c[bank][offset]."""
    bank, offset = re.match(r"c\[(\w+)\]\[(\w+)\]$", text).groups()
    bank, at = int(bank, 16), 0 if offset == "RZ" else int(offset, 16)
    kind = U64 if wide else U32
    return lambda s: np.frombuffer(s.banks[bank], kind, 1, at)


def bits(text, labels, wide=False):
    """A reader of an operand without its sign, as uint32 or uint64."""
    if REGISTER.match(text):
        kind, row = register(text)
        if not wide:
            return lambda s: s.files[kind][row]
        return lambda s: s.pair(kind, row)
    if text.startswith("c["):
        return constant(text, wide)
    if text.startswith("32@"):
        half, label = re.match(r"32@(lo|hi)\(\(?.*?(\.L_\w+|[\w$]+)(?:@srel)?\)+$", text).groups()
        return fixed(labels[label] if half == "lo" else 0, U32)
    return fixed(int(text, 16) & (0xFFFFFFFFFFFFFFFF if wide else 0xFFFFFFFF), U64 if wide else U32)


def fixed(value, kind):
    """A reader of a constant."""
    array = np.array([value], kind)
    return lambda s: array


def unsigned_name(text):
    """Operand without its signs and marks: the bare text, whether |x|, whether -x, whether ~x."""
    text = re.sub(r"\.(reuse|64|H0_H0|H1_H1)", "", text)
    minus, invert = text.startswith("-"), text.startswith("~")
    text = text.lstrip("-~")
    return text.strip("|"), text.startswith("|"), minus, invert


def integer(ins, i, wide=False):
    """A reader of operand i as uint64 holding 32 bits, or 64: negated by two's complement, a 33rd bit where -0."""
    bare, _, minus, invert = unsigned_name(ins.operands[i])
    read = bits(bare, ins.labels, wide)
    if wide:
        return (lambda s: ~read(s) + U64(1)) if minus else (lambda s: ~read(s)) if invert else read
    if minus and bare.startswith("0x"):
        value = np.array([-int(bare, 16) & 0xFFFFFFFF], U64)
        return lambda s: value
    if minus:
        return lambda s: U64(1 << 32) - read(s).astype(U64)
    if invert:
        return lambda s: (~read(s)).astype(U64)
    return lambda s: read(s).astype(U64)


def signed(ins, i):
    """A reader of operand i as int64 holding an int32."""
    read = integer(ins, i)
    return lambda s: (read(s) & LOW).astype(U32).view(I32).astype(I64)


def real(ins, i, wide=False):
    """A reader of operand i as float32 or float64."""
    bare, magnitude, minus, _ = unsigned_name(ins.operands[i])
    kind = F64 if wide else F32
    if REGISTER.match(bare) or bare.startswith("c["):
        raw = bits(bare, ins.labels, wide)
        read = lambda s: raw(s).view(kind)  # noqa: E731
    elif bare.startswith("0x"):
        value = np.array([int(bare, 16) << 32 if wide else int(bare, 16)], U64 if wide else U32).view(kind)
        read = lambda s: value  # noqa: E731
    else:
        value = np.array([float(bare.replace("QNAN", "NAN").replace("SNAN", "NAN"))], kind)
        read = lambda s: value  # noqa: E731
    if magnitude:
        absolute = read
        read = lambda s: np.abs(absolute(s))  # noqa: E731
    return (lambda s: -read(s)) if minus else read


def is_predicate(text):
    return bool(PREDICATE.match(text.lstrip("!")))


def truth(text):
    """A reader of a predicate."""
    kind, number = PREDICATE.match(text.lstrip("!")).groups()
    row = 7 if number == "T" else int(number)
    if text.startswith("!"):
        return lambda s: ~s.truths[kind][row]
    return lambda s: s.truths[kind][row]


def to(ins, i=0):
    """A writer of 32 bits."""
    kind, row = register(ins.operands[i])
    return lambda s, value: s.write(kind, row, value)


def to_pair(ins, i=0):
    """A writer of 64 bits."""
    kind, row = register(unsigned_name(ins.operands[i])[0])

    def write(s, value):
        value = value.view(U64) if value.dtype != U64 else value
        s.write(kind, row, (value & LOW).astype(U32))
        s.write(kind, row + 1, (value >> U64(32)).astype(U32))

    return write if row not in (255, 63) else lambda s, value: None


def to_truth(text):
    kind, number = PREDICATE.match(text).groups()
    return lambda s, value: None if number == "T" else s.decide(kind, int(number), value)


def address(ins, i):
    """A reader of a memory address [a + b + 0x10], and the width of the access in words."""
    inside = re.search(r"(?:desc\[\w+\])?\[([^\]]*)\]$", ins.operands[i])[1]
    terms = []
    for term in re.sub(r"\+-", "+!", inside).split("+"):
        bare, _, scale = term.partition(".X")
        if bare.startswith("!"):
            terms.append(fixed(-int(bare[1:], 16) & 0xFFFFFFFFFFFFFFFF, U64))
        elif bare.startswith(("0x", "-0x")):
            terms.append(fixed(int(bare, 16) & 0xFFFFFFFFFFFFFFFF, U64))
        elif bare.endswith(".64"):
            terms.append(bits(bare[:-3], ins.labels, wide=True))
        else:
            wide = bare.startswith("UR") and ".64" in inside  # a uniform base of a global address is a pair
            read = bits(bare, ins.labels, wide)
            by = U64(int(scale or 1))
            terms.append(lambda s, read=read, by=by: read(s).astype(U64) * by)
    return lambda s: sum((t(s) for t in terms), U64(0))
