"""What multilevel runs refuse: the parameter, what was given, and what is accepted."""

import numpy as np
import pytest

import mcgrad as mg
from tests.test_mlmc import increments


def flat(z, *, level):
    return np.sum(z)


REFUSED = [
    (lambda: mg.mlmc(3, increments), "f", "3", "level"),
    (lambda: mg.mlmc(flat, 3), "q", "3", "a distribution for each level"),
    (lambda: mg.mlmc(flat, lambda level: level), "q", "returns 0 at level 0", "a distribution"),
    (lambda: mg.mlmc(flat, mg.Normal(np.zeros(2), 1.0, batch_ndim=1)), "q", "batch axes", "without"),
    (lambda: mg.mlmc(lambda z: z, mg.Normal(0.0, 1.0)), "f", "without the argument level", "f\\(z, \\*, level"),
    (lambda: mg.mlmc(flat, increments, coarsen=2), "coarsen", "2", "None, or a function"),
    (lambda: mg.mlmc(flat, increments, coarsen=lambda z: z), "coarsen", r"shape \(2,\) at level 1", r"shape \(1,\)"),
    (lambda: mg.mlmc(flat, increments, coarsen=lambda z: ()), "coarsen", "no draw", r"shape \(1,\)"),
    (
        lambda: mg.mlmc(flat, lambda level: mg.Exponential(np.ones(2**level))),
        "coarsen",
        "where q is Exponential.* at level 1 and",
        "increments",
    ),
    (lambda: mg.mlmc(flat, lambda level: mg.Normal(np.ones(2**level), 1.0)), "coarsen", "where q is", "increments"),
    (lambda: mg.mlmc(lambda z, *, level: z, increments), "f", r"shape \(2,\) at level 1", "the same shape"),
    (lambda: mg.mlmc(flat, increments, wrt="loc"), "wrt", r"'loc', of shape \(2,\) at level 1 and \(1,\)", "share"),
    (
        lambda: mg.mlmc(flat, lambda level: mg.Normal(np.zeros(2**level), 0.5**level), wrt="scale"),
        "wrt",
        "'scale', which has another value at level 1",
        "share",
    ),
    (lambda: mg.mlmc(flat, increments, params={"level": 1.0}), r"params\['level'\]", "the level", "another name"),
    (lambda: mg.mlmc(flat, increments, params={"a": 1.0}), r"params\['a'\]", "flat does not accept", "none"),
    (lambda: mg.mlmc(flat, increments, nonfinite="omit"), "nonfinite", "'omit'", "propagate"),
    (lambda: mg.mlmc(flat, increments, sampler="sobol", antithetic=True), "antithetic", "'sobol'", "one of the two"),
    (lambda: mg.mlmc(flat, increments, cost=2.0), "cost", "2.0", "a function of the level"),
    (lambda: mg.mlmc(flat, increments, cost=lambda level: 0), "cost", "returns 0 at level 0", "above 0"),
    (lambda: mg.mlmc(flat, increments, rtol=0.0), "rtol, atol", "0 and 0", "above 0"),
    (lambda: mg.mlmc(flat, increments, of="grad"), "of", "'grad'", "'value'"),
    (lambda: mg.mlmc(flat, increments, of="scale"), "of", "'scale'", "'value'"),
    (lambda: mg.mlmc(flat, increments, bias_share=1.0), "bias_share", "1.0", "between 0 and 1"),
    (lambda: mg.mlmc(flat, increments, alpha=0.0), "alpha", "0.0", "above 0"),
    (lambda: mg.mlmc(flat, increments, start=1), "start", "1", "2"),
    (lambda: mg.mlmc(flat, increments, max_draws=10), "max_draws", "10", "start = 1,024"),
    (lambda: mg.mlmc(flat, increments, max_cost=0), "max_cost", "0", "above 0"),
    (lambda: mg.mlmc(flat, increments, max_seconds="1"), "max_seconds", "'1'", "above 0"),
    (lambda: mg.mlmc(flat, increments, min_level=1), "min_level", "1", "2"),
    (lambda: mg.mlmc(flat, increments, max_level=1), "max_level", "1", "2"),
    (lambda: mg.mlmc(flat, increments, seed=-1), "seed", "-1", "0"),
]


@pytest.mark.parametrize(("act", "name", "given", "accepted"), REFUSED)
def test_what_is_refused(act, name, given, accepted):
    with pytest.raises(mg.ParameterError, match=rf"(?s)^{name}: given .*{given}.*; accepted: .*{accepted}"):
        act()


def test_an_integrand_pair_is_refused():
    numba = pytest.importorskip("numba")
    pair = mg.Integrand(value=numba.njit(lambda z: z[0]), value_and_grad=numba.njit(lambda z, grad: z[0]))
    with pytest.raises(mg.ParameterError, match=r"^f: given an Integrand, which has no level"):
        mg.mlmc(pair, increments)
