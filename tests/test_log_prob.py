"""`log_prob` is the log density at a value: of a distribution, of a family, and of a class that the user writes."""

import numpy as np
import pytest
import scipy.stats as st

import mcgrad as mg
from mcgrad import noise
from mcgrad.distributions import Distribution, Joint, Normal
from mcgrad.distributions.constraints import positive, real


class Tempered(Normal):
    """A user's class that writes log_prob, with the one of its base inside."""

    def log_prob(self, z, **params):
        return 0.5 * super().log_prob(z, **params)


class Written(Distribution):
    """A user's class of the time before log_density: a static log_prob."""

    constraints = {"loc": real, "scale": positive}  # noqa: RUF012

    @staticmethod
    def transform(eps, *, loc, scale):
        return loc + scale * eps

    @staticmethod
    def log_prob(z, *, loc, scale):
        return np.sum(-0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi))


class Silent(Distribution):
    @staticmethod
    def transform(eps, *, loc):
        return loc + eps


@pytest.mark.parametrize("z", [0.3, 2, np.float64(0.3), np.array(0.3), [0.3, -1.0], (1, 2), np.array([1, 2])])
def test_numbers_lists_and_arrays_at_the_parameters_of_the_distribution(z):
    """A family sums over the components; a distribution has an event shape, and what is before it is a batch."""
    q = mg.Normal(0.5, 2.0)
    right = st.norm(0.5, 2.0).logpdf(np.asarray(z, float))
    np.testing.assert_allclose(q.log_prob(z), right, rtol=1e-14)
    assert mg.Normal.log_prob(z, loc=0.5, scale=2.0) == pytest.approx(right.sum(), rel=1e-14)
    np.testing.assert_allclose(q.log_prob(z, loc=0.0, scale=1.0), st.norm.logpdf(np.asarray(z, float)), rtol=1e-14)


def test_joints_take_dicts_and_keep_their_own_parameters():
    q = Joint(a=mg.Normal(0.5, 2.0), b=mg.Exponential(3.0))
    right = st.norm(0.5, 2.0).logpdf(1.5) + st.expon(scale=1 / 3).logpdf(0.2)
    assert q.log_prob({"a": 1.5, "b": 0.2}) == pytest.approx(right, rel=1e-14)


@pytest.mark.parametrize("family", [Tempered, Written, Normal])
def test_a_users_class_with_a_log_prob_has_scores(family):
    """d/dloc E z^2 = 2 loc; tempered, the score is half of the right one, which is refused."""
    q = family(loc=0.7, scale=1.3) if family is not Written else Written(loc=0.7, scale=1.3)
    at = st.norm(0.7, 1.3).logpdf(0.1) * (0.5 if family is Tempered else 1.0)
    assert q.log_prob(np.array(0.1), **q.params) == pytest.approx(at, rel=1e-13)
    if family is Tempered:
        with pytest.raises(mg.ParameterError, match="'score' is biased"):
            mg.estimate(lambda z: z**2, q, 20_000, method="score+mean", backend="numpy")
        return
    est = mg.estimate(lambda z: z**2, q, 20_000, method="score+mean", backend="numpy")
    assert abs(est.grad["loc"] - 1.4) < 5 * est.grad_stderr["loc"]


def test_what_a_user_gives_as_log_prob_is_it():
    params = {"a": 0.4}
    density = lambda z, *, a: -0.5 * np.square(z - a) - 0.5 * np.log(2 * np.pi)  # noqa: E731
    q = mg.Reparameterized(lambda eps, *, a: a + eps, params, noise.normal(), log_prob=density)
    assert q.log_prob(1.0) == pytest.approx(st.norm(0.4).logpdf(1.0), rel=1e-14)
    est = mg.estimate(lambda z: z**2, q, 20_000, method="score+mean", backend="numpy")
    assert abs(est.grad["a"] - 0.8) < 5 * est.grad_stderr["a"]


def test_without_a_density_the_refusal_names_the_family():
    with pytest.raises(mg.ParameterError, match="Silent"):
        Silent(loc=0.0).log_prob(0.0)
    with pytest.raises(mg.ParameterError, match="Silent"):
        mg.estimate(lambda z: z, Silent(loc=0.0), 100, method="score", backend="numpy")


ENDS = [
    (mg.Gamma(1.0, 2.0), 0.0, st.gamma(1.0, scale=0.5)),
    (mg.Gamma(0.5, 2.0), 0.0, st.gamma(0.5, scale=0.5)),
    (mg.Gamma(1.5, 2.0), 0.0, st.gamma(1.5, scale=0.5)),
    (mg.Chi2(2.0), 0.0, st.chi2(2.0)),
    (mg.Beta(1.0, 3.0), 0.0, st.beta(1.0, 3.0)),
    (mg.Beta(1.0, 3.0), 1.0, st.beta(1.0, 3.0)),
    (mg.Beta(1.0, 1.0), 1.0, st.beta(1.0, 1.0)),
    (mg.Beta(3.0, 0.5), 1.0, st.beta(3.0, 0.5)),
    (mg.Weibull(3.0, 1.0), 0.0, st.weibull_min(1.0, scale=3.0)),
    (mg.Weibull(3.0, 2.0), 0.0, st.weibull_min(2.0, scale=3.0)),
    (mg.FisherSnedecor(2.0, 5.0), 0.0, st.f(2.0, 5.0)),
    (mg.FisherSnedecor(1.0, 5.0), 0.0, st.f(1.0, 5.0)),
    (mg.Kumaraswamy(1.0, 2.0), 0.0, st.beta(1.0, 2.0)),
    (mg.Kumaraswamy(2.0, 1.0), 1.0, st.beta(2.0, 1.0)),
    (mg.RelaxedBernoulli(1.0, probs=0.5), 1.0, st.uniform()),
    (mg.LogNormal(0.0, 1.0), 0.0, st.lognorm(1.0)),
    (mg.InverseGamma(2.0, 1.0), 0.0, st.invgamma(2.0)),
    (mg.Pareto(1.0, 2.0), 0.0, st.pareto(2.0)),
]


@pytest.mark.parametrize(("q", "z", "right"), ENDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_at_an_end_of_the_support_it_is_the_limit(q, z, right, dtype):
    q = type(q)(**{name: dtype(value) for name, value in q.params.items()})
    for found in (q.log_prob(dtype(z)), q.log_prob(np.full(2, z, dtype))[1], type(q).log_prob(dtype(z), **q.params)):
        assert np.asarray(found).dtype == dtype
        np.testing.assert_allclose(found, right.logpdf(z), rtol=0, atol=1e-12 if dtype is np.float64 else 1e-6)


def test_ends_of_some_components_of_parts_and_of_a_simplex():
    assert mg.Gamma([1.0, 2.0], [2.0, 2.0]).log_prob([0.0, 1.0]) == pytest.approx(np.log(2) + np.log(4) - 2)
    assert mg.Joint(a=mg.Gamma(1.0, 2.0), b=mg.Normal(0.0, 1.0)).log_prob({"a": 0, "b": 0}) == pytest.approx(
        np.log(2) - 0.5 * np.log(2 * np.pi)
    )
    np.testing.assert_allclose(mg.Dirichlet([1.0, 1.0, 1.0]).log_prob([[0.0, 0.5, 0.5], [0, 0, 1]]), np.log(2))
    mixture = mg.MixtureSameFamily(mg.Weibull([1.0, 2.0], [1.0, 2.0]), probs=[0.3, 0.7])
    assert mixture.log_prob(0.0) == pytest.approx(np.log(0.3))


@pytest.mark.parametrize("q", [mg.Gamma(2.0, 1.0), mg.Beta(2.0, 3.0), mg.Normal(0.0, 1.0), mg.Poisson(3.0, max_rate=9)])
def test_what_is_not_a_number_has_no_density_rather_than_none(q):
    found = q.log_prob([np.nan, -1.0])
    assert np.isnan(q.log_prob(np.nan))
    assert np.isnan(found[0])
    assert not np.isnan(found[1])


class Constant(Normal):
    @staticmethod
    def entropy(*, loc, scale):
        return np.sum(0.0 * loc + np.log(scale)) + 3.0


def test_closed_forms_take_the_parameters_of_the_distribution():
    q = mg.Normal([0.0, 1.0], [1.0, 2.0])
    right = st.norm([0.0, 1.0], [1.0, 2.0])
    assert q.entropy() == pytest.approx(right.entropy().sum(), rel=1e-14)
    assert q.entropy(loc=0.0, scale=1.0) == mg.Normal.entropy(loc=0.0, scale=1.0)
    np.testing.assert_allclose(q.cdf([[0, 0], [1, 1]]), right.cdf([[0, 0], [1, 1]]), rtol=1e-14)
    np.testing.assert_allclose(q.survival([1, 1]), right.sf([1, 1]), rtol=1e-14)
    joint = mg.Joint(a=mg.Gamma(2.0, 1.0), b=mg.Normal(0.0, 3.0))
    assert joint.entropy() == pytest.approx(st.gamma(2).entropy() + st.norm(0, 3).entropy(), rel=1e-12)
    assert Constant(0.0, np.e).entropy() == pytest.approx(4.0)
    assert mg.StudentT(3.0, 0.0, 1.0).entropy is None
    inside = mg.estimate(lambda z: mg.Normal(0.0, 1.0).cdf(z), mg.Normal(0.0, 1.0), 10_000, backend="numpy")
    assert abs(inside.value - 0.5) < 5 * inside.stderr
