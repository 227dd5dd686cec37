"""Outer products that are outputs, in one form: backends average them from their factors."""

from mcgrad.ir.attributes import LETTERS
from mcgrad.ir.build import einsum, reshape
from mcgrad.ir.program import Level, Shape, Var


def as_einsum(var: Var) -> Var:
    """Write an outer product as an einsum whose output has the labels of the first factor first.

    Of two random Vars, or of one and another with a value for each row, since both vary where a sum is over rows.
    """
    if len(var.args) != 2 or not var.by_draw or any(arg.level is Level.CONSTANT for arg in var.args):
        return var
    if var.op == "einsum":
        (left, right), output = var.attrs.inputs, var.attrs.output
        return _outer(var.args[1], var.args[0]) if output == right + left and not set(left) & set(right) else var
    if var.op == "multiply" and all(arg.op == "broadcast" for arg in var.args):
        for x, y in (var.args, var.args[::-1]):
            first, second = (_own_axes(factor) for factor in (x, y))
            if first and second and first + second == list(range(len(var.shape))):
                shapes = _part(var.shape, first), _part(var.shape, second)
                return _outer(*(reshape(z.args[0], shape) for z, shape in zip((x, y), shapes, strict=True)))
    return var


def _outer(x: Var, y: Var) -> Var:
    labels = "".join(LETTERS[: len(x.shape) + len(y.shape)])
    return einsum(f"{labels[: len(x.shape)]},{labels[len(x.shape) :]}->{labels}", x, y)


def _own_axes(repeated: Var) -> list[int]:
    """The axes along which a broadcast is not a repetition."""
    (arg,) = repeated.args
    before = len(repeated.shape) - len(arg.shape)
    return [before + axis for axis, n in enumerate(arg.shape) if n == repeated.shape[before + axis]]


def _part(shape: Shape, axes: list[int]) -> Shape:
    return tuple(shape[axis] for axis in axes)
