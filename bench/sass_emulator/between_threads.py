"""Instructions that reach beyond a thread: memory, shuffles and votes, special registers, predicates as bits."""

import numpy as np

from sass_emulator.operands import (
    I64,
    U32,
    U64,
    address,
    bits,
    integer,
    is_predicate,
    register,
    to,
    to_pair,
    to_truth,
    truth,
)

MEMORIES = {"S": "shared", "L": "local"}  # by the last letter of LDS, STL, ...


def special_register(ins):
    name, write = ins.operands[1], to(ins)
    return lambda s: write(s, s.special(name))


def load_constant(ins):
    wide = "64" in ins.parts
    read, write = bits(ins.operands[1], ins.labels, wide), (to_pair if wide else to)(ins)
    return lambda s: write(s, read(s))


def _words(ins):
    return {"64": 2, "128": 4}.get(next((p for p in ins.parts if p in ("64", "128")), ""), 1)


def _narrow(ins):
    if {"U8", "S8", "U16", "S16"} & {*ins.parts}:
        raise NotImplementedError(ins)


def load(ins):
    _narrow(ins)
    kind, row = register(ins.operands[0])
    at, words, memory = address(ins, 1), _words(ins), MEMORIES.get(ins.base[-1], "device")
    return lambda s: s.load(memory, at(s), kind, row, words)


def store(ins):
    _narrow(ins)
    kind, row = register(ins.operands[1])
    at, words, memory = address(ins, 0), _words(ins), MEMORIES.get(ins.base[-1], "device")
    return lambda s: s.store(memory, at(s), kind, row, words)


def result(ins):
    """What came out at the last barrier that asked all threads."""
    if "RESULT" not in ins.parts:
        raise NotImplementedError(ins)
    decide = to_truth(ins.operands[1])
    return lambda s: decide(s, np.full(s.threads, s.answer))


def shuffle(ins):
    mode, write, found = ins.parts[0], to(ins, 1), to_truth(ins.operands[0])
    value, other = integer(ins, 2), integer(ins, 3)

    def run(s):
        lane = np.arange(s.threads, dtype=I64)
        with_ = np.broadcast_to(other(s), lane.shape).astype(I64)
        own = lane % 32
        to_lane = {"BFLY": own ^ with_, "IDX": with_ % 32, "DOWN": own + with_, "UP": own - with_}[mode]
        inside = (to_lane >= 0) & (to_lane < 32)
        source = np.where(inside, lane - own + to_lane, lane)
        write(s, np.broadcast_to(value(s), lane.shape)[source].astype(U32))
        found(s, inside)

    return run


def vote(ins):
    start = next(i for i, x in enumerate(ins.operands) if is_predicate(x))
    write = to(ins, 0) if start else None
    decided, p = to_truth(ins.operands[start]), truth(ins.operands[start + 1])

    def run(s):
        here = (p(s) & s.mask).reshape(-1, 32)
        ballot = (here.astype(U64) << np.arange(32, dtype=U64)).sum(1).astype(U32)
        if write:
            write(s, np.repeat(ballot, 32))
        missing = (s.mask & ~p(s)).reshape(-1, 32).any(1)
        decided(s, np.repeat(~missing if "ALL" in ins.parts else here.any(1), 32))

    return run


def pack_predicates(ins):
    """P2R d, PR, a, mask: a with the bits of the mask taken from the predicates."""
    a, chosen, write = integer(ins, 2), int(ins.operands[3], 16), to(ins)
    kind = ins.operands[1].removesuffix("R")

    def run(s):
        bits = (s.truths[kind][:7].astype(U32) << np.arange(7, dtype=U32)[:, None]).sum(0).astype(U32)
        write(s, (a(s).astype(U32) & U32(~chosen & 0xFFFFFFFF)) | (bits & U32(chosen)))

    return run


def unpack_predicates(ins):
    """R2P PR, a, mask: the predicates of the mask from the bits of a."""
    a, chosen, kind = integer(ins, 1), int(ins.operands[2], 16), ins.operands[0].removesuffix("R")

    def run(s):
        value = a(s)
        for i in range(7):
            if chosen >> i & 1:
                s.decide(kind, i, (value >> U64(i) & U64(1)).astype(bool))

    return run


def nothing(ins):
    return lambda s: None
