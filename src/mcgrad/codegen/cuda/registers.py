"""Write a small Program as a kernel whose threads keep everything in registers.

A thread makes the noise of a group of draws (one call of Philox a component), runs each through the straight code
`draw`, and adds to running sums. It takes few enough draws that float32 sums lose nothing that matters; threads add up
theirs in float64 in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable

from mcgrad.codegen.cuda.kernel import ARGUMENTS, Emitted, head, offsets, templates
from mcgrad.codegen.cuda.straight import Straight, size
from mcgrad.codegen.noise_calls import from_words, words
from mcgrad.codegen.text import Source, elementwise_ops
from mcgrad.ir.program import Program
from mcgrad.noise.laws import DRAWS_PER_GROUP

THREADS = 128
TURNS = 16  # groups of draws that one thread takes of a chunk
MOST_LINES = 400  # of straight code
MOST_REGISTERS = 150  # for noise and sums, of the 255 that a thread may have
FEW_REGISTERS = 100  # with these a third block finds room on a multiprocessor
MOST_CONSTANTS = 240  # and shifts, which are passed by value


def fits(program: Program) -> bool:
    """Whether a Program is small enough, and has no loop over steps, whose state `blocks` keeps in registers."""
    if any(var.op == "loop" for var in program.body()):
        return False
    outputs = sum(out.var.size for out in program.outputs if out.var.by_draw)
    constants = sum(var.size for var in program.hoisted())
    return (
        registers(program) <= MOST_REGISTERS and constants + outputs <= MOST_CONSTANTS and size(program) <= MOST_LINES
    )


def registers(program: Program) -> int:
    """Registers for the noise of a group of draws and for all sums."""
    noise = sum(var.size for var in program.noise())
    outputs = sum(out.var.size for out in program.outputs if out.var.by_draw)
    width = 1 if program.dtype == "float32" else 2
    return width * (DRAWS_PER_GROUP[program.dtype] * noise + 2 * outputs)


def emit(program: Program, checked: bool = False, by_value: bool = True) -> Emitted:
    """Write the kernel."""
    straight = Straight(program, templates(program.dtype))
    count, group = len(straight.outputs), DRAWS_PER_GROUP[program.dtype]
    values = [*straight.constants, *(f"p{i}" for i in range(count))]
    kinds = ", ".join(["real_type"] * len(values) if by_value else ["pointer(real_type)"] * 2)
    arguments = ", ".join(values) if by_value else "c, shift"
    few = registers(program) <= FEW_REGISTERS  # two loops take some more
    launch = THREADS, 3 if few else 2
    ops, sources = elementwise_ops(straight.program.body()), [var.attrs for var in program.noise()]
    source = head(program.dtype, ops, sources, kinds, len(straight.arguments.user_functions), launch)
    source.add(*straight.source.lines, "", "", f"draw = subroutine(draw, types.UniTuple(real_type, {count}))", "", "")
    write_noise(source, straight, group)
    rows = 2 * count + 2 * checked
    with source.compound(f"def kernel({ARGUMENTS}, {arguments}):"):
        source.add(f'"""Sums over chunks of {THREADS * TURNS * group} draws, {group} a turn of each thread."""')
        source.add(f"table = cuda.shared.array({rows * THREADS // 32}, float64)")
        if not by_value:
            source.add(*(f"c{i} = at(c, int32({i}))" for i in range(len(straight.constants))))
            source.add(*(f"p{i} = at(shift, int32({i}))" for i in range(count)))
        with source.compound("for chunk in range(int32(cuda.blockIdx.x), chunks, int32(cuda.gridDim.x)):"):
            _write_chunk(source, straight, group, checked, few and not checked)
    return Emitted(
        source=str(source),
        threads=THREADS,
        chunk=THREADS * TURNS * group,
        rows=rows,
        scalars=list(straight.arguments.scalars.items()),
        outputs=offsets(program),
        by_value=by_value,
        user_functions=straight.arguments.user_functions,
    )


def write_noise(source: Source, straight: Straight, group: int) -> None:
    """Write `noise`: that of all draws of a group, draw by draw."""
    names = [[f"{name}_{k}" for name in straight.noise] for k in range(group)]
    with source.compound("def noise(low, high, key0, key1):"):
        source.add('"""The noise of a group of draws, draw by draw."""')
        numbers = ((var, i) for var in straight.program.noise() for i in range(var.size))
        for j, (var, component) in enumerate(numbers):
            mine = [names[k][j] for k in range(group)]
            source.add(f"a, b, c, d = {words(var.attrs, str(component))}")
            source.add(*from_words(var.attrs, "abcd", mine))
        source.add(f"return ({', '.join(name for row in names for name in row)},)")
    total = group * len(straight.noise)
    source.add("", "", f"noise = subroutine(noise, types.UniTuple(real_type, {total}))", "", "")


def _write_chunk(source: Source, straight: Straight, group: int, checked: bool, apart: bool) -> None:
    """Write what is done for a chunk; `apart` has a loop for whole chunks, which looks at no ends."""
    count = len(straight.outputs)
    sums = [f"{letter}{i}" for letter in "sq" for i in range(count)]
    source.add(f"{' = '.join(sums)} = real(0)")
    if checked:
        source.add("used = nonfinite = int32(0)")
    chunk = THREADS * TURNS * group
    source.add(f"first = base + int64(chunk) * int64({chunk})")
    source.add(f"whole = start <= first and first + int64({chunk}) <= stop")
    source.add(f"group = uint64(first) >> uint64({group // 2})", "high = uint32(group >> uint64(32))")
    if apart:
        with source.compound("if whole:"), source.compound(f"for turn in range({TURNS}):"):
            _write_turn(source, straight, group)
            _write_draws(source, straight, group)
    with source.compound("else:" if apart else "if True:"), source.compound(f"for turn in range({TURNS}):"):
        source.add(f"d0 = first + int64(int32(turn) * int32({THREADS}) + int32(cuda.threadIdx.x)) * int64({group})")
        with source.compound(f"if whole or (d0 < stop and d0 + int64({group}) > start):"):
            _write_turn(source, straight, group)
            if apart or checked:
                write_one_by_one(source, straight, group, checked)
            else:
                with source.compound(f"if whole or (start <= d0 and d0 + int64({group}) <= stop):"):
                    _write_draws(source, straight, group)
                with source.compound("else:"):
                    write_one_by_one(source, straight, group, checked)
    for row, name in enumerate(sums):
        source.add(f"share(table, {row}, {name})")
    if checked:
        source.add(f"share(table, {2 * count}, real(used))", f"share(table, {2 * count + 1}, real(nonfinite))")
    source.add("cuda.syncthreads()", f"add_shared(table, {2 * count + 2 * checked}, out, chunks, chunk)")
    source.add("cuda.syncthreads()")


def _write_turn(source: Source, straight: Straight, group: int) -> None:
    """Write the noise of the group of draws that a thread takes in a turn."""
    noise = [f"{name}_{k}" for k in range(group) for name in straight.noise]
    source.add(f"place = uint32(group) + uint32(int32(turn) * int32({THREADS}) + int32(cuda.threadIdx.x))")
    source.add(f"{', '.join(noise)}, = noise(uint32(place), high, key0, key1)")


Add = Callable[[Source, list[str]], None]  # writes how the outputs of a draw are added to the sums


def _write_sums(source: Source, outputs: list[str]) -> None:
    for i, name in enumerate(outputs):
        source.add(f"d = {name} - p{i}", f"s{i} += d", f"q{i} += d * d")


def _write_draws(source: Source, straight: Straight, group: int) -> None:
    """Write the draws of a group: outputs, then sums."""
    for k in range(group):
        noise = [f"{name}_{k}" for name in straight.noise]
        outputs = [f"o{i}_{k}" for i in range(len(straight.outputs))]
        source.add(f"{', '.join(outputs)}, = draw({', '.join([*noise, *straight.constants])})")
        _write_sums(source, outputs)


def write_one_by_one(source: Source, straight: Straight, group: int, checked: bool, add: Add = _write_sums) -> None:
    """Write a loop over the draws of a group that are wanted: where a range ends, or each draw is looked at."""
    inside = "if start <= d0 + int64(k) and d0 + int64(k) < stop:"
    with source.compound(f"for k in range({group}):"), source.compound(inside):
        for name in straight.noise:
            chosen = f"{name}_{group - 1}"
            for k in reversed(range(group - 1)):
                chosen = f"select(k == {k}, {name}_{k}, {chosen})"
            source.add(f"{name} = {chosen}")
        outputs = [f"o{i}_" for i in range(len(straight.outputs))]
        source.add(f"{', '.join(outputs)}, = draw({', '.join([*straight.noise, *straight.constants])})")
        if not checked:
            add(source, outputs)
            return
        source.add(f"bad = not ({' + '.join(f'{name} * real(0)' for name in outputs)} == real(0))")
        with source.compound("if bad:"):
            source.add("nonfinite += int32(1)")
        with source.compound("if not (bad and omit):"):
            source.add("used += int32(1)")
            add(source, outputs)
