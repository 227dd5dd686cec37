"""95% intervals cover the truth in 95% of 1,000 seeds."""

import math

import numpy as np

from tests.closed_forms import CLOSED_FORMS
from tests.estimators import estimator

SEEDS, N, LEVEL = 1000, 1000, 0.95


def test_intervals_cover_as_often_as_they_say():
    """Each count is binomial; 5 standard deviations are a false alarm in 10**6."""
    import mcgrad as mg

    form = next(form for form in CLOSED_FORMS if form.name == "normal_sin")
    run = mg.Estimator(form.f, form.q, backend="cpu")
    covered = dict.fromkeys(["value", "loc", "scale"], 0)
    for seed in range(SEEDS):
        interval = run(N, seed=seed).confidence_interval(LEVEL)
        for name, exact in {"value": form.value, **form.grad}.items():
            low, high = interval.value if name == "value" else interval.grad[name]
            covered[name] += low < exact < high
    deviation = math.sqrt(SEEDS * LEVEL * (1 - LEVEL))
    for name, count in covered.items():
        assert abs(count - SEEDS * LEVEL) < 5 * deviation, name


def test_estimates_of_different_seeds_scatter_as_their_standard_errors_say():
    """The variance over seeds, divided by the stated one, is chi-square: within 5 of its standard deviations of 1."""
    run = estimator("scalar")
    found = [run(N, seed=seed) for seed in range(SEEDS)]
    for values, errors in (
        ([est.value for est in found], [est.stderr for est in found]),
        ([est.grad["loc"] for est in found], [est.grad_stderr["loc"] for est in found]),
    ):
        ratio = np.var(values, ddof=1) / np.mean(np.square(errors))
        assert abs(ratio - 1) < 5 * math.sqrt(2 / SEEDS)
