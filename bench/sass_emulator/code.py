"""The text of a disassembly as instructions by address, and what their encoding says of time."""

import re
from typing import NamedTuple

from sass_emulator.operands import Instruction

LINE = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P[0-6T])\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
CONTROL_BITS = re.compile(r"^\s+/\* 0x([0-9a-f]{16}) \*/$")  # of the instruction above
LABEL = re.compile(r"([.$\w]+):\s*$")
SECTION = re.compile(r"\s+\.section\s+\.text\.([^,\s]+)")
REMARK = re.compile(r"\s*\(\*.*?\*\)")  # such as that a register is spilled
SPACING = 1 << 20  # of the addresses of functions


class Scheduling(NamedTuple):
    """What the encoding of an instruction says of time.

    Clocks until the warp's next may be issued; the barriers that it sets when it has written and when it has read;
    those it waits for.
    """

    stall: int
    written: int
    read: int
    waits: tuple[int, ...]

    @classmethod
    def of(cls, bits):
        waits = tuple(i for i in range(6) if bits >> (52 + i) & 1)
        return cls(bits >> 41 & 15, bits >> 46 & 7, bits >> 49 & 7, waits)


class Code:
    """Machine code: its instructions by address, and where the kernel starts."""

    def __init__(self, text):
        labels, lines, base, pending = {}, [], -SPACING, []
        self.sections, self.scheduling = {}, {}
        for line in text.splitlines():
            if section := SECTION.match(line):
                base += SPACING
                self.sections[section[1]] = base
                pending.append(section[1])
            elif label := LABEL.match(line):
                pending.append(label[1])
            elif found := LINE.match(line):
                address, guard, kind, operands = base + int(found[1], 16), found[2], found[3], REMARK.sub("", found[4])
                labels |= dict.fromkeys(pending, address)
                pending = []
                lines.append((address, guard, kind, [x.strip() for x in operands.split(",")] if operands else []))
            elif lines and (bits := CONTROL_BITS.match(line)):
                self.scheduling[lines[-1][0]] = Scheduling.of(int(bits[1], 16))
        self.instructions = {line[0]: Instruction(*line, labels) for line in lines}
        self.labels = labels
        self.entry = next(at for name, at in self.sections.items() if not name.startswith(("__cuda", "$")))

    def __iter__(self):
        return iter(self.instructions.values())


LATENCY = {"LDS": 30, "LDC": 40, "S2R": 30, "S2UR": 30, "MUFU": 30, "SHFL": 25, "LDG": 300, "BAR": 30}  # rough
OTHERS = 20  # clocks, of what else sets a barrier: conversions, and float64 arithmetic


def alone(code, trace):
    """Clocks that a warp takes for a trace of addresses with a multiprocessor to itself, roughly.

    The clocks between instructions whose latency is fixed are in their encoding; those of the others are `LATENCY`.
    """
    now, free = 0, [0] * 8
    for at in trace:
        stall, written, read, waits = code.scheduling[at]
        now = max([now, *(free[i] for i in waits)])
        latency = LATENCY.get(code.instructions[at].base, OTHERS)
        if written != 7:
            free[written] = now + latency
        if read != 7:
            free[read] = now + min(latency, OTHERS)
        now += max(stall, 1)
    return now
