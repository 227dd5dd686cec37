"""log(cosh) goes on from tanh in a loop of its own, where all that it needs is in rows."""

import numpy as np
import pytest

from mcgrad.backends.base import one_chunk
from mcgrad.backends.registry import BACKENDS
from mcgrad.codegen.cpu.chunk import emit
from mcgrad.codegen.cpu.cut import cut
from mcgrad.codegen.loops.cells import Lane, Value
from mcgrad.codegen.loops.loop_tree import Accumulate, Let, Load, Store
from mcgrad.ir.build import apply, broadcast, noise, reduce
from mcgrad.ir.program import Output, Program

X, Y, T, L, M = map(Value, "xytlm")
READ = Load(X, Lane(0))
TANH, LOG_COSH = Let(T, "tanh", (X,)), Let(L, "log_cosh", (X,))
KEEP = Store(Lane(128), T)
ADD = Accumulate(Lane(256, is_added_to=True), "sum", L)


def test_the_second_loop_reads_what_the_first_has_stored():
    first, second = cut((READ, LOG_COSH, ADD, TANH, KEEP))
    assert first == (READ, TANH, KEEP)
    assert second == (Load(X, Lane(0)), Load(T, Lane(128)), Let(L, "log_cosh_of_tanh", (X, T)), ADD)


def test_what_needs_the_result_goes_with_it():
    more = Let(M, "multiply", (L, T)), Store(Lane(512), M)
    first, second = cut((READ, TANH, KEEP, LOG_COSH, *more))
    assert first == (READ, TANH, KEEP)
    assert second[-2:] == more


@pytest.mark.parametrize(
    "lanes",
    [
        (READ, LOG_COSH, ADD, TANH, Accumulate(Lane(384), "sum", T)),  # tanh is in no row
        (Let(X, "sin", (Y,)), LOG_COSH, ADD, TANH, KEEP),  # nor x
        (READ, LOG_COSH, ADD),  # no tanh
        (READ, LOG_COSH, ADD, Let(T, "tanh", (Y,)), KEEP),  # of another number
        (READ, TANH, KEEP, LOG_COSH, ADD, Accumulate(Lane(0), "sum", T)),  # x changes
    ],
)
def test_other_loops_stay_whole(lanes):
    assert cut(lanes) == (lanes, ())


def test_means_over_draws_are_those_of_the_reference():
    eps = noise(0, "normal", (3,))
    tanh = apply("tanh", eps)
    total = reduce("sum", apply("log_cosh", eps), (0,))
    later = apply("multiply", tanh, broadcast(total, (3,)))  # so that tanh is kept until the sum is there
    program = Program((Output("value", total), Output("loc", later)), "float64")
    assert "log_cosh_of_tanh(" in emit(program).source
    bound = [BACKENDS[name].compile(program).bind({}) for name in ("cpu", "numpy")]
    found, wanted = (one_chunk(one, 5, 0, 1000, False).moments for one in bound)
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12)
    np.testing.assert_allclose(found.norm, wanted.norm, rtol=1e-12)
