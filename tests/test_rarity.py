"""A gradient that is zero in every draw is no news where the draws that its parameter moves are too rare to be met."""

import warnings

import numpy as np
import pytest

import mcgrad as mg

SILENT = [  # q, the component that is zero, and its right value for f = sum of squares
    (mg.Dirichlet([1e-8, 2.0, 4.0]), r"concentration\[0\]: the gradient is zero in all 20,000 draws"),
    (mg.Gamma(1e-8, 1.0), "concentration: .* probability of about 4e-07"),
    (mg.Beta(1e-9, 2e-9), "concentration1: "),
    (mg.RelaxedBernoulli(1e-9, logits=0.3), "temperature: "),
    (mg.RelaxedOneHotCategorical(1e-9, logits=[0.3, 0.1]), "temperature: "),
    (mg.Kumaraswamy(1e-9, 2.0), "concentration1: "),
    (mg.LogitNormal(0.0, 1e9), "loc: "),
    (mg.Joint(a=mg.Normal(), b=mg.Gamma(1e-8)), "b.concentration: "),
]


def squares(z):
    return sum(np.sum(x * x) for x in (z.values() if isinstance(z, dict) else [z]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("q", "message"), SILENT, ids=lambda x: type(x).__name__)
def test_zeros_that_say_nothing_are_said(q, message, dtype):
    with pytest.warns(mg.RareDrawsWarning, match=message) as caught:
        mg.estimate(squares, q, 20_000, dtype=dtype, backend="numpy")
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("f", "q"),
    [
        (squares, mg.Dirichlet([0.1, 2.0, 4.0])),  # common enough
        (lambda z: z[1] ** 2, mg.Gamma([2.0, 3.0])),  # zero, as f does not read it
        (lambda z: np.log(z), mg.Gamma(1e-3)),  # an integrand that sees how small draws are
    ],
)
def test_other_gradients_are_left_in_peace(f, q):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mg.estimate(f, q, 20_000, backend="numpy")


def test_joints_have_none_where_no_part_has():
    assert mg.Joint(a=mg.Normal(), b=mg.Joint(c=mg.Uniform())).rarity is None
    assert mg.Joint(a=mg.Normal(), b=mg.Joint(c=mg.Gamma(1.0))).rarity is not None


def test_the_score_shows_what_is_not_known():
    """d E z^2 / da = 2 a + 1, and the standard error covers it."""
    est = mg.estimate(squares, mg.Gamma(0.001), 20_000, method="score+mean", backend="numpy")
    assert abs(est.grad["concentration"] - 1.002) < 5 * est.grad_stderr["concentration"]


def test_a_closed_form_of_zero_is_no_sign_of_rare_draws():
    q = mg.Gamma(1e-6, 1.0)
    assert mg.estimate(mg.kl(q, q), n=100, backend="numpy").grad["concentration"] == 0  # warnings are errors here
