"""A gradient that is zero in every draw is no news where the draws that its parameter moves are too rare to be met."""

import warnings

import numpy as np
import pytest
import scipy.stats as st

import mcgrad as mg
from mcgrad import tree

SILENT = [  # q, the component that is zero, and its right value for f = sum of squares
    (mg.Dirichlet([1e-8, 2.0, 4.0]), r"concentration\[0\]: the gradient is zero to rounding in all 20,000 draws"),
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


APART = [  # mixtures, and the derivative of E sum(z) in their first weight
    (mg.MixtureSameFamily(mg.Normal([-7.0, 7.0], 1.0), probs=[0.5, 0.5]), "probs", -7.0),
    (mg.MixtureSameFamily(mg.Normal([[0.0, -7.0], [0.0, 7.0]], 1.0), logits=[0.0, 0.0]), "logits", -3.5),
    (
        mg.MixtureSameFamily([mg.MultivariateNormal([x, 0.0], np.eye(2)) for x in (-7.0, 7.0)], probs=[0.5, 0.5]),
        "probs",
        -7.0,
    ),
    (mg.Joint(a=mg.Normal(), b=mg.MixtureSameFamily(mg.Laplace([0.0, 50.0], 1.0), probs=[1.0, 1.0])), "b.probs", -12.5),
]


def total(z):
    return sum(np.sum(x) for x in (z.values() if isinstance(z, dict) else [z]))


@pytest.mark.parametrize(("q", "path", "right"), APART)
def test_weights_of_components_far_apart(q, path, right):
    """No draw is where the gradient along draws in the weights comes from: it is several standard errors off."""
    with pytest.warns(
        mg.RareDrawsWarning, match=f"^{path}: the components are so far apart .*'{path}': 'score"
    ) as seen:
        off = mg.estimate(total, q, 20_000, backend="numpy", wrt=[path])
    assert len(seen) == 1
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = mg.estimate(total, q, 20_000, backend="numpy", wrt=[path], method={path: "score+mean"})
        chosen = mg.estimate(total, q, 20_000, backend="numpy", wrt=[path], method="auto")
    wrong, *both = (
        (tree.flatten(est.grad)[path][0] - right) / tree.flatten(est.grad_stderr)[path][0]
        for est in (off, fine, chosen)
    )
    assert abs(wrong) > 3
    assert max(map(abs, both)) < 5


@pytest.mark.parametrize(
    "q",
    [
        mg.MixtureSameFamily(mg.Normal([-1.0, 2.0], [0.5, 1.0]), probs=[0.3, 0.7]),
        mg.MixtureSameFamily(mg.Normal([0.0, 0.0], [1e-3, 1.0]), probs=[0.3, 0.7]),
        mg.MixtureSameFamily(mg.Exponential([1e-3, 1.0, 1e3]), logits=[0.3, 0.7, 0.0]),
        mg.MixtureSameFamily(mg.LogNormal([-1.0, 2.0], [0.5, 3.0]), probs=[0.3, 0.7]),
        mg.MixtureSameFamily(mg.Normal(np.zeros((3, 2)), np.ones(2)), probs=[0.3, 0.7, 1.0]),
        mg.MixtureSameFamily(mg.Weibull([1.0, 2.0], [5.0, 5.0]), probs=[0.3, 0.7]),
    ],
)
def test_weights_of_components_that_meet(q):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mg.estimate(total, q, 200, backend="numpy")


def test_probabilities_between_components():
    """A tenth of the flow, which is 1/2 between the components and all but nothing elsewhere, is in the middle."""
    (found,) = (
        mg.MixtureSameFamily(mg.Normal([-5.0, 5.0], 1.0), probs=[0.5, 0.5])
        .bridges(components={"loc": np.array([-5.0, 5.0]), "scale": np.array([1.0])}, probs=np.array([0.5, 0.5]))
        .values()
    )
    exact = st.norm.cdf(-4.5) - st.norm.cdf(-5.5)  # |z| < 1/2, a tenth of 10
    np.testing.assert_allclose(found, exact, rtol=1.5)
    assert np.all(found > exact / 2.5)


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


DISCRETE = [
    (mg.Bernoulli(1e-9), "probs"),
    (mg.Bernoulli(logits=-20.0), "logits"),
    (mg.Binomial(10, 1e-9), "probs"),
    (mg.Poisson(1e-9), "rate"),
    (mg.Geometric(1.0 - 1e-9), "probs"),
    (mg.Joint(a=mg.Normal(), b=mg.Bernoulli(1e-9)), "b.probs"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("q", "path"), DISCRETE)
def test_outcomes_that_were_not_drawn_are_said(q, path, dtype):
    if dtype == "float32" and isinstance(q, mg.Geometric):
        pytest.skip("1 - 1e-9 is 1 in float32, and refused")
    f = (lambda z: z["b"] * np.exp(z["a"])) if isinstance(q, mg.Joint) else lambda z: 3.0 * z
    with pytest.warns(mg.RareDrawsWarning, match=rf"^{path}: .*not the most probable value.*method='measure_valued'"):
        mg.estimate(f, q, 20_000, wrt=path, method="score", dtype=dtype, backend="numpy")


@pytest.mark.parametrize(
    ("q", "path"), [(mg.Categorical([1e-9, 1.0, 1e-9]), "probs"), (mg.OneHotCategorical(logits=[0.0, -20.0]), "logits")]
)
def test_categories_that_were_not_drawn_are_said(q, path):
    """There is no measure-valued gradient of categories: the remedy is another."""
    with pytest.warns(mg.RareDrawsWarning, match=rf"^{path}\[0\]: .*about [24]e-09: take many more .* parameters that"):
        mg.estimate(lambda z: np.sum(z) + np.ravel(z)[0], q, 20_000, method="score+mean", backend="numpy")
    likely = mg.OneHotCategorical([0.1, 0.9])
    est = mg.estimate(lambda z: 3.0 * z[0], likely, 20_000, method="score+mean", backend="numpy")  # no warning
    assert abs(est.grad["probs"][0] - 3.0 * 0.9) < 5 * est.grad_stderr["probs"][0]


def test_measure_valued_makes_what_is_rare():
    est = mg.estimate(lambda z: 3.0 * z + 1.0, mg.Bernoulli(1e-9), 1000, method="measure_valued", backend="numpy")
    assert est.grad["probs"] == pytest.approx(3.0)
    est = mg.estimate(lambda z: 3.0 * z, mg.Bernoulli(0.01), 20_000, method="score", backend="numpy")  # no warning
    assert abs(est.grad["probs"] - 3.0) < 5 * est.grad_stderr["probs"]


def test_calls_of_few_draws_in_a_loop_are_not_blamed():
    estimator = mg.Estimator(lambda z: 3.0 * z, mg.Bernoulli(0.05), method="score", backend="numpy")
    grads = [estimator(2, seed=seed).grad["probs"] for seed in range(20)]  # warnings are errors here
    assert 0.0 in grads


def test_draws_that_are_infinite_but_for_a_few():
    """d E exp(-1/z) / da = -log 2 at a = 0, by draws of 4e-7."""
    q = mg.InverseGamma(1e-8, 1.0)
    with pytest.warns(mg.RareDrawsWarning, match="concentration: .* probability of about 4e-07"):
        mg.estimate(lambda z: np.exp(-1 / z), q, 20_000, wrt="concentration", method="score+mean", backend="numpy")
