"""How many of each instruction a multiprocessor does in a clock, and the least time that counts of them take.

Rates, in threads a clock and multiprocessor: CUDA C++ Programming Guide, throughput of native arithmetic instructions.
Which instructions share a pipe: Nsight Compute's guide, "Pipelines", and what NVIDIA's engineers say in their forums.
On GA100 one pipe (FMA, 64) does float32 arithmetic and integer products, another (ALU, 64) all other integer, logic,
compare and select; GH100 has a second FMA pipe, for float32 alone. 64-bit products (IMAD.WIDE) are taken at half rate,
which is an assumption, on the side of a lower bound. Four schedulers issue one warp instruction each in a clock.
"""

from dataclasses import dataclass

ISSUE = 128  # threads whose instructions are issued in a clock: four warps
RESERVED = 1024  # bytes of shared memory that the system takes of each block
GRAIN = 256  # registers are given to a warp by this many


@dataclass(frozen=True)
class Chip:
    """A device: multiprocessors, clock in Hz, and what one multiprocessor has.

    Parameters
    ----------
    rates : dict
        Pipe -> threads a clock.
    """

    name: str
    cc: tuple[int, int]
    processors: int
    clock: float
    shared: int
    rates: dict
    registers: int = 65536
    warps: int = 64
    blocks: int = 32


A100 = Chip(
    "A100 SXM, 108 SMs at 1.41 GHz",
    (8, 0),
    108,
    1.41e9,
    164 << 10,
    {"fma": 64, "imad": 64, "alu": 64, "fp64": 32, "xu": 16, "memory": 32, "uniform": 64, "branch": 32},
)
H100 = Chip(
    "H100 SXM, 132 SMs at 1.755 GHz",  # the clock under load; up to 1.98
    (9, 0),
    132,
    1.755e9,
    228 << 10,
    {"fma": 128, "imad": 64, "alu": 64, "fp64": 64, "xu": 16, "memory": 32, "uniform": 64, "branch": 32},
)
CHIPS = {chip.cc: chip for chip in (A100, H100)}

FMA = {"FADD", "FMUL", "FFMA", "HFMA2"}
FP64 = {"DADD", "DMUL", "DFMA", "DSETP"}
XU = {"MUFU", "I2F", "F2I", "F2F", "FRND", "POPC", "FLO", "BREV"}
MEMORY = {
    "LDS",
    "STS",
    "LDG",
    "STG",
    "LD",
    "ST",
    "SHFL",
    "LDC",
    "S2R",
    "S2UR",
    "ATOM",
    "ATOMS",
    "RED",
    "LDL",
    "STL",
    "LDSM",
}
BRANCH = {"BRA", "EXIT", "BSSY", "BSYNC", "BREAK", "WARPSYNC", "BAR", "CALL", "RET", "BRX", "BMOV", "YIELD"}
CLASSES = ("float32", "float64", "integer product", "other integer", "special", "memory", "uniform", "branch")


def pipe(name):
    """The pipe of an instruction, and how many of its slots it takes for each thread."""
    base, *parts = name.split(".")
    if base in FMA:
        return "fma", 1
    if base == "IMAD":
        return "imad", 2 if "WIDE" in parts or "HI" in parts else 1
    if base in FP64:
        return "fp64", 1
    if base in XU:
        return "xu", 1
    if base in MEMORY:
        return "memory", {"64": 2, "128": 4}.get(next((p for p in parts if p in ("64", "128")), ""), 1)
    if base in BRANCH:
        return "branch", 1
    if base.startswith("U") or base in ("R2UR", "ULDC"):
        return "uniform", 1
    return "alu", 1


def kind(name):
    """The class of an instruction, for the table."""
    of = {"fma": 0, "fp64": 1, "imad": 2, "alu": 3, "xu": 4, "memory": 5, "uniform": 6, "branch": 7}
    moves = name.startswith(("IMAD.MOV", "IMAD.IADD", "IMAD.SHL", "IMAD.X", "HFMA2"))  # by a pipe that is free
    return "other integer" if moves else CLASSES[of[pipe(name)[0]]]


def load(counts, chip):
    """Clocks that each pipe of a multiprocessor, and the issue of instructions, take for counts by name."""
    busy = dict.fromkeys(chip.rates, 0.0)
    for name, count in counts.items():
        where, slots = pipe(name)
        busy[where] += count * slots / chip.rates[where]
        if where == "imad":  # it is (one of) the FMA pipes
            busy["fma"] += count * slots / chip.rates["fma"]
    return busy | {"issue": sum(counts.values()) / ISSUE}


def bound(counts, chip):
    """Most draws a second, from counts a draw; and which pipe says so."""
    clocks = load(counts, chip)
    worst = max(clocks, key=clocks.get)
    return chip.processors * chip.clock / clocks[worst], worst


def resident(chip, threads, registers, shared):
    """Blocks that a multiprocessor holds at once, and what limits them."""
    warps = -(-threads // 32)
    each = -(-registers * 32 // GRAIN) * GRAIN
    limits = {
        "registers": chip.registers // 4 // each * 4 // warps,
        "shared memory": chip.shared // (shared + RESERVED),
        "threads": chip.warps // warps,
        "blocks": chip.blocks,
    }
    least = min(limits, key=limits.get)
    return limits[least], least
