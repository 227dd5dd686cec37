"""The shape of a tail: of samples whose tail is known, and where there is none."""

import numpy as np
import pytest
from scipy import stats

from mcgrad.results.pareto import pareto_k


@pytest.mark.parametrize("k", [-0.5, 0.0, 0.3, 0.7, 1.2])
def test_it_finds_the_shape_of_a_generalised_pareto(k):
    n, rng = 40_000, np.random.default_rng(5)
    tail, prior = 600, 10 / 610 * abs(0.5 - k)
    found = [pareto_k(scale * stats.genpareto(k).rvs(n, random_state=rng)) for scale in (1.0, 1e-9, 1e200)]
    assert np.abs(np.array(found) - k).max() < prior + 4.0 * max(1.0 + k, 0.6) / np.sqrt(tail)


def test_it_is_that_of_the_published_formulas():
    x = np.sort(stats.genpareto(0.4).rvs(1_000, random_state=1))
    tail = x[-95:] - x[-96]  # ceil(3 sqrt(1000))
    m = 30 + int(np.sqrt(95))
    b = 1 / tail[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * tail[int(95 / 4 + 0.5) - 1])
    k = np.log1p(-b[:, None] * tail).mean(axis=1)
    log = 95 * (np.log(-b / k) - k - 1)
    mean = np.sum(b * np.exp(log - log.max())) / np.sum(np.exp(log - log.max()))
    exact = (95 * np.log1p(-mean * tail).mean() + 10 * 0.5) / (95 + 10)
    assert pareto_k(x) == pytest.approx(exact, rel=1e-9)


def test_weights_of_known_tails():
    rng = np.random.default_rng(2)
    z = rng.normal(size=50_000)  # a normal as the proposal of one of another scale s: k = 1 - 1 / s^2
    for s in (1.3, 2.0):
        weights = np.exp(0.5 * z**2 * (1 - 1 / s**2))
        assert pareto_k(weights) == pytest.approx(1 - 1 / s**2, abs=0.12)


def test_where_there_is_no_tail():
    assert pareto_k(np.ones(100)) == -np.inf
    assert pareto_k(np.repeat([0.0, 1.0], [10, 990])) == -np.inf
    assert pareto_k(np.repeat([0.0, 1.0], [996, 4])) == np.inf
    assert pareto_k(np.zeros(100)) == np.inf
    assert np.isnan(pareto_k(np.arange(20.0)))
    assert pareto_k(np.append(np.linspace(0.0, 1.0, 200), [np.nan, -np.inf])) < 0
