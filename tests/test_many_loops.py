"""Functions that unroll into more loops than Numba's compiler can take are refused with the way out."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import cpu_compiled


def test_too_many_loops_for_numba(monkeypatch):
    """Its search for definitions recurses from loop to loop."""

    def too_deep(*args):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(cpu_compiled, "load", too_deep)
    f = lambda z: np.sum(np.cumsum(z))  # noqa: E731
    estimator = mg.Estimator(f, mg.Normal(np.zeros(3), 1.0), backend="cpu")
    for n in (2, 1000):
        with pytest.raises(mg.BackendError, match=r"unrolls into \d+ loops: .*backend=\"numpy\""):
            estimator(n)
    with pytest.raises(mg.BackendError, match="unrolls into"):
        mg.Estimator(f, mg.Normal(np.zeros(3), 1.0), backend="cpu", draws=100)
