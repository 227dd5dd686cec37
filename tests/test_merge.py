"""Estimates over parts of a range merge to the estimate over the whole, wherever it is cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import mcgrad as mg
from mcgrad import tree
from tests.estimators import KINDS, estimator

N = 5000


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_cuts_anywhere_change_only_the_last_digits(name, dtype, backend):
    @settings(derandomize=True, deadline=None, max_examples=12)
    @given(st.sets(st.integers(2, N - 2), max_size=4), st.integers(0, 10**12))
    def check(cuts, first):
        edges = [0, *sorted(cuts), N]
        if min(np.diff(edges)) < 2:
            return
        run = estimator(name, dtype, backend)
        whole = run(N, seed=1, first=first)
        pieces = [run(b - a, seed=1, first=first + a) for a, b in itertools.pairwise(edges)]
        merged = pieces.pop()
        for piece in pieces:
            merged = merged.merge(piece)
        assert (merged.n, merged.ranges) == (N, ((first, first + N),))
        means = zip(tree.flatten(merged.grad | {"value": merged.value}).values(),
                    tree.flatten(whole.grad | {"value": whole.value}).values(),
                    tree.flatten(whole.grad_stderr | {"value": whole.stderr}).values(), strict=True)  # fmt: skip
        slack = {"float32": 2e-4, "float64": 1e-12}[
            dtype
        ]  # of one draw's deviation: sums are of single precision first
        for got, want, stderr in means:
            assert np.all(np.abs(got - want) <= slack * np.sqrt(N) * stderr + 1e-14 * np.abs(want))
        np.testing.assert_allclose(merged.stderr, whole.stderr, rtol={"float32": 1e-4, "float64": 1e-10}[dtype])

    check()


def test_what_does_not_belong_together_does_not_merge():
    run = estimator("scalar")
    one = run(100, seed=1)
    for other, problem in [
        (run(100, seed=1, first=99), "draws 99 to 99"),
        (run(100, seed=2, first=100), "seeds"),
        (run(100, seed=1, first=100, loc=0.4), "problems"),
        (estimator("scalar", "float32")(100, seed=1, first=100), "dtypes"),
        (estimator("vector")(100, seed=1, first=100), "parameters"),
    ]:
        with pytest.raises(mg.MergeError, match=problem):
            one.merge(other)


def test_data_and_constants_tell_problems_apart():
    def estimate(x, c, first):
        q = mg.Normal(np.zeros(3), np.ones(3))
        f = lambda z, *, x: np.sum(x * z) + c  # noqa: E731
        return mg.estimate(f, q, 10, data={"x": x}, backend="numpy", seed=0) if first is None else mg.Estimator(
            f, q, data={"x": x}, backend="numpy")(10, 0, first=first)  # fmt: skip

    one = estimate(np.arange(3.0), 1.0, None)
    assert one.merge(estimate(np.arange(3.0), 1.0, 10)).n == 20
    for x, c in ((np.arange(1.0, 4.0), 1.0), (np.arange(3.0), 2.0), (np.arange(3), 1.0)):
        with pytest.raises(mg.MergeError, match="problems"):
            one.merge(estimate(x, c, 10))


def test_backends_merge_with_each_other():
    parts = [estimator("scalar", backend=backend)(1000, first=1000 * i) for i, backend in enumerate(("cpu", "numpy"))]
    merged = parts[0].merge(parts[1])
    assert merged.backend == "cpu+numpy"
    assert merged.value == pytest.approx(estimator("scalar")(2000).value, rel=1e-12)
