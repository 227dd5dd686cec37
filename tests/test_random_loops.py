"""Random programs of loops: values as plain NumPy's, gradients as central differences of them, draw by draw."""

import numpy as np
import pytest

import mcgrad as mg
from tests.random_loops import DATA, LOC, PARAMS, SCALE, Grammar, family, integrand

AT = {**PARAMS, "loc": LOC, "scale": SCALE}
DRAWS = 3
SEEDS = range(10)


def values(f, at):
    """Return what plain NumPy makes of each draw."""
    draws = family(at).sample(DRAWS, seed=5, dtype="float64")
    return np.array([f(z, t=at["t"], w=at["w"], **DATA) for z in draws])


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_loops_mean_what_they_do_in_numpy(seed):
    text = Grammar(seed).text
    f = integrand(text)
    found = mg.Estimator(f, family(AT), params=PARAMS, data=DATA, wrt=[*AT], backend="numpy", dtype="float64")(
        DRAWS, seed=5
    )
    want = values(f, AT)
    assert found.value == pytest.approx(want.mean(), rel=1e-10), text

    rng, compared = np.random.default_rng(seed), 0
    for _ in range(4):
        along = {name: rng.uniform(-1, 1, np.shape(x)) for name, x in AT.items()}
        slopes = [slope(f, along, step) for step in (1e-4, 2.5e-5)]
        scale = 1 + np.abs(want).max() + np.abs(slopes[0]).max()
        if np.abs(slopes[0] - slopes[1]).max() > 1e-7 * scale:
            continue  # a kink is nearer than the step
        compared += 1
        got = sum(np.sum(found.grad[name] * x) for name, x in along.items())
        assert got == pytest.approx(slopes[0].mean(), rel=0, abs=1e-7 * scale), text
    assert compared


def slope(f, along, step):
    """Return the derivative of each draw along a direction, of fourth order in the step."""
    at = {k: values(f, {name: x + k * step * along[name] for name, x in AT.items()}) for k in (-2, -1, 1, 2)}
    return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
