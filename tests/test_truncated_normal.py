"""Truncated normals narrow against their scale and far out in its tails: draws, slopes and densities."""

import csv
from pathlib import Path

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.differentiate.modes import reverse
from mcgrad.ir.build import input_
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

NAMES = ("loc", "scale", "low", "high")


def read():
    cases = {}
    for row in csv.DictReader((Path(__file__).parent / "data/truncated_normal.csv").read_text().splitlines()):
        params = {name: float(row[name]) for name in NAMES if row[name] != "none"}
        cases.setdefault(tuple(params.items()), []).append({k: float(v) for k, v in row.items() if k not in NAMES})
    return cases


CASES = read()


@pytest.mark.parametrize("params", CASES, ids=lambda params: "-".join(str(x) for _, x in params))
def test_draws_slopes_and_densities_are_those_of_mpmath(params):
    rows, q = CASES[params], mg.TruncatedNormal(**dict(params))
    given = {name: input_(name, ()) for name, _ in params}
    leaves = {given[name]: np.array([x]) for name, x in params}
    noise = input_("eps", ())
    z = trace(q.transform, (noise,), given)
    slopes = reverse(z, list(given.values()))
    leaves[noise] = np.array([row["e"] for row in rows])
    draw, *found = (np.broadcast_to(x, len(rows)) for x in interpret([z, *slopes], leaves, "float64"))
    exact = np.array([row["z"] for row in rows])
    np.testing.assert_allclose(draw, exact, rtol=1e-15, atol=1e-11 * np.ptp(exact) + 4e-16 * np.abs(exact).max())
    for name, slope in zip(given, found, strict=True):
        right = np.array([row[f"d{name}"] for row in rows])
        np.testing.assert_allclose(slope, right, rtol=0, atol=1e-6 * np.abs(right).max(), err_msg=name)
    for value, row in zip(exact, rows, strict=True):
        rounded = abs(np.spacing(value)) * max(abs(row["x"]), 1.0) / q.params["scale"]  # by the slope of the density
        assert q.log_prob(value, **q.params) == pytest.approx(row["log_density"], abs=1e-11 + rounded)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_gradients_where_the_bounds_are_narrow_or_far(dtype, backend):
    wanted = {  # of E z
        mg.TruncatedNormal(2.0, 1e-4, 0.0, 1.0): {"loc": 1e-8, "scale": -2e-4, "low": 0.0, "high": 1.0},
        mg.TruncatedNormal(0.0, 1.0, -1e-6, 1e-6): {"loc": 1e-12 / 3, "scale": 0.0, "low": 0.5, "high": 0.5},
        mg.TruncatedNormal(300.0, 1e3, 0.0, 1.0): {"loc": 1e-6 / 12, "low": 0.5, "high": 0.5},
        mg.TruncatedNormal(0.3e14, 1e14, 0.0, 1.0): {"loc": 1e-28 / 12, "low": 0.5, "high": 0.5},
    }
    for q, slopes in wanted.items():
        est = mg.estimate(lambda z: z, q, n=20_000, dtype=dtype, backend=backend)
        for name, slope in slopes.items():
            assert abs(est.grad[name] - slope) <= 5 * est.grad_stderr[name] + 1e-3 * abs(slope), (repr(q), name)
            assert est.grad_stderr[name] <= 0.1 * abs(slope) + 1e-15, (repr(q), name)
        assert q.params["low"] < est.value <= q.params["high"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entropies_by_draws_that_round_to_a_bound(dtype):
    """Far out it is almost the exponential of rate (loc - high) / scale^2, narrow almost uniform."""
    cases = {
        mg.TruncatedNormal(2.0, 1e-4, 0.0, 1.0): (1 - np.log(1e8), {"loc": -1.0, "scale": 2e4}),
        mg.TruncatedNormal(0.0, 1e-3, 5.0, 6.0): (1 - np.log(5e6), {"loc": 0.2, "scale": 2e3}),
        mg.TruncatedNormal(0.0, 1.0, low=1e5): (1 - np.log(1e5), {"loc": 1e-5, "scale": 2.0}),
        mg.TruncatedNormal(0.0, 1.0, -1e-6, 1e-6): (np.log(2e-6), {"loc": 0.0, "scale": 0.0}),
    }
    for q, (entropy, slopes) in cases.items():
        est = mg.estimate(mg.elbo(lambda z: 0.0 * z, q), n=50_000, wrt=["loc", "scale"], dtype=dtype, backend="numpy")
        assert abs(est.value - entropy) < 5 * est.stderr + 1e-6, repr(q)
        for name, slope in slopes.items():
            assert abs(est.grad[name] - slope) < 5 * est.grad_stderr[name] + 1e-6 * abs(slope), (repr(q), name)
