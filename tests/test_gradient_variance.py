"""Gradients and their per-draw variances against published ones (data/gradient_variance.csv)."""

import csv
from pathlib import Path

import numpy as np
import pytest

import mcgrad as mg

SEEDS, N, MOST = 64, 4096, 5.0
COLUMNS = {"loc": ("dmu", "dmu_var_PW"), "scale": ("dsigma", "dsigma_var_PW")}


def rows():
    with (Path(__file__).parent / "data" / "gradient_variance.csv").open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def f(z, *, k, which):
    return which[0] * (z - k) ** 2 + which[1] * np.exp(-k * z**2) + which[2] * np.cos(k * z)


@pytest.fixture(scope="module", params=["cpu", "numpy"])
def run(request):
    params = {"k": 0.0, "which": np.zeros(3)}
    return mg.Estimator(f, mg.Normal(1.0, 1.0), params=params, wrt=("loc", "scale"), backend=request.param)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['f']} k={row['k']}")
def test_pathwise_gradient_and_variance(run, row):
    """24 z-scores a backend: a false alarm in 20,000 runs, were the seeds not fixed."""
    which = np.array([row["f"] == name for name in ("(x-k)^2", "exp(-k x^2)", "cos(k x)")], float)
    assert which.sum() == 1
    parts = [run(N, seed, k=float(row["k"]), which=which) for seed in range(SEEDS)]
    for parameter, (mean, variance) in COLUMNS.items():
        for column, found in (
            (mean, [est.grad[parameter] for est in parts]),
            (variance, [N * est.grad_stderr[parameter] ** 2 for est in parts]),
        ):
            exact = float(row[column])
            stderr = np.std(found, ddof=1) / np.sqrt(SEEDS)
            digits = 1e-5 * abs(exact)  # the file has six
            assert abs(np.mean(found) - exact) < MOST * stderr + digits


PUBLISHED = {"score": "SF", "pathwise": "PW", "measure_valued": "MVD"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['f']} k={row['k']}")
def test_compare_reproduces_the_table(row):
    """72 z-scores, of gradients and of variances of one draw, by 24 seeds: a false alarm in 300 runs (Student's t)."""
    which = np.array([row["f"] == name for name in ("(x-k)^2", "exp(-k x^2)", "cos(k x)")], float)
    params = {"k": float(row["k"]), "which": which}
    parts = [
        mg.compare(f, mg.Normal(1.0, 1.0), 8192, methods=PUBLISHED, params=params, wrt=("loc", "scale"), seed=seed,
                   backend="numpy")
        for seed in range(24)
    ]  # fmt: skip
    for method, column in PUBLISHED.items():
        for i, (parameter, name) in enumerate({"loc": "dmu", "scale": "dsigma"}.items()):
            for exact, found in (
                (row[name], [part[method].estimate.grad[parameter] for part in parts]),
                (row[f"{name}_var_{column}"], [part[method].variance[i] for part in parts]),
            ):
                stderr = np.std(found, ddof=1) / np.sqrt(len(parts))
                assert abs(np.mean(found) - float(exact)) < MOST * stderr + 1e-5 * abs(float(exact))
