"""Both sides of comparisons: the answers are those of the whole root on each side, and the work grows with the root."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.gradients import both_sides
from mcgrad.gradients.continuity import Continuity
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import broadcast, const
from mcgrad.ir.interpret import Interpreter, meaning
from mcgrad.ir.program import toposort
from mcgrad.ir.rewrite import substitute

DEEP = 12


def chained(z, a, kinks, jumps=()):
    """A sum of walks that bend at irregular places, so that no loop is found; some of them jump."""
    rng, total = np.random.default_rng(0), 0.0
    for i in range(kinks // DEEP):
        x = a * (i + 1)
        for j in rng.permutation(DEEP):
            k, step = 0.1 * rng.random(), 0.5 + (i * DEEP + j in jumps)
            y = x + (z[j] if rng.random() < 0.5 else np.sin(z[j]))
            x = np.where(y > k, x + 0.5 * (y - k) + step - 0.5, x)
        total = total + np.sin(x * z[i % DEEP])
    return total


def problem(f):
    return Problem(f, mg.Normal(np.zeros(DEEP), 1.0), {"a": np.array(0.3)}, {})


def comparisons(traced):
    return [var for var in toposort([traced.value]) if var.op == "less"]


@pytest.mark.parametrize("jumps", [(), (0, 17, 30)])
def test_answers_are_those_of_the_whole_root_on_both_sides(jumps):
    traced = problem(lambda z, *, a: chained(z, a, 36, jumps))
    found = comparisons(traced)
    continuity = Continuity(traced.value, traced.values)
    rng = np.random.default_rng(1)
    leaves = {}
    for var in Interpreter([traced.value]).inputs:
        leaves[var] = rng.standard_normal((*var.shape, 8)) if var.op == "noise" else traced.values[var.attrs][..., None]
    for comparison in found:
        low, high = comparison.args
        both = []
        for answer in (True, False):
            both += substitute([traced.value], {high: broadcast(low, high.shape), comparison: const(np.array(answer))})
        one, other = Interpreter(both)(leaves)
        assert continuity.is_continuous(comparison) == np.allclose(one, other, rtol=1e-9, atol=0.0)
    assert sum(not continuity.is_continuous(comparison) for comparison in found) == len(jumps)


@pytest.mark.filterwarnings("ignore::mcgrad.errors.UnrolledWarning")
def test_the_work_grows_with_the_equations(monkeypatch):
    computed = []

    def counted(var, dtype):
        compute = meaning(var, dtype)
        return lambda *args: computed.append(var) or compute(*args)

    monkeypatch.setattr(both_sides, "meaning", counted)
    for kinks in (10 * DEEP, 20 * DEEP):
        computed.clear()
        traced = problem(lambda z, *, a, kinks=kinks: chained(z, a, kinks))
        continuity = Continuity(traced.value, traced.values)
        found = comparisons(traced)
        assert len(found) == kinks
        assert all(map(continuity.is_continuous, found))
        assert len(computed) < 20 * kinks


def test_what_is_not_finite_on_both_sides_is_no_answer():
    traced = problem(lambda z, *, a: np.where(z[0] > a, np.log(z[0] - a), -np.inf))
    (comparison,) = comparisons(traced)
    assert not Continuity(traced.value, traced.values).is_continuous(comparison)
