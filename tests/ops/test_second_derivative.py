"""Every op has the second derivatives of its meaning, in both modes over both, or refuses them by name."""

from __future__ import annotations

import numpy as np
import pytest

from mcgrad.differentiate.again import differentiable
from mcgrad.ir.build import apply, argument, broadcast, const, input_, loop, part
from tests.ops.problems import MODES, OP_SAMPLES, central_differences, evaluate, weighted
from tests.ops.test_meaning_and_derivative import leaves_of

LONGEST = 16  # numbers of an argument that are all differentiated in
ONCE = {  # ops with one derivative: the rule of that reads what has none
    "digamma": "trigamma",
    "gamma_log_ratio": "gamma_slope",
}


def moved(leaves):
    """Return the arguments of a sample, and leaves that they are functions of, with values.

    All numbers of a short argument are leaves; a long one moves along a direction, by a number: in forward mode over
    forward mode the work is the square of the number of leaves.
    """
    args, at = [], {}
    for leaf, x in leaves.items():
        if leaf.size <= LONGEST:
            args.append(leaf)
            at[leaf] = x
        else:
            by = input_(f"along {len(args)}", ())
            direction = np.random.default_rng(leaf.size).uniform(0.5, 1.0, leaf.shape)
            args.append(apply("add", const(x[..., 0]), apply("multiply", broadcast(by, leaf.shape), const(direction))))
            at[by] = np.zeros(1)
    return args, at


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
@pytest.mark.parametrize("sample", [s for s in OP_SAMPLES if s.smooth], ids=lambda sample: sample.id)
def test_derivatives_of_derivatives_agree_with_central_differences(sample, inner, outer):
    args, at = moved(leaves_of(sample))
    first = MODES[inner](weighted(sample.build(*args)), list(at))
    total = weighted(first[0])
    for grad in first[1:]:
        total = apply("add", total, weighted(grad))
    without = next((said for op, said in ONCE.items() if sample.id.startswith(f"{op}-")), None)
    if without is not None:
        with pytest.raises(TypeError, match=without):
            MODES[outer](total, list(at))
        return
    second = MODES[outer](total, list(at))
    for grad, want in zip(second, central_differences(total, list(at), at), strict=True):
        np.testing.assert_allclose(evaluate(grad, at)[..., 0], want, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_a_factor_that_passes_through_zero_below_a_branch_has_its_derivative(inner, outer):
    """As the series of a function at its removable singularity has; and what a branch does not take has none."""
    x = input_("x", ())

    def series(s):
        taken = apply("where", apply("less", apply("absolute", s), 0.1), s, 0.0)
        poly = apply("multiply", taken, apply("add", 1.0, apply("multiply", taken, apply("exp", taken))))
        other = apply("where", apply("less", apply("absolute", s), 0.1), 1.0, s)
        return apply("where", apply("less", apply("absolute", s), 0.1), poly, apply("log", other))

    for build in (series, lambda s: loop_of(series, s)):
        (slope,) = MODES[inner](build(x), [x])
        (bend,) = MODES[outer](differentiable([slope])[0], [x])
        for at, first, second in ((0.0, 1.0, 2.0), (2.0, 0.5, -0.25)):
            assert evaluate(slope, {x: np.array([at])})[0] == pytest.approx(first)
            assert evaluate(bend, {x: np.array([at])})[0] == pytest.approx(second)


def loop_of(f, x):
    """f(x), as the last step of a loop of two steps."""
    carry, step = argument(0, (), x.level), argument(1, (), x.level)
    again = loop([carry, step], [f(step)], [const(0.0), x], (1, 0, 2, False))
    return part(again, 0, ())
