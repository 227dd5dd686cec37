"""Write a scheduled Program as a Numba function over chunks of draws.

The function runs blocks of lanes: for each block it fills rows of noise, runs the steps over the workspace `ws`, and
adds the lane sums of every output, about a shift near its mean, to float64 sums. All arrays are one-dimensional:

    c   draw-independent values        t   integers: loop extents, then tables of rows
    ws  rows of lanes                  x0, x1, ...  draw-independent matrices
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.cpu.cut import RESTS
from mcgrad.codegen.cpu.lanes import Lanes, split_lanes
from mcgrad.codegen.cpu.printer import Printer
from mcgrad.codegen.cpu.scatter_calls import Hits
from mcgrad.codegen.cpu.sections import in_sections
from mcgrad.codegen.loops import layout
from mcgrad.codegen.loops.allocate import Workspace, allocate
from mcgrad.codegen.loops.build import Kernel, build
from mcgrad.codegen.loops.cells import Buffer, Element, Row
from mcgrad.codegen.loops.fuse import fuse
from mcgrad.codegen.loops.in_place import in_place
from mcgrad.codegen.loops.loop_tree import Fill, Gather, Gemm, Loop, Tree, walk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.scatters import with_scatters
from mcgrad.codegen.loops.schedule import all_equations, schedule
from mcgrad.codegen.loops.segments import segmented
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.loops.tile import tile
from mcgrad.codegen.noise_calls import fillers
from mcgrad.codegen.text import INFIX, SPECIAL, Source, elementwise_ops
from mcgrad.ir.program import Output, Program, Var
from mcgrad.noise.laws import DRAWS_PER_GROUP

WORKSPACE = [  # what of `kernels/workspace.py` is imported
    "at", "at_sum", "mask_finite", "mask_lanes", "put", "put_any", "put_sum",
]  # fmt: skip

ARGUMENTS = (
    "key0", "key1", "start", "stop", "c", "t", "ws", "shift", "sums", "squares", "counts", "omit", "blas",
)  # fmt: skip
NAMES = (*ARGUMENTS, "group", "partial")  # what is bound in a block of draws


@dataclass
class Emitted:
    """Source of a chunk function, and what has to be passed to it.

    Parameters
    ----------
    source : str
    lanes : int
    rows : int
        Rows of the workspace.
    scalars : list of (Var, offset)
        Draw-independent Vars, and where their elements start in `c`.
    matrices : list of (Var, axes)
        Draw-independent operands of matrix products, the order of axes they are wanted in.
    tables : int64 array
        The argument `t`.
    outputs : list of (Output, offset)
        Random outputs, and where their elements start in the sums.
    user_functions : list
        The user's own Numba functions, known to the source as native0, native1, ...
    uses_blas : bool
        Whether the function calls BLAS, whose address it then needs.
    loops : int
        Loops in a block of draws: what takes Numba long to compile.
    """

    source: str
    lanes: int
    rows: int
    scalars: list[tuple[Var, int]]
    matrices: list[tuple[Var, tuple[int, ...]]]
    tables: npt.NDArray[np.int64]
    outputs: list[tuple[Output, int]]
    user_functions: list[object]
    uses_blas: bool
    loops: int


def emit(program: Program, checked: bool = False, lanes: int | None = None) -> Emitted:
    """Write the chunk function of a simplified Program.

    Parameters
    ----------
    program : Program
    checked : bool
        Write the variant that looks at every draw: it counts those with a non-finite output and leaves them out.
    lanes : int, optional
        Draws in a block, a multiple of 4. Default: as many as keep the workspace in cache.
    """
    rewritten = segmented(with_scatters(program), layout.STEP_ROWS, layout.LEFT_ROWS)
    plan = tile(schedule(lower(in_place(rewritten), scatters=True), checked))
    kernel, workspace = _in_cache(build(plan, leaves=True, notes=True), program.dtype, lanes)
    arguments = Arguments(plan.program, kernel.names)
    hits = Hits(kernel.block, workspace)
    printer = Printer(program.dtype, workspace, arguments, NAMES, hits)
    text = Source()
    text.indent()
    text.add(*hits.before())
    text.add(*printer.lines((Fill(Buffer("mask"), 1, "mask", "mask"), *kernel.zeros)))
    lanes = workspace.lanes
    with text.compound(f"for block in range(start // {lanes}, (stop - 1) // {lanes} + 1):"):
        _write_block_start(text, workspace, program.dtype, checked)
        tree = split_lanes(in_sections(kernel.block), lambda: Lanes(workspace))
        text.add(*printer.lines(tree))
    text.add(*hits.after(printer))
    products = any(isinstance(node, Gemm) for node in walk(kernel.block))
    imports = {
        "blas": ["gemm"] if products else [],
        "intrinsics": ["accumulate", "prefer_vector_width", "select"],
        "jit": [*called(printer), "LOOP", "lane"],
        "scatters": hits.helpers,
        "workspace": [*WORKSPACE, *lookups(kernel.block)],
        **fillers((v.attrs for v in plan.program.body() if v.op == "noise"), program.dtype),
    }
    what = f"{'Checked s' if checked else 'S'}hifted sums and squares over the draws start .. stop."
    return Emitted(
        source=f"{head(plan.program, arguments, imports, what, printer.functions)}{text}",
        lanes=lanes,
        rows=hits.rows,
        scalars=list(arguments.scalars.items()),
        matrices=list(arguments.matrices),
        tables=arguments.integers(),
        outputs=list(arguments.outputs.items()),
        user_functions=arguments.user_functions,
        uses_blas=products,
        loops=sum(isinstance(node, Loop) for node in walk(tree)),
    )


def lookups(tree: Tree) -> list[str]:
    """What gathers call of `kernels/workspace.py`."""
    cells = [node.cell for node in walk(tree) if isinstance(node, Gather)]
    from_rows = any(isinstance(cell, Row) for cell in cells)
    constant = ["gather_constants"] * any(isinstance(cell, Element) for cell in cells)
    return [*constant, *["gather_rows", "at_chosen", "at_others", "put_others"] * from_rows]


def _in_cache(kernel: Kernel, dtype: str, lanes: int | None) -> tuple[Kernel, Workspace]:
    """The kernel and its workspace: with nests fused where the rows exceed L2 and become half as many or fewer.

    Fused, it keeps its lanes, so that sums round alike: the bits of a result depend on no size of a cache.
    """
    workspace = allocate(kernel, dtype, lanes)
    if workspace.total * workspace.lanes * np.dtype(dtype).itemsize > layout.L2_BYTES:
        fused = fuse(kernel)
        smaller = allocate(fused, dtype, lanes)
        if 2 * smaller.total <= workspace.total:
            return fused, replace(smaller, lanes=workspace.lanes)
    return kernel, workspace


def called(printer: Printer) -> list[str]:
    """What functions of sections need of `kernels/jit.py`."""
    return ["CALLED"] * bool(printer.functions)


def head(
    program: Program,
    arguments: Arguments,
    imports: Mapping[str, list[str]],
    what: str,
    functions: Sequence[str] = (),
) -> Source:
    """Everything before the loop over blocks; written last, when the arguments are known.

    Parameters
    ----------
    program : Program
    arguments : Arguments
    imports : dict of str to list of str
        Names by module of `kernels`, besides elementwise functions.
    what : str
        The function's docstring.
    functions : sequence of str
        Lines of the functions that it calls.
    """
    head = preamble(program, imports)
    matrices = "".join(f", x{i}" for i in range(len(arguments.matrices)))
    head.add(*functions, "", "", "@njit(**LOOP)")
    with head.compound(f"def chunk({', '.join(ARGUMENTS)}{matrices}):"):
        head.add(f'"""{what}"""')
        head.add("prefer_vector_width()", "partial = False")
    return head


def preamble(program: Program, imports: Mapping[str, list[str]]) -> Source:
    """Write the imports, and the elementwise functions of a body."""
    bits, text = program.dtype[-2:], Source()
    functions = {
        name: "special" if name in SPECIAL else "elementary"
        for name in sorted(elementwise_ops(all_equations(program.body())) - set(INFIX))
    }
    text.add("import numpy as np", "from numba import njit, uint32, uint64", "")
    for module, names in imports.items():
        if names:
            text.add(f"from mcgrad.kernels.{module} import {', '.join(names)}")
    for home in sorted(set(functions.values())):
        text.add(f"from mcgrad.kernels import {home}{bits}")
    rests = [rest for rest, ops in RESTS.items() if ops <= functions.keys()]
    if rests:
        text.add("from mcgrad.kernels import special")
    text.add("", f"real = np.float{bits}", *(f"{name} = lane({home}{bits}.{name})" for name, home in functions.items()))
    text.add(*(f"{name} = lane(special.{name}.float{bits})" for name in rests))
    return text


def _write_block_start(text: Source, workspace: Workspace, dtype: str, checked: bool) -> None:
    """Write which draws a block of lanes takes, and its mask, if that changes."""
    lanes, groups = workspace.lanes, DRAWS_PER_GROUP[dtype]
    outside = f"base < start or base + {lanes} > stop"
    text.add(f"base = block * {lanes}", f"group = uint64(base // {groups})")
    with text.compound("if True:" if checked else f"if partial or {outside}:"):
        text.add(f"mask_lanes(ws, {workspace.address(Buffer('mask'))}, {lanes}, {groups}, base, start, stop)")
        text.add(f"partial = {outside}")
