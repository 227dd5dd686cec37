"""Write a Program with rows as a Numba function in whose blocks the lanes carry rows of a batch: for few draws a row.

A block of lanes has some rows of the batch, and of each a group of draws, as many as four words of noise serve, or two
of four (`kernels/row_lanes`). The body of a block is what it is where lanes carry draws alone. What differs:

- A loop over the groups of draws runs inside the loop over blocks.
- A loop of the Program, whose steps run in turn, ends when no draw of any row of the block goes on.
- What each row of the batch has its own value of is a leaf of the body that is in the workspace, spread over the lanes
  at the start of a block.
- Each row has sums in the workspace, to which the draws of its lanes are added, and which become moments at the end of
  a block. A matrix of moments, of an outer product that is summed over the rows, would not stay in cache: this is
  summed over the lanes of each block.

    numbers  of the rows, padded to whole blocks        by_row  values by row of the batch, the rows last
    means, norms  by row and component                  totals, variances  of the components that are summed
    odd      by row: not zero where a careful kernel has to average the row again
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.cpu.chunk import WORKSPACE, Emitted, called, lookups, preamble
from mcgrad.codegen.cpu.lanes import Lanes, split_lanes
from mcgrad.codegen.cpu.noise_first import noise_first
from mcgrad.codegen.cpu.pairs import HELPERS as PAIRS, pair_count, pair_lines
from mcgrad.codegen.cpu.printer import Printer
from mcgrad.codegen.cpu.products import LaneProduct
from mcgrad.codegen.cpu.sections import in_sections
from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.allocate import Workspace, allocate
from mcgrad.codegen.loops.build import Kernel, build
from mcgrad.codegen.loops.cells import Buffer, Index, Lane, Row
from mcgrad.codegen.loops.in_place import in_place
from mcgrad.codegen.loops.layout import STEP_ROWS
from mcgrad.codegen.loops.loop_tree import AddDraws, Gemm, Loop, Moments, Node, Noise, Outer, Store, Tree, walk
from mcgrad.codegen.loops.lower import expanded, is_outer, lower
from mcgrad.codegen.loops.schedule import schedule
from mcgrad.codegen.loops.segments import segmented
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.loops.tile import tile
from mcgrad.codegen.noise_calls import filler
from mcgrad.codegen.text import Source
from mcgrad.ir.build import rebuild
from mcgrad.ir.infer import stand_in
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Output, Program, Var, with_bodies
from mcgrad.ir.rewrite import rewrite_program
from mcgrad.ir.spaces import RowInput, Space
from mcgrad.noise.generators import POINT_SETS
from mcgrad.noise.laws import DRAWS_PER_GROUP

MOST_LANES = {"float32": 256, "float64": 128}  # more would be empty where a batch has few rows
TILE = 8  # components of which moments are written together: a vector of float64
PRODUCT, DRAWS = Buffer("running"), Buffer("draws")  # sums of a matrix product, and draws of outputs
MOMENTS = Buffer("sums")  # of each row, in three parts: what deviations are from, their sums, those of their squares


@dataclass
class EmittedRows(Emitted):
    """Source of a function over rows of a batch, and what has to be passed to it.

    Parameters
    ----------
    groups : int
        Draws in a group: lanes // groups rows of the batch are in a block.
    by_row : list of (Var, offset)
        Vars of which each row has its own value, and where their elements start in `by_row`.
    columns : int
        Components with moments by row.
    paired : bool array, shape (S,)
        Of the components that are summed over the rows: whether their variances come from pairs of draws.
    seeds : bool
        Whether `key0` and `key1` are arrays with those of each row.
    """

    groups: int
    by_row: list[tuple[Var, int]]
    columns: int
    paired: npt.NDArray[np.bool_]
    seeds: bool

    @property
    def summed(self) -> int:
        """How many components are summed over the rows."""
        return len(self.paired)

    def degrees(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Return the degrees of freedom of variances that come from the draws start .. stop of a row."""
        if not self.summed:
            return np.empty(0)
        return np.where(self.paired, float(pair_count(start, stop)), float(stop - start - 1))


def writes(program: Program) -> bool:
    """Whether such a function can be written: not for calls of the user's own functions, nor where draws are points."""
    points = any(var.attrs.generator in POINT_SETS for var in program.noise())
    return not points and all(OPS[var.op].category != "native" for var in with_bodies(program.body()))


def emit_rows(program: Program, carried: str) -> EmittedRows:
    """Write the function of a simplified Program.

    Parameters
    ----------
    program : Program
    carried : {"batch", "pair", "seeds"}
        What the lanes carry, as `filler` has it.
    """
    body, given = _body(program)
    body = segmented(body, max(STEP_ROWS - sum(leaf.size for leaf in given), 0) // 2)  # of what stays in L2, half
    plan = tile(schedule(lower(in_place(body))))
    kernel = build(plan, outer_nodes=True, leaves=True, notes=True)
    outer = {node.output for node in walk(kernel.block) if isinstance(node, Outer)}
    products = any(isinstance(node, Gemm) for node in walk(kernel.block))
    places, components = _places([out for out in plan.program.outputs if out not in outer])
    kept = {DRAWS: _most_together(kernel.block), PRODUCT: 2 * int(products)}
    part = -(-components // draws_together(program.dtype, carried))
    kept[MOMENTS] = 3 * part
    values = {Buffer("value", leaf): leaf.size for leaf in given}
    workspace = allocate(kernel, program.dtype, kept=values | kept)
    workspace = replace(workspace, lanes=min(workspace.lanes, MOST_LANES[program.dtype]))
    arguments = Arguments(plan.program, kernel.names)
    over_rows = [out for out in plan.program.outputs if out.summed]
    summed, _ = _places(over_rows)
    printer = _Printer(program.dtype, workspace, arguments, places, summed, carried)
    text = _function(printer, plan.program, kernel, list(given), sum(values.values()), components)
    fillers = {filler(var.attrs, program.dtype, carried) for var in body.body() if var.op == "noise"}
    imports = {
        "intrinsics": ["accumulate", "prefer_vector_width", "select"],
        "jit": [*called(printer), "LOOP", "lane"],
        "workspace": [*WORKSPACE, *lookups(kernel.block), "put_draw"],
        "noise_fill": sorted(fillers),
        "row_lanes": ["draws_adder", *(["mask_draws"] if outer else []), "rows_spreader"],
        "row_moments": ["rows_adder", "rows_writer"],
        "lane_products": ["multiply_lanes"] if products else [],
        "pairs": PAIRS if outer else [],
    }
    head = preamble(plan.program, imports)
    matrices = "".join(f", x{i}" for i in range(len(arguments.matrices)))
    each, apart = workspace.lanes // printer.groups, part * workspace.lanes
    head.add(f"spread_rows = rows_spreader({printer.groups}, {each})")
    head.add(f"add_draws = draws_adder({printer.groups}, {each}, {apart})")
    head.add(f"add_rows = rows_adder({each}, {apart})", f"write_rows = rows_writer({each}, {apart}, {TILE})")
    head.add(*printer.functions, "", "", "@njit(**LOOP)")
    head.add("def batch(", f"    {SIGNATURE}{matrices}", "):")
    starts = np.cumsum([0, *(leaf.size for leaf in given)])
    return EmittedRows(
        source=f"{head}{text}",
        lanes=workspace.lanes,
        rows=workspace.total,
        scalars=list(arguments.scalars.items()),
        matrices=list(arguments.matrices),
        tables=arguments.integers(),
        outputs=list(arguments.outputs.items()),
        user_functions=[],
        uses_blas=False,
        loops=sum(isinstance(node, Loop) for node in walk(kernel.block)),
        groups=printer.groups,
        by_row=[(var, int(start)) for var, start in zip(given.values(), starts, strict=False)],
        columns=sum(out.var.size for out in plan.program.outputs if not out.summed),
        paired=np.repeat([out in outer and out.error for out in over_rows], [out.var.size for out in over_rows]).astype(
            bool
        ),
        seeds=carried == "seeds",
    )


SIGNATURE = (
    "key0, key1, start, stop, c, t, ws, numbers, by_row, count, "
    "means, norms, totals, variances, odd, least, scratch, blas"
)
NAMES = (*SIGNATURE.split(", "), "position", "rows", "group", "base", "place", "partial")  # bound in a group of draws


def _body(program: Program) -> tuple[Program, dict[Var, Var]]:
    """The Program of the random outputs, with leaves for what is by row: what each stands for goes with it."""
    random = Program(tuple(replace(out, scale=None) for out in program.outputs if out.var.by_draw), program.dtype)
    leaves: dict[Var, Var] = {}
    for var in random.hoisted():
        base = resolve(var).base
        if base.level is Level.ROW and base not in leaves:
            name = RowInput(Space.VALUE, f"row{len(leaves)}")
            leaves[base] = stand_in(name, base)
    by_row = {out.var for out in random.outputs if is_outer(out.var) and not out.summed}
    body = rewrite_program(
        random, lambda var, args: expanded(var, args) if var in by_row else rebuild(var, args), leaves
    )
    return body, {leaf: base for base, leaf in leaves.items()}


def draws_together(dtype: str, carried: str) -> int:
    """Return how many draws of a row are in the lanes at a time."""
    return 2 if carried == "pair" else DRAWS_PER_GROUP[dtype]


def _most_together(block: Tree) -> int:
    """The most outputs with moments of any loop over the lanes."""
    loops = [node for node in walk(block) if isinstance(node, Loop) and node.kind == "lane"]
    return max((sum(isinstance(node, Moments) for node in loop.body) for loop in loops), default=0)


def _places(outputs: list[Output]) -> tuple[dict[Output, int], int]:
    """Where the components of outputs with moments by row start among these, and how many there are."""
    places, size = {}, 0
    for out in outputs:
        places[out] = size
        size += out.var.size
    return places, size


def _function(
    printer: _Printer, program: Program, kernel: Kernel, leaves: list[Var], size: int, components: int
) -> Source:
    """Write the body of the function."""
    workspace, text = printer.workspace, Source()
    lanes, groups = workspace.lanes, printer.groups
    each, integer = lanes // groups, printer.integer
    masked = any(isinstance(node, Outer) for node in walk(kernel.block))
    text.indent()
    text.add('"""Moments of the draws start .. stop of `count` rows of a batch."""', "prefer_vector_width()")
    text.add(*printer.lines(kernel.zeros))
    with text.compound(f"for block in range(numbers.size // {each}):"):
        text.add(f"position = block * {each}", f"rows = min(count - position, {each})")
        if masked:
            text.add("partial = True")
        if leaves:
            first = workspace.address(Buffer("value", leaves[0]))
            text.add(f"spread_rows(ws, {first}, by_row, numbers.size, position, {size})")
        with text.compound(f"for group in range(start // {groups}, (stop - 1) // {groups} + 1):"):
            text.add(f"base = group * {groups}", f"place = {printer.place}")
            if masked:
                mask, outside = workspace.address(Buffer("mask")), f"base < start or base + {groups} > stop"
                with text.compound(f"if partial or {outside}:"):
                    text.add(f"mask_draws(ws, {mask}, {lanes}, {groups}, base, start, stop, rows)")
                text.add(f"partial = {outside}")
            tree = split_lanes(in_sections(kernel.block), lambda: _RowLanes(workspace))
            text.add(*printer.lines(noise_first(tree, lanes, np.dtype(printer.dtype).itemsize)))
        columns, width = _places([out for out in program.outputs if not out.summed])
        for out, place in printer.places.items():
            row = integer(workspace.address(MOMENTS) + place * each)
            which = f"ws, {row}, {integer(out.var.size)}, stop - start, least, scratch, odd, position, rows"
            if out.summed:
                call = f"add_rows({which}, totals, variances, {integer(printer.summed[out])})"
            else:
                call = f"write_rows({which}, means, norms, {width}, {integer(columns[out])})"
            text.add(f"{call}  # {out.path}")
    return text


class _RowLanes(Lanes):
    """One loop over the lanes of a block of rows of a batch."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._outputs = 0

    def moments(self, node: Moments) -> None:
        """Keep the draws of the lanes, which go to the sums of rows after the loop."""
        cell = replace(self.lane(Row(DRAWS, Index(self._outputs))), beside="draws")
        self._outputs += 1
        self.lanes.append(Store(cell, self.operand(node.operand)))
        self.after.append(AddDraws(node.output, node.index, cell))


class _Printer(Printer):
    """Prints nodes of a block of rows of a batch.

    Parameters
    ----------
    dtype, workspace, arguments
        Those of a Printer.
    places, summed : dict of Output to int
        Where the moments by row of each output start, and where the outputs that are summed do among these.
    carried : {"batch", "pair", "seeds"}
        What the lanes carry, as `filler` has it.

    Attributes
    ----------
    groups : int
        Draws of a row in the lanes at a time.
    """

    multiplied = "alike in all lanes"

    def __init__(
        self,
        dtype: str,
        workspace: Workspace,
        arguments: Arguments,
        places: dict[Output, int],
        summed: dict[Output, int],
        carried: str,
    ) -> None:
        super().__init__(dtype, workspace, arguments, NAMES)
        self.places, self.summed, self.carried = places, summed, carried
        self.groups = draws_together(dtype, carried)

    @property
    def place(self) -> str:
        """Where fillers find the words of `group`."""
        if self.carried == "pair":
            return "(numbers, position, uint32(group // 2), group % 2 == 1)"
        return "(numbers, position, uint32(group))"

    def multiplication(self, of: LaneProduct) -> str:
        """A call for a matrix product."""
        first, lead, flipped, source, target, rows, columns, inner = map(
            self._number, (of.first, of.lead, of.flipped, of.source, of.target, of.rows, of.columns, of.inner)
        )
        sums, add = self.workspace.address(PRODUCT), f"({of.added_to}) != 0"
        return (
            f"multiply_lanes({of.matrix}, {first}, {lead}, {flipped}, ws, {source}, {sums}, {target}, "
            f"{rows}, {columns}, {inner}, {add})"
        )

    def _number(self, text: str) -> str:
        """A number that is read at run time, an expression as it is: Numba compiles no helper twice."""
        return self.integer(int(text)) if text.isdigit() else text

    def node(self, node: Node) -> Iterator[str]:
        """The lines of a node."""
        match node:
            case Noise(_, Lane(address), source, component, components):
                many = self.integer(components) if components > 1 else "1"
                where = f"{self.operand(address)}, {self.workspace.lanes}, {many}"
                which = f"place, uint32({self.index(component)}), uint32({source.stream}), key0, key1"
                yield f"{filler(source, self.dtype, self.carried)}(ws, {where}, {which})"
            case AddDraws(output, index, cell):
                each = self.workspace.lanes // self.groups
                number = f"({self.index(index.plus(self.places[output]))})"
                yield f"row = {self.workspace.address(MOMENTS)} + {number} * {each}  # of {output.path}"
                yield f"add_draws(ws, {self.operand(cell.address)}, row, base, start, stop)"
            case Outer():
                yield from pair_lines(self, node, self.groups, self.summed[node.output])
            case _:
                yield from super().node(node)
