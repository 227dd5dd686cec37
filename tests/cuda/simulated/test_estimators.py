"""Programs of estimators with several draws in one: nothing in the GPU's emitter knows of them."""

import numpy as np
import pytest

import mcgrad as mg
from tests.cuda.simulated.test_blocks import agree

X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
Q = mg.Normal(np.array([0.3, -0.2, 0.5]), 0.7)


def f(z, *, X):
    return np.sum(np.logaddexp(0, X @ z)) + np.where(z[0] > 0.2, 1.0, 0.0)


@pytest.mark.parametrize(
    ("integrand", "method"),
    [
        (f, "score+optimal"),
        (f, "score+leave_one_out"),
        (f, "measure_valued"),
        (mg.iwae(f, Q, 3), "dreg"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_estimators(integrand, method):
    estimator = mg.Estimator(integrand, Q, data={"X": X}, method=method, k=2, backend="numpy", dtype="float32")
    values = estimator._values({})
    agree(estimator.program, {**values, **estimator.baselines(values, 0)}, 4, 1)
