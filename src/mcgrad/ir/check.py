"""The type check of a Program, run after every pass."""

from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Program


def check(program: Program) -> Program:
    """Return the program if it is well formed.

    Raises
    ------
    AssertionError
        An unknown op, an elementwise op over different shapes, a wrong kind or a wrong level: a fault of
        mcgrad's own, not of its user.
    """
    for var in program.equations():
        op = OPS.get(var.op)
        assert op is not None, f"unknown op {var.op!r}"
        level = (
            Level.DRAW if var.op in ("noise", "copy") else max((arg.level for arg in var.args), default=Level.CONSTANT)
        )
        assert var.level == level, f"{var.op}: level {var.level!r}"
        if op.group == "elementwise":
            assert all(arg.shape == var.shape for arg in var.args), (
                f"{var.op}: shapes {[arg.shape for arg in var.args]} -> {var.shape}"
            )
            assert var.op in ("where", "copy") or var.kind == op.result, f"{var.op}: kind {var.kind}"
        if op.group in ("reduction", "scan", "contraction"):
            assert all(arg.kind == "float" for arg in var.args), f"{var.op} of {[arg.kind for arg in var.args]}"
    for out in program.outputs:
        assert out.var.kind == "float", f"output {out.path} is {out.var.kind}"
        assert out.scale is None or (out.scale.shape in ((), out.var.shape) and not out.scale.by_draw)
    assert program.dtype in ("float32", "float64"), program.dtype
    return program
