"""Batch axes of every family: rows sample, have densities and give gradients as each does alone."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import bijections, noise, tree
from mcgrad.distributions.constraints import positive, real
from mcgrad.noise.rows import first_of_row
from tests.families import FAMILIES, total

ROWS, N = 3, 20
ENDS = {"Uniform", "Triangular", "TruncatedNormal"}  # whose parameters limit one another
OTHERS = (mg.Joint, mg.MixtureSameFamily, mg.Reparameterized, mg.distributions.Transformed)
SIMPLE = sorted(name for name, family in FAMILIES.items() if not isinstance(family.q, OTHERS) and family.q.params)


def stacked(q):
    """Return parameters of three rows: those that may be are moved a little."""
    flat = {}
    for path, x in q.flat_params.items():
        steps = np.arange(ROWS).reshape(ROWS, *(1,) * x.ndim)
        stack = np.repeat(x[None].astype(np.float64), ROWS, axis=0)
        moves = type(q).__name__ not in ENDS
        stack *= 1 + 0.03 * steps * (moves and q._constraint(path) is positive)
        flat[path] = stack + 0.01 * steps * (moves and q._constraint(path) is real)
    return flat


def batched(q, flat):
    fixed = {"total_count": q.total_count} if isinstance(q, mg.Binomial) else {}
    return type(q)(**flat, **fixed, batch_ndim=1)


def row_of(q, row):
    """Return the distribution of one row of a batch."""
    return q.template.with_params(**tree.unflatten(q.batch.row(q.flat_params, row)))


@pytest.mark.parametrize("name", SIMPLE)
def test_rows_are_the_family_at_their_parameters(name):
    q = FAMILIES[name].q
    rows = batched(q, stacked(q))
    assert (rows.event_shape, rows.batch_shape) == (q.event_shape, (ROWS,))
    drawn = rows.sample(2, seed=3)
    for row in range(ROWS):
        single = row_of(rows, row)
        alone = single.sample(2, seed=3, first=first_of_row(row, "float64"))
        np.testing.assert_allclose(drawn[:, row], alone, rtol=1e-12)
        np.testing.assert_allclose(rows.log_prob(drawn)[1, row], single.log_prob(drawn[1, row]), rtol=1e-9, atol=1e-12)
        if q.entropy is not None:
            np.testing.assert_allclose(rows.entropy()[row], single.entropy(), rtol=1e-10)


def check_gradients(f, q, **options):
    est = mg.estimate(f, q, N, backend="numpy", **options)
    for row in (0, q.batch.size - 1):
        single = mg.Estimator(f, row_of(q, row), backend="numpy", **options)(N, first=first_of_row(row, "float64"))
        np.testing.assert_allclose(est.value[row], single.value, rtol=1e-9)
        mine, errors = tree.flatten(est.grad), tree.flatten(est.grad_stderr)
        for path, grad in tree.flatten(single.grad).items():
            if path in q.batch.by_row:
                np.testing.assert_allclose(mine[path][row], grad, rtol=1e-8, atol=1e-12)
                error = tree.flatten(single.grad_stderr)[path]
                np.testing.assert_allclose(errors[path][row], error, rtol=1e-6, atol=1e-12)
            else:
                assert np.shape(mine[path]) == np.shape(grad)
    return est


@pytest.mark.parametrize("name", sorted(name for name in SIMPLE if FAMILIES[name].pathwise))
def test_gradients_by_row(name):
    check_gradients(FAMILIES[name].f, batched(FAMILIES[name].q, stacked(FAMILIES[name].q)))


RNG = np.random.default_rng(5)
LOC = RNG.normal(size=(ROWS, 2))
TRIL = np.array([[[1.0, 0.0], [0.1 * row, 0.5]] for row in range(ROWS)])
COMPOSED = {
    "Joint": mg.Joint(a=mg.Normal(LOC, 1.0, batch_ndim=1), b=mg.Gamma([2.0, 3.0], 1.0), c=mg.Joint(d=mg.Exponential())),
    "bijection": mg.Normal(LOC, 0.5, batch_ndim=1).transformed(bijections.Softplus()),
    "map": mg.Normal(LOC, 0.5, batch_ndim=1).transformed(
        lambda x, *, a: np.sinh(a * x), params={"a": np.array([0.5, 0.6, 0.7])}
    ),
    "mixture": mg.MixtureSameFamily(mg.Normal(LOC, 1.0, batch_ndim=1), probs=np.full((ROWS, 2), 0.5)),
    "shared weights": mg.MixtureSameFamily(mg.Normal(LOC, 1.0, batch_ndim=1), logits=[0.1, 0.2]),
    "mixture of a sequence": mg.MixtureSameFamily(
        [mg.Normal(LOC, 1.0, batch_ndim=1), mg.Normal(LOC + 1, 2.0, batch_ndim=1)], probs=np.full((ROWS, 2), 0.5)
    ),
    "components of numbers that share one": mg.MixtureSameFamily(
        [mg.Normal(LOC[:, 0], 1.0, batch_ndim=1), mg.Normal(LOC[:, 1], 2.0, batch_ndim=1)], probs=[0.3, 0.7]
    ),
    "correlated components": mg.MixtureSameFamily(
        [mg.MultivariateNormal(LOC, TRIL, batch_ndim=1), mg.MultivariateNormal(LOC + 1, TRIL, batch_ndim=1)],
        probs=np.full((ROWS, 2), 0.5),
    ),
    "Reparameterized": mg.Reparameterized(
        lambda eps, *, a, b: np.sinh(a["x"] + b * eps),
        params={"a": {"x": LOC}, "b": 0.5},
        noise=noise.normal((2,)),
        batch_ndim=1,
    ),
    "Implicit": mg.Implicit(
        cdf=lambda z, *, rate: -np.expm1(-rate * z),
        sampler=lambda u, *, rate: -np.log(u) / rate,
        params={"rate": np.array([1.0, 2.0, 3.0])},
        noise=noise.uniform(),
        batch_ndim=1,
    ),
}


def anything(z):
    return sum(total(np.sin(leaf)) for leaf in tree.flatten(z).values())


@pytest.mark.parametrize("name", COMPOSED)
def test_distributions_made_of_others(name):
    q = COMPOSED[name]
    assert q.batch_shape == (ROWS,)
    check_gradients(anything, q)
    drawn, alone = q.sample(2), row_of(q, 2).sample(2, first=first_of_row(2, "float64"))
    for path, x in tree.flatten(drawn).items():
        np.testing.assert_allclose(x[:, 2], tree.flatten(alone)[path], rtol=1e-12)
    moved = q.with_params(**tree.map(lambda x: 1.01 * x, q.params))
    check_gradients(anything, moved)


@pytest.mark.parametrize("name", SIMPLE)
def test_no_rows_of_any_family(name):
    q = FAMILIES[name].q
    if isinstance(q, mg.Binomial):
        pytest.skip("its constructor takes a number besides")
    empty = type(q)(**{path: np.empty((0, *x.shape)) for path, x in q.flat_params.items()}, batch_ndim=1)
    assert empty.event_shape == q.event_shape
    assert empty.sample(3).shape == (3, 0, *q.event_shape)
    assert repr(empty).startswith(f"{type(q).__name__}(")


def test_a_part_without_batch_axes_is_shared():
    q = COMPOSED["Joint"]
    est = mg.estimate(anything, q, N, backend="numpy", reduce="mean")
    assert est.grad["a"]["loc"].shape == (ROWS, 2)
    assert est.grad["b"]["concentration"].shape == (2,)
    assert isinstance(est.grad["c"]["d"]["rate"], float)
    with pytest.raises(
        mg.ParameterError, match=r"^b: given a distribution with batch_ndim=2; .*batch_ndim=1, as a has"
    ):
        mg.Joint(a=mg.Normal(LOC, 1.0, batch_ndim=1), b=mg.Normal(LOC, 1.0, batch_ndim=2))
    with pytest.raises(mg.ParameterError, match=r"^b\.loc: given shape \(2, 2\), whose batch shape is \(2,\)"):
        mg.Joint(a=mg.Normal(LOC, 1.0, batch_ndim=1), b=mg.Normal(LOC[:2], 1.0, batch_ndim=1))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: mg.MultivariateNormal(LOC, -TRIL, batch_ndim=1), r"scale_tril: given -1.0 at \[0, 0\].* in row 0"),
        (
            lambda: mg.MultivariateNormal(
                LOC, covariance_matrix=TRIL - np.eye(2)[::-1] * [[[0.0]], [[1.0]], [[9.0]]], batch_ndim=1
            ),
            "covariance_matrix: given shape .* in row 1",
        ),
        (lambda: mg.VonMisesFisher(np.eye(3) * [1, 1, 0], 1.0, batch_ndim=1), "mean_direction: given zeros in row 2"),
        (
            lambda: mg.TruncatedNormal(LOC, 1.0, low=np.zeros(ROWS), high=[1.0, 1.0, -1.0], batch_ndim=1),
            "low, high: given low = 0.0 and high = -1.0 in row 2",
        ),
        (lambda: mg.Normal(LOC.reshape(1, ROWS, 2), -1.0, batch_ndim=2), "scale: given -1.0; accepted"),
        (lambda: mg.Normal(LOC, 1.0, batch_ndim=-1), "batch_ndim: given -1"),
        (lambda: mg.Gamma(LOC[:, :0], 1.0, batch_ndim=1), r"concentration: given shape \(3, 0\); .* in each row"),
        (lambda: mg.Normal(LOC, np.zeros(0), batch_ndim=1), r"scale: given shape \(0,\)"),
        (lambda: mg.Normal(LOC, 1.0, batch_ndim=1).log_prob(np.zeros((2, 2))), r"z: given leading axes \(2,\)"),
        (
            lambda: mg.estimate(lambda z: mg.Normal(LOC, 1.0, batch_ndim=1).log_prob(z), mg.Normal([0.0, 1.0]), 9),
            "log_prob: given a distribution with batch axes inside an integrand",
        ),
    ],
)
def test_refusals_name_the_row(act, message):
    with pytest.raises(mg.ParameterError, match=message):
        act()


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        (mg.Normal, {"loc": np.zeros(4), "scale": [1.0, 1.0, 1.0, 0.0]}, r"^scale: given 0\.0 in row 3;"),
        (mg.Uniform, {"low": np.zeros(4), "high": [1.0, 1.0, 1.0, -1.0]}, r"^low, high: given .* in row 3;"),
    ],
)
def test_refusals_name_rows_that_came_later(family, change, message):
    run = mg.Estimator(lambda z: z, family(np.zeros(2), np.ones(2), batch_ndim=1), backend="numpy")
    with pytest.raises(mg.ParameterError, match=message):
        run(2, **change)


def test_no_rows_of_whole_numbers():
    q, x = mg.Normal(np.zeros(0), batch_ndim=1), np.zeros((0, 2), np.uint8)
    est = mg.estimate(lambda z, x: np.sum(z * x), q, 2, data={"x": x}, batched_data="x", backend="numpy")
    assert est.value.shape == (0,)


def test_rows_that_come_after_none_are_within_the_table_of_a_poisson():
    run = mg.Estimator(lambda z: z, mg.Poisson(np.zeros(0), batch_ndim=1), method="score", backend="numpy")
    assert run(2).value.shape == (0,)
    assert np.all(run(2000, rate=np.array([3.0, 9.0])).value > [2.5, 8.0])
    with pytest.raises(mg.ParameterError, match=r"^rate: given rate = 100\.0 in row 1; .* max_rate = 16"):
        run(2, rate=np.array([3.0, 100.0]))
