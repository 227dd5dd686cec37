"""The type check of a Program, run after every pass."""

from mcgrad.ir.infer import infer
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Program, Var
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
        _check(var)
        assert var.op != "argument", "an argument of a body outside of it"
        if var.op == "noise":
            assert var.attrs.law in named(var.attrs.generator).laws, f"noise {var.attrs}: no such law"
        assert var.op != "table" or not var.by_draw, "a table, which the host looks up, of what changes by draw"
    for out in program.outputs:
        assert out.var.kind == "float", f"output {out.path} is {out.var.kind}"
        assert out.scale is None or (out.scale.shape in ((), out.var.shape) and not out.scale.by_draw)
        assert out.scale is None or not (out.summed and out.scale.level is Level.ROW), f"{out.path}: a factor by row"
    assert program.dtype in ("float32", "float64"), program.dtype
    return program


def _check(var: Var) -> None:
    assert var.op in OPS, f"unknown op {var.op!r}"
    wanted = infer(var.op, var.args, var.attrs, var.shape)
    assert (var.shape, var.kind, var.level) == wanted, f"{var.op}: {(var.shape, var.kind, var.level)}, not {wanted}"
    if var.op == "loop":
        _check_body(var)


def _check_body(loop: Var) -> None:
    """Check the equations of a body, which read its arguments alone, and how often these change."""
    body, carries = loop.attrs.body, loop.attrs.carries
    seen: set[Var] = set()
    for var in body.equations:
        assert all(arg in seen for arg in var.args), f"{var.op} before its arguments"
        assert var.op not in ("input", "noise"), f"{var.op} in a body"
        assert var.op != "argument" or var in body.params, "an argument of another body"
        seen.add(var)
        _check(var)
    for i, (param, arg) in enumerate(zip(body.params, loop.args, strict=True)):
        level = max(arg.level, body.results[i].level) if i < carries else arg.level
        assert param.level == level, f"argument {i} of a body: {param.level!r}, not {level!r}"
