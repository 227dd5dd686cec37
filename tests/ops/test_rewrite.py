"""Rewriting: the rule that changes nothing returns the same Vars; others see what their arguments have become."""

from mcgrad.ir import build
from mcgrad.ir.build import apply, rebuild
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.ir.rewrite import Sharing, rewrite, rewrite_program, substitute

X, Y = build.noise(0, "normal", (3,)), build.input_("y", (3,))
TOTAL = build.reduce("sum", apply("exp", apply("multiply", X, Y)), (0,))


def test_the_rule_that_changes_nothing_returns_the_same_vars():
    assert all(new is old for old, new in rewrite([TOTAL], rebuild).items())


def test_a_rule_comes_to_each_var_once_after_its_arguments_and_sees_what_these_became():
    seen = []

    def rule(var, args):
        seen.append(var)
        assert all(arg is made[old] for old, arg in zip(var.args, args, strict=True))
        made[var] = apply("negative", X) if var is X else rebuild(var, args)
        return made[var]

    made = {}
    assert rewrite([TOTAL, TOTAL], rule) == made
    assert seen == list(toposort([TOTAL]))


def test_given_vars_are_not_rewritten_and_a_scale_is_rewritten_with_its_output():
    two = build.const([2.0, 2.0, 2.0])
    scale = build.reduce("sum", Y, (0,))
    (out,) = rewrite_program(Program((Output("a", TOTAL, scale),), "float64"), rebuild, {Y: two}).outputs
    assert Y not in set(toposort([out.var, out.scale]))
    assert out.scale.attrs.array == 6.0
    assert substitute([X, TOTAL], {Y: two})[0] is X


def test_equal_equations_become_one():
    def again(order):
        return apply("multiply", *((X, Y) if order else (Y, X)))

    share, any_order = Sharing(), Sharing({"multiply"})
    assert share(again(True)) is share(again(True)) is not share(again(False))
    assert any_order(again(True)) is any_order(again(False))
    assert share(build.reduce("sum", X, (0,))) is not share(build.reduce("prod", X, (0,)))


def test_long_chains_are_rewritten_without_recursion():
    chain = X
    for _ in range(20000):
        chain = apply("add", chain, Y)
    (new,) = substitute([chain], {Y: apply("exp", Y)})
    assert sum(var.op == "add" for var in toposort([new])) == 20000
