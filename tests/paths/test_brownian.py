"""Brownian paths: linear maps of the noise with the covariance min(s, t), whose coordinates come in order of weight."""

import math

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.paths import bridge as bridges, principal
from mcgrad.paths.constructions import CONSTRUCTIONS

EQUAL = np.arange(1, 9) / 8
UNEQUAL = np.array([0.1, 0.15, 0.7, 1.3, 1.31, 2.0, 5.0])
COVARIANCE = np.array([[1.0, 0.5, -0.2], [0.5, 2.0, 0.3], [-0.2, 0.3, 0.5]])


def map_of(times, assets=None, **options):
    """The matrix of the linear map from all coordinates to the path, in C order of both."""
    shape = (len(times),) if assets is None else (len(times), assets)
    size = math.prod(shape)
    columns = [mg.paths.brownian(row.reshape(shape), times, **options).ravel() for row in np.eye(size)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize("times", [EQUAL, UNEQUAL, np.array([2.0]), np.arange(1.0, 62.0) / 61])
def test_the_covariance_is_the_earlier_time(construction, times):
    m = map_of(times, construction=construction)
    np.testing.assert_allclose(m @ m.T, np.minimum.outer(times, times), atol=1e-12 * times[-1])


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize("given", ["none", "covariance", "scale_tril"])
def test_the_covariance_of_several_assets_is_the_product(construction, given):
    options = {
        "none": {},
        "covariance": {"covariance": COVARIANCE},
        "scale_tril": {"scale_tril": np.linalg.cholesky(COVARIANCE) @ np.linalg.qr(np.eye(3)[::-1])[0]},
    }[given]
    m = map_of(UNEQUAL, 3, construction=construction, **options)
    of_assets = np.eye(3) if given == "none" else COVARIANCE
    np.testing.assert_allclose(m @ m.T, np.kron(np.minimum.outer(UNEQUAL, UNEQUAL), of_assets), atol=1e-11)


def test_sequential_paths_add_up_increments():
    eps = np.random.default_rng(0).standard_normal(7)
    steps = np.diff(UNEQUAL, prepend=0.0)
    np.testing.assert_allclose(mg.paths.brownian(eps, UNEQUAL, "sequential"), np.cumsum(np.sqrt(steps) * eps))


@pytest.mark.parametrize("scale", [1.0, 0.7, 1e-3])
def test_the_bridge_over_equal_steps_is_the_standard_one(scale):
    points = bridges.order(scale * np.arange(1, 17) / 16)
    assert [point.place for point in points] == [16, 8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15]
    eps = np.random.default_rng(1).standard_normal(4)
    end = eps[0]
    half = 0.5 * end + 0.5 * eps[1]  # Glasserman 2003, equation 3.8 and figure 3.2
    first, third = 0.5 * half + math.sqrt(1 / 8) * eps[2], 0.5 * (half + end) + math.sqrt(1 / 8) * eps[3]
    np.testing.assert_allclose(mg.paths.brownian(eps, [0.25, 0.5, 0.75, 1.0]), [first, half, third, end], rtol=1e-14)


@pytest.mark.parametrize(
    "times", [EQUAL, UNEQUAL, np.arange(1, 13) / 12, np.sort(np.random.default_rng(3).uniform(size=40))]
)
def test_each_coordinate_of_a_bridge_is_the_time_of_the_largest_variance_left(times):
    covariance = np.minimum.outer(times, times)
    for point in bridges.order(times):
        variances = np.diag(covariance)
        i = point.place - 1
        assert variances[i] >= variances.max() * (1 - 1e-9)
        covariance = covariance - np.outer(covariance[:, i], covariance[i]) / covariance[i, i]
    assert np.abs(covariance).max() < 1e-12 * times[-1]
    parts = np.square(map_of(times)).sum(axis=0)
    assert parts[0] == pytest.approx(np.square(times).sum() / times[-1])  # of the variance of the path, by its end


def test_a_bridge_of_too_many_levels_is_a_matrix_with_the_same_path():
    times = 2.0 ** np.arange(60.0)
    assert bridges.bridge(tuple(times.tolist())) is None
    m = map_of(times)
    np.testing.assert_allclose(m @ m.T, np.minimum.outer(times, times), rtol=1e-9)
    key = tuple(UNEQUAL.tolist())
    np.testing.assert_allclose(map_of(UNEQUAL), bridges.matrix(key), atol=1e-14)


def test_principal_components_come_in_order_and_have_one_form():
    n = 30
    m = map_of(np.arange(1, n + 1) / n, construction="pca")
    k = np.arange(1, n + 1)
    sizes = 1 / (4 * n * np.sin((2 * k - 1) * np.pi / (2 * (2 * n + 1))) ** 2)  # Akesson and Lehoczky 1998
    np.testing.assert_allclose(np.square(m).sum(axis=0), sizes, rtol=1e-10)
    largest = m[np.abs(m).argmax(axis=0), k - 1]
    assert (largest > 0).mean() > 0.5
    assert (m[:, 0] > 0).all()
    both = map_of(UNEQUAL, 3, construction="pca", covariance=COVARIANCE)
    parts = np.square(both).sum(axis=0)
    assert (np.diff(parts) <= 1e-12).all()
    np.testing.assert_allclose(
        parts, np.sort(np.linalg.eigvalsh(np.kron(np.minimum.outer(UNEQUAL, UNEQUAL), COVARIANCE)))[::-1], atol=1e-11
    )


def test_equal_eigenvalues_have_vectors_that_do_not_depend_on_the_basis():
    equicorrelated = 0.7 * np.eye(4) + 0.3
    _, vectors = principal.eigenvectors(equicorrelated)
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))[0]
    np.testing.assert_allclose(principal._one_form(vectors[:, 1:] @ turn), vectors[:, 1:], atol=1e-14)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-14)
    singular = np.ones((2, 2))
    w = mg.paths.brownian(np.random.default_rng(0).standard_normal((8, 2)), EQUAL, "pca", covariance=singular)
    np.testing.assert_allclose(w[:, 0], w[:, 1], atol=1e-12)


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
def test_paths_have_the_dtype_of_the_noise(construction):
    eps = np.random.default_rng(0).standard_normal((8, 3))
    wide = mg.paths.brownian(eps, EQUAL, construction, covariance=COVARIANCE)
    narrow = mg.paths.brownian(eps.astype(np.float32), EQUAL, construction, covariance=COVARIANCE)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-5)


STEPS, YEARS = 13, 1.0
TIMES = YEARS * np.arange(1, STEPS + 1) / STEPS


def geometric_asian(construction):
    def f(z, *, spot, vol, rate):
        path = np.log(spot) + (rate - 0.5 * vol**2) * TIMES + vol * mg.paths.brownian(z, TIMES, construction)
        return np.exp(-rate * YEARS) * np.maximum(np.exp(np.mean(path)) - 100.0, 0.0)

    return f


def formula(spot, vol, rate):
    """Price and vega; the log average is normal (Kemna and Vorst 1990)."""
    a, b = TIMES.mean(), np.minimum.outer(TIMES, TIMES).mean()
    sd = vol * math.sqrt(b)
    forward = spot * math.exp((rate - 0.5 * vol**2) * a + 0.5 * vol**2 * b)
    d1 = math.log(forward / 100.0) / sd + 0.5 * sd
    cdf, pdf, discount = (lambda x: 0.5 * math.erfc(-x / math.sqrt(2))), math.exp(-(d1**2) / 2), math.exp(-rate * YEARS)
    vega = discount * forward * (cdf(d1) * vol * (b - a) + pdf / math.sqrt(2 * math.pi) * math.sqrt(b))
    return discount * (forward * cdf(d1) - 100.0 * cdf(d1 - sd)), vega


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
def test_an_asian_option_has_its_price_and_vega(construction):
    market = {"spot": 100.0, "vol": 0.2, "rate": 0.05}
    q = mg.Normal(np.zeros(STEPS), np.ones(STEPS))
    options = {"params": market, "wrt": ["vol"], "antithetic": True, "backend": "numpy", "seed": 2}
    est = mg.estimate(geometric_asian(construction), q, 40_000, **options)
    price, vega = formula(**market)
    assert abs(est.value - price) < 4.5 * est.stderr
    assert abs(est.grad["vol"] - vega) < 4.5 * est.grad_stderr["vol"]
    short = mg.estimate(geometric_asian(construction), q, 500, **options)
    eps = np.random.default_rng(0).standard_normal(STEPS)
    assert np.isfinite(geometric_asian(construction)(eps, **market))
    assert short.grad["vol"] != 0


def test_compiled_paths_are_those_of_the_reference_with_gradients_through_the_noise_and_the_factor():
    def f(z, *, L):
        w = mg.paths.brownian(z, UNEQUAL[:4], scale_tril=L)
        return np.sum(np.sin(w) ** 2)

    q = mg.Normal(np.zeros((4, 2)), np.ones((4, 2)))
    found = mg.verify(f, q, 4000, params={"L": np.linalg.cholesky(COVARIANCE[:2, :2])}, backends="cpu", components=8)
    assert found.ok, str(found)


@pytest.mark.parametrize(
    ("name", "shape", "times", "options"),
    [
        ("times", (3,), [0.0, 1.0, 2.0], {}),
        ("times", (3,), [1.0, 1.0, 2.0], {}),
        ("times", (3,), [1.0, 3.0, 2.0], {}),
        ("times", (2,), [1.0, np.nan], {}),
        ("times", (2,), [1.0, np.inf], {}),
        ("times", (2,), [[1.0, 2.0]], {}),
        ("times", (2,), ["a", "b"], {}),
        ("times", (2,), [], {}),
        ("eps", (3,), [1.0, 2.0], {}),
        ("eps", (2, 2, 2), [1.0, 2.0], {}),
        ("eps", (), [1.0], {}),
        ("construction", (2,), [1.0, 2.0], {"construction": "haar"}),
        ("covariance", (2,), [1.0, 2.0], {"covariance": [[1.0]]}),
        ("covariance", (2, 2), [1.0, 2.0], {"covariance": np.eye(3)}),
        ("covariance", (2, 2), [1.0, 2.0], {"covariance": [[1.0, 0.5], [0.4, 1.0]]}),
        ("covariance", (2, 2), [1.0, 2.0], {"covariance": [[1.0, 2.0], [2.0, 1.0]]}),
        ("covariance", (2, 2), [1.0, 2.0], {"covariance": np.ones((2, 2))}),
        ("covariance", (2, 2), [1.0, 2.0], {"covariance": np.full((2, 2), np.nan)}),
        ("scale_tril", (2, 2), [1.0, 2.0], {"covariance": np.eye(2), "scale_tril": np.eye(2)}),
        ("scale_tril", (2, 2), [1.0, 2.0], {"scale_tril": np.eye(3)}),
        ("scale_tril", (2, 2), [1.0, 2.0], {"scale_tril": np.eye(3), "construction": "pca"}),
    ],
)
def test_what_makes_no_path_is_refused_by_name(name, shape, times, options):
    with pytest.raises(mg.ParameterError, match=f"^{name}: given "):
        mg.paths.brownian(np.zeros(shape), times, **options)


def test_times_that_are_data_are_refused_where_f_is_traced():
    q = mg.Normal(np.zeros(2), np.ones(2))
    with pytest.raises(mg.TraceError, match=r"times: given a traced value.* known when f is traced"):
        mg.estimate(lambda z, *, t: np.sum(mg.paths.brownian(z, t)), q, 100, data={"t": np.array([1.0, 2.0])})
    with pytest.raises(mg.TraceError, match="scale_tril: given a traced value"):
        mg.estimate(
            lambda z, *, L: np.sum(mg.paths.brownian(z, [1.0, 2.0], "pca", scale_tril=L)),
            mg.Normal(np.zeros((2, 2)), np.ones((2, 2))),
            100,
            params={"L": np.eye(2)},
        )


def test_point_sets_gain_by_what_the_first_coordinates_decide():
    def errors(construction, sampler="sobol"):
        def f(z, *, vol):
            w = mg.paths.brownian(z, times, construction)
            return np.maximum(np.mean(np.exp(-0.5 * vol**2 * times + vol * w)) - 1.0, 0.0)

        q, options = mg.Normal(np.zeros(16), np.ones(16)), {"params": {"vol": 0.3}, "wrt": ["vol"], "seed": 1}
        est = mg.estimate(f, q, 2**15, sampler=sampler, backend="numpy", **options)
        return np.array([est.stderr, est.grad_stderr["vol"]])

    times = np.arange(1, 17) / 16
    independent, increments, halves, components = (
        errors("bridge", "philox"), *(errors(each) for each in ("sequential", "bridge", "pca"))
    )  # fmt: skip
    assert (halves < 0.6 * increments).all()
    assert (components < 0.6 * halves).all()
    assert (components < 0.1 * independent).all()
