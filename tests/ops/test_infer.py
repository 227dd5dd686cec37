"""Inference says of an equation what the interpreter makes; a Program that says otherwise is refused."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mcgrad
from mcgrad.ir import build
from mcgrad.ir.check import check
from mcgrad.ir.infer import SHAPES, infer
from mcgrad.ir.interpret import interpret
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Output, Program, toposort
from tests.ops.problems import ALL_SAMPLES
from tests.ops.samples import Sample

SOURCE = Path(mcgrad.__file__).parent


def equations(sample: Sample):
    """The Vars of a sample whose first argument changes by draw and whose others are inputs."""
    args = [
        build.noise(i, "uniform", shape) if i == 0 else build.input_(f"x{i}", shape)
        for i, shape in enumerate(sample.shapes)
    ]
    return list(toposort([sample.build(*args)]))


@pytest.mark.parametrize("sample", ALL_SAMPLES)
def test_inferred_is_what_the_interpreter_makes(sample):
    found = equations(sample)
    leaves = {
        var: np.full((*var.shape, 3 if var.by_draw else 1), 0.5) for var in found if not var.args and not var.is_const
    }
    for var, value in zip(found, interpret(found, leaves, "float64"), strict=True):
        assert value.shape[:-1] == var.shape
        assert ("bool" if value.dtype == bool else "float") == var.kind
        if var.args and var.op != "copy":
            assert var.level == (Level.DRAW if value.shape[-1] == 3 else Level.CONSTANT)


@pytest.mark.parametrize("sample", ALL_SAMPLES)
def test_a_wrong_shape_kind_or_level_is_refused(sample):
    for var in equations(sample):
        if not var.args:
            continue
        wrong = [
            replace(var, shape=(*var.shape, 2)),
            replace(var, kind="float" if var.kind == "bool" else "bool"),
            replace(var, level=Level.CONSTANT if var.by_draw else Level.DRAW),
        ]
        for other in wrong:
            total = other if other.kind == "float" else build.apply("float", build.copy(other))  # which is not folded
            with pytest.raises(AssertionError):
                check(Program((Output("value", total),), "float64"))


X, FLAG = build.noise(0, "normal", (3, 2)), build.const([True, False])


@pytest.mark.parametrize(
    ("op", "args", "attrs"),
    [
        ("add", (X, build.transpose(X, (1, 0))), None),
        ("add", (FLAG, FLAG), None),
        ("logical_and", (X, X), None),
        ("where", (X, X, X), None),
        ("sum", (X,), None),
        ("sum", (X,), OPS["flip"].attributes((0,))),
        ("sum", (X,), OPS["sum"].attributes((2,))),
        ("reshape", (X,), OPS["reshape"].attributes((5,))),
        ("transpose", (X,), OPS["transpose"].attributes((0, 0))),
        ("broadcast", (X,), OPS["broadcast"].attributes((4, 2))),
        ("slice", (X,), OPS["slice"].attributes(((0, 4, 1), (0, 2, 1)))),
        ("flip", (X,), OPS["flip"].attributes((2,))),
        ("concatenate", (X, build.transpose(X, (1, 0))), OPS["concatenate"].attributes(0)),
        ("cumsum", (X,), OPS["cumsum"].attributes(-1, False)),
        ("einsum", (X, X), OPS["einsum"].attributes(("ab", "bc"), "ac")),
        ("einsum", (X,), OPS["einsum"].attributes(("aa",), "a")),
    ],
)
def test_arguments_and_attributes_that_an_op_does_not_take_are_refused(op, args, attrs):
    with pytest.raises(AssertionError):
        infer(op, args, attrs)


def test_every_op_has_one_rule():
    assert set(SHAPES) == {op.name for op in OPS.values() if op.category not in ("leaf", "elementwise")}


def test_nothing_else_makes_a_var():
    calls = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Var"
    ]
    assert set(calls) == {"ir/infer.py"}
