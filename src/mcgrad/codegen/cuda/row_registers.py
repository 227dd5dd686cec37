"""Write a small Program with rows as a kernel in which a few threads have the draws of a row, all in registers.

A *team* of 1, 2, 4 .. 32 threads of one warp has a part of a row's draws, more the more draws there are; each thread
takes groups of draws in turn, as in `registers`, and adds up deviations from its first draw. So a mean far from zero
costs no digits, and one pass suffices; the team puts together what its threads have in float64. The draws of a group go
through one copy of their straight code, in a loop: with four copies the kernel takes three times as long to compile and
half as many registers again, for 5 to 12% fewer instructions.
"""

from __future__ import annotations

from mcgrad.codegen.cuda import registers
from mcgrad.codegen.cuda.kernel import head, offsets, templates
from mcgrad.codegen.cuda.registers import write_noise, write_one_by_one
from mcgrad.codegen.cuda.rows import ARGUMENTS, ROW, TYPES, EmittedRows, RowArguments, width
from mcgrad.codegen.cuda.straight import Straight, size
from mcgrad.codegen.text import Source, elementwise_ops
from mcgrad.ir.build import fill_value
from mcgrad.ir.program import Program
from mcgrad.noise.laws import DRAWS_PER_GROUP

WARP = 32
GROUPS = 4  # of draws a thread, up to which a row has fewer threads than a warp
MOST_REGISTERS = 200  # for noise, sums, shifts and the constants of a row
HELPERS = ("put_moments", "team_sum")


def fits(program: Program) -> bool:
    """Whether a Program is small enough, and has no loop over steps."""
    if any(var.op == "loop" for var in program.body()):
        return False
    outputs = sum(out.var.size for out in program.outputs if out.var.by_draw)
    constants = sum(var.size for var in program.hoisted() if fill_value(var) is None)
    words = 1 if program.dtype == "float32" else 2
    return (
        registers.registers(program) + words * (outputs + constants) <= MOST_REGISTERS
        and size(program) <= registers.MOST_LINES
    )


def team(n: int, dtype: str) -> int:
    """Return how many threads have the draws of a row together, by their number."""
    threads = 1
    while threads < WARP and n > threads * GROUPS * DRAWS_PER_GROUP[dtype]:
        threads *= 2
    return threads


def emit(program: Program, checked: bool = False) -> EmittedRows:
    """Write the kernel, for any number of draws."""
    straight = Straight(program, templates(program.dtype), RowArguments)
    arguments = straight.arguments
    assert isinstance(arguments, RowArguments)
    count, group, threads = len(straight.outputs), DRAWS_PER_GROUP[program.dtype], registers.THREADS
    ops, sources = elementwise_ops(straight.program.body()), [var.attrs for var in program.noise()]
    natives = len(arguments.user_functions)
    source = head(program.dtype, ops, sources, "", natives, (threads, 2), common=TYPES, helpers=HELPERS)
    source.add(*straight.source.lines, "", "", f"draw = subroutine(draw, types.UniTuple(real_type, {count}))", "", "")
    write_noise(source, straight, group)
    chunk = WARP * registers.TURNS * group
    with source.compound(f"def kernel({ARGUMENTS}):"):
        source.add(f'"""Moments of parts of {chunk} draws of rows, {group} a turn of each thread."""')
        _write_part(source, straight, group, checked, threads)
    return EmittedRows(
        source=str(source),
        threads=threads,
        chunk=chunk,
        rows=width(count),
        scalars=list(arguments.shared.items()),
        outputs=offsets(program),
        user_functions=arguments.user_functions,
        by_row=list(arguments.by_row.items()),
        aligned=group,
        teams=True,
        checked=checked,
    )


def _write_part(source: Source, straight: Straight, group: int, checked: bool, threads: int) -> None:
    """Write what the threads of a team do for their part; those beyond the last part repeat it, and write nothing."""
    add, count = source.add, len(straight.outputs)
    sums = [f"{letter}{i}" for letter in "sqp" for i in range(count)]
    add("thread = int32(cuda.threadIdx.x)", "mine = int32(thread % team)")
    add(f"unit = int32(int32(cuda.blockIdx.x) * int32({threads} // team) + thread // team)")
    add("active, unit = unit < units, min(unit, int32(units - 1))", *ROW)
    add(*_constants(straight))
    add(f"begin = start // int64({group}) * int64({group}) + int64(of_part) * each", "end = min(begin + each, stop)")
    add(*([f"{' = '.join(sums)} = real(0)"] if sums else []))
    add("used = nonfinite = int32(0)", "fresh = True", f"d0 = begin + int64(mine) * int64({group})")
    noise = [f"{name}_{k}" for k in range(group) for name in straight.noise]

    def write_sums(text: Source, outputs: list[str]) -> None:
        """The first draw of a thread is its shift."""
        for i, name in enumerate(outputs):
            first = f"select({name} * real(0) == real(0), {name}, real(0))" if checked else name
            text.add(f"p{i} = select(fresh, {first}, p{i})")
            text.add(f"d = {name} - p{i}", f"s{i} += d", f"q{i} += d * d")
        text.add("fresh = False", *([] if checked else ["used += int32(1)"]))

    with source.compound("while d0 < end:"):
        add(f"{', '.join(noise)}, = noise(uint32(d0 >> int64({group // 2})), high, key0, key1)")
        write_one_by_one(source, straight, group, checked, write_sums)
        add(f"d0 = d0 + int64(team) * int64({group})")
    add("count = float64(used)", "total = team_sum(count, team)", "bad = team_sum(float64(nonfinite), team)")
    add(f"first = select(active, int64(unit) * int64({width(count)}), int64(-1))")
    for i in range(count):
        add(f"put_moments(out, first, int32({i}), int32({count}), team, count, total, p{i}, s{i}, q{i})")
    with source.compound("if active and mine == 0:"):
        add(f"put(out, first + int64({2 * count}), total)", f"put(out, first + int64({2 * count + 1}), bad)")
        with source.compound("if of_part == 0:"):
            add(f"put(out, int64(units) * int64({width(count)}) + int64(of_row), 0.0)")


def _constants(straight: Straight) -> list[str]:
    """Read the constants by their names: those of all rows, and those of the row."""
    arguments = straight.arguments
    assert isinstance(arguments, RowArguments)
    stride, lines = sum(var.size for var in arguments.by_row), []
    for var in arguments.scalars:
        memory = arguments.memory(var)
        for i in range(arguments.scalar(var), arguments.scalar(var) + var.size):
            place = f"int64(of_row) * int64({stride}) + int64({i})" if var in arguments.by_row else f"int32({i})"
            lines.append(f"{memory}{i} = at({memory}, {place})")
    return lines
