"""The type check of a Program, run after every pass."""

from mcgrad.ir.infer import infer
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Program
from mcgrad.noise.generators import named


def check(program: Program) -> Program:
    """Return the program if it is well formed.

    Raises
    ------
    AssertionError
        An unknown op, arguments or attributes that it does not take, or a shape, kind or level other than those that
        `infer` gives: a fault of mcgrad's own, not of its user.
    """
    for var in program.equations():
        assert var.op in OPS, f"unknown op {var.op!r}"
        wanted = infer(var.op, var.args, var.attrs, var.shape)
        assert (var.shape, var.kind, var.level) == wanted, f"{var.op}: {(var.shape, var.kind, var.level)}, not {wanted}"
        if var.op == "noise":
            assert var.attrs.law in named(var.attrs.generator).laws, f"noise {var.attrs}: no such law"
        assert var.op != "table" or not var.by_draw, "a table, which the host looks up, of what changes by draw"
    for out in program.outputs:
        assert out.var.kind == "float", f"output {out.path} is {out.var.kind}"
        assert out.scale is None or (out.scale.shape in ((), out.var.shape) and not out.scale.by_draw)
        assert out.scale is None or not (out.summed and out.scale.level is Level.ROW), f"{out.path}: a factor by row"
    assert program.dtype in ("float32", "float64"), program.dtype
    return program
