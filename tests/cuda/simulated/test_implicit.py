"""Angles, directions and mixtures as GPU kernels against the NumPy reference on the same draws."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.codegen.cuda import choose
from tests.cuda import simulator

DRAWS = 40
TOLERANCE = {"float32": 3e-5, "float64": 1e-10}
COVARIANCES = [mg.MultivariateNormal(loc, [[1.0, 0.0], [0.8, 0.6]]) for loc in ([0.0, 0.5], [1.0, -1.0])]
FAMILIES = {
    "angles": mg.VonMises([0.3, -1.0], [0.5, 20.0]),
    "directions": mg.VonMisesFisher([1.0, 2.0, -0.5], 3.0),
    "normals": mg.MixtureSameFamily(mg.Normal([[0.0, 1.0], [1.0, -1.0], [0.5, 2.0]], 0.7), probs=[0.2, 0.5, 0.3]),
    "covariances": mg.MixtureSameFamily(COVARIANCES, logits=[0.3, 0.0]),
    "cdf": mg.Implicit(mg.Logistic.cdf, mg.Logistic.transform, {"loc": 0.3, "scale": 1.2}, mg.noise.uniform()),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_sums(name, dtype):
    est = mg.Estimator(lambda z: np.sum(np.sin(z)), FAMILIES[name], backend="numpy", dtype=dtype)
    program, inputs = est.program, est.inputs.values({})
    moments = one_chunk(NumpyBackend().compile(program).bind(inputs), 7, 0, DRAWS, False).moments
    found = simulator.sums(program, choose.emit(program), inputs, 7, 0, DRAWS)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(found.sums / DRAWS, moments.mean, rtol=tolerance, atol=tolerance)
