"""A chunk has the same moments whoever averages it: they depend on Program, values, shift, seed and range alone."""

import pickle
from functools import reduce

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import Partial
from mcgrad.engine.call import RunState
from mcgrad.engine.run import run
from tests.estimators import KINDS, estimator

SEED = 11


def far(z):
    """A mean of a million standard deviations, and, at some draws, none."""
    return 1e6 + 0.5 * np.log(z)


def huge(z):
    """Values whose squares overflow."""
    return 1e200 * z


MADE = {
    **{f"{name}-{dtype}": lambda name=name, dtype=dtype: estimator(name, dtype) for name, dtype in KINDS},
    "far": lambda: mg.Estimator(far, mg.Normal(3.0, 1.0), backend="cpu", nonfinite="omit"),
    "huge": lambda: mg.Estimator(huge, mg.Normal(3.0, 1.0), backend="cpu"),
    "numpy": lambda: estimator("scalar", backend="numpy"),
}


def bits(partial):
    return partial.nonfinite, partial.moments.count, partial.moments.mean.tobytes(), partial.moments.norm.tobytes()


def merged(total, part):
    return Partial(total.moments.merge(part.moments), total.nonfinite + part.nonfinite)


@pytest.mark.parametrize("name", MADE)
def test_chunks_in_any_order_each_bound_anew_merge_to_the_bits_of_a_run(name):
    made = MADE[name]()
    kernel, inputs, omit = made._kernel, made.inputs.values({}), name == "far"
    chunks = list(kernel.chunks(77, int(3e7 / made.program.work())))
    assert len(chunks) > 2
    right = bits(run(kernel.bind(inputs), SEED, chunks, lambda: 2, omit))
    shift, first = kernel.bind(inputs).shift(SEED, *chunks[0], omit)
    assert len(shift) in (0, len(first.moments.mean))
    shift = pickle.loads(pickle.dumps(shift))
    parts = {chunk: kernel.bind(inputs).partial(shift, SEED, *chunk, omit) for chunk in reversed(chunks[1:])}
    assert bits(reduce(merged, [parts[chunk] for chunk in chunks[1:]], first)) == right


class Noting:
    """A bound kernel that notes which chunks it averages over."""

    def __init__(self, bound):
        self.bound, self.chunks = bound, []

    def shift(self, seed, start, stop, omit):
        self.chunks.append((start, stop))
        return self.bound.shift(seed, start, stop, omit)

    def partial(self, shift, seed, start, stop, omit):
        self.chunks.append((start, stop))
        return self.bound.partial(shift, seed, start, stop, omit)


@pytest.mark.parametrize("kept", [0, 3, -1])
def test_a_run_that_goes_on_averages_only_over_the_chunks_that_are_left(kept):
    made = estimator("scalar")
    chunks, states = list(made._kernel.chunks(0, 2_000_000)), []
    bound = Noting(made._kernel.bind(made.inputs.values({})))
    right = run(bound, SEED, chunks, lambda: 1, False, lambda *state: states.append(RunState(*state, 0.0, "cpu")))
    assert bound.chunks == chunks
    bound.chunks.clear()
    state = pickle.loads(pickle.dumps(states[kept]))
    assert bits(run(bound, SEED, chunks, lambda: 1, False, resume=state)) == bits(right)
    assert bound.chunks == [chunk for chunk in chunks if chunk[0] >= state.stop]


def test_the_shift_of_a_component_without_a_finite_mean_is_zero():
    made = mg.Estimator(lambda z: z + 1e300 * np.exp(1e3 * z), mg.Normal(30.0, 1.0), backend="cpu")
    shift, first = made._kernel.bind(made.inputs.values({})).shift(SEED, 0, 512, False)
    assert not np.isfinite(first.moments.mean).any()
    assert (shift == 0.0).all()
