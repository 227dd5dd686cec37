"""Few draws of what kernels are made of besides plain loops: both functions for them give the moments of the reference.

The numbers of draws are around those of groups that share words of noise, and of blocks of few lanes. Draws of an
importance-weighted bound and of a baseline by leave-one-out are groups of draws of q.
"""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu import by_element
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.emit.test_by_element import agrees
from tests.estimators import TRIL

RNG = np.random.default_rng(0)
NUMBERS = (2, 3, 7, 16, 17, 33)
Q = mg.Normal(np.linspace(-0.5, 0.5, 4), 0.6)
MIXTURE = mg.MixtureSameFamily(mg.Normal([[-1.0, 0.0], [0.5, 1.0], [2.0, 3.0]], 0.5), logits=[0.1, -0.2, 0.3])
LOW_RANK = mg.LowRankMultivariateNormal(np.zeros(4), RNG.standard_normal((4, 2)), np.ones(4))


def square(z):
    return np.sum(np.sin(z) ** 2)


def log_joint(z):
    return -0.5 * np.sum(z**2) - np.sum(np.logaddexp(0, z))


PROBLEMS = {
    "mixture": ((square, MIXTURE), {}),
    "scan": ((lambda z: np.maximum(np.mean(np.exp(0.1 * np.cumsum(z))) - 1, 0), mg.Normal(np.zeros(9), 1.0)), {}),
    "covariance": ((square, mg.MultivariateNormal(np.linspace(-1, 1, 5), scale_tril=TRIL[:5, :5])), {}),
    "low rank": ((square, LOW_RANK), {}),
    "counts": ((lambda z: np.sum(np.sqrt(z)), mg.Poisson([0.5, 3.0, 20.0])), {"method": "score"}),
    "gamma": ((square, mg.Gamma([0.5, 2.0, 7.0], 1.5)), {}),
    "bound": ((mg.iwae(log_joint, Q, k=3),), {}),
    "bound by dreg": ((mg.iwae(log_joint, Q, k=3),), {"method": "dreg"}),
    "leave one out": ((square, Q), {"method": "score", "baseline": "leave_one_out"}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_few_draws(plain_backend, monkeypatch, name, dtype):  # noqa: F811
    monkeypatch.setattr(by_element, "SLOWEST", np.inf)
    given, options = PROBLEMS[name]
    made = mg.Estimator(*given, backend="numpy", dtype=dtype, **options)
    kernel = plain_backend.compile(made.program)
    assert kernel.by_element is not None
    for few in (kernel.by_element, kernel.few_lanes):
        for n in NUMBERS:
            agrees(few, made.program, made.inputs.values({}), 0, n, 4 if dtype == "float32" else 10)
