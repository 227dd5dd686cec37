"""Second derivatives in every parameter of every family are those of a known moment, whatever way was chosen."""

from __future__ import annotations

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from tests.families import FAMILIES

STEP = 2e-3
LONG = {"TruncatedNormal, below", "TruncatedNormal, above", "SinhArcsinh", "FisherSnedecor", "LogisticNormal of 3"}
FEW = {name: each for name, each in FAMILIES.items() if sum(x.size for x in each.q.flat_params.values()) <= 9}


def diagonal(family, flat):
    """Second derivatives of the moment in each component with itself, by differences of fourth order."""

    def at(path, i, by):
        moved = {name: np.array(x, float) for name, x in flat.items()}
        moved[path].flat[i] += by
        return float(family.moment(**tree.unflatten({name: x[()] for name, x in moved.items()})))

    def bend(path, i):
        near, far = (at(path, i, k * STEP) + at(path, i, -k * STEP) - 2 * at(path, i, 0.0) for k in (1, 2))
        return (16 * near - far) / (12 * STEP**2)

    return {path: np.reshape([bend(path, i) for i in range(x.size)], x.shape) for path, x in flat.items()}


@pytest.mark.parametrize("name", [name for name in FEW if name not in LONG])
def test_second_derivatives_are_those_of_a_known_moment(name):
    family = FAMILIES[name]
    method = "pathwise" if family.pathwise else "score"
    est = mg.estimate(family.f, family.q, 8000, hessian="diag", method=method, backend="numpy", seed=3, dtype="float64")
    flat = {path: np.asarray(x, float) for path, x in family.q.flat_params.items()}
    found, errors = tree.flatten(est.hessian), tree.flatten(est.hessian_stderr)
    for path, want in diagonal(family, flat).items():
        free = np.broadcast_to(family.q.free.get(path, True), want.shape)
        z = np.abs(found[path] - want) / (errors[path] + 1e-4 * (1 + np.abs(want)))
        assert np.max(np.where(free, z, 0.0)) < 4.5
