"""Estimates over replicates of Sobol' points: right values and errors, methods, controls, refusals."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.noise.keys import Keys

DIMENSION = 8
LOC, SCALE = np.ones(DIMENSION), np.ones(DIMENSION)
LOCS = np.linspace(0.0, 2.0, 12).reshape(3, 4)  # of rows of a batch
LEVEL = 4.0  # of z-scores, which have Student's t with 15 degrees of freedom: 1e-3 by chance, each


def bump(z):
    return np.exp(-0.1 * np.sum(z * z))


def of_bump(loc, scale=1.0):
    """Return E exp(-0.1 |z|^2) and its gradient in loc, in closed form; the last axis is that of z."""
    wide = 1.0 + 0.2 * scale**2
    value = np.prod(np.exp(-0.1 * loc**2 / wide) / np.sqrt(wide) * np.ones_like(loc), axis=-1)
    return value, -0.2 * loc / wide * value[..., None]


def gaussian(backend="numpy", dtype="float32", **options):
    options = {"sampler": "sobol", "wrt": "loc", **options}
    return mg.Estimator(bump, mg.Normal(LOC, SCALE), backend=backend, dtype=dtype, **options)


def numbers(est):
    return [est.value, est.stderr, *tree.flatten(est.grad).values(), *tree.flatten(est.grad_stderr).values()]


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("scramble", ["matrix", "owen"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_right_and_errors_small(backend, dtype, scramble):
    est = gaussian(backend, dtype, scramble=scramble)(2**13, seed=5)
    plain = gaussian("cpu", dtype, sampler="philox")(2**13, seed=5)
    value, gradient = of_bump(LOC)
    assert abs(est.value - value) < LEVEL * est.stderr < LEVEL * plain.stderr / 4
    assert (np.abs(est.grad["loc"] - gradient) < LEVEL * est.grad_stderr["loc"]).all()
    assert est.grad_stderr["loc"].mean() < plain.grad_stderr["loc"].mean() / 4
    assert est.moments.count == 16


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scramble", ["matrix", "owen"])
def test_backends_read_the_same_points(dtype, scramble):
    ours, reference = (gaussian(backend, dtype, scramble=scramble)(2**12, seed=3) for backend in ("cpu", "numpy"))
    slack = {"float32": 2e-6, "float64": 1e-13}[dtype]
    for a, b in zip(ours.replicates.means, reference.replicates.means, strict=True):
        np.testing.assert_allclose(a, b, rtol=slack, atol=slack)


@pytest.mark.parametrize("generator", ["sobol", "sobol_owen"])
@pytest.mark.parametrize("coordinates", [1, 2])
def test_tables_that_kernels_read_by_address_are_in_c_order(generator, coordinates):
    rows = Keys(generator, coordinates, 64).of_rows(np.arange(16, dtype=np.uint64), 16)
    assert rows.first.flags.c_contiguous
    assert all(each.flags.c_contiguous for each in rows.first)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_the_same_bits_for_any_number_of_threads(backend):
    first, second = (gaussian(backend, threads=threads)(2**12, seed=1) for threads in (1, 3))
    for a, b in zip(numbers(first), numbers(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_intervals_cover_by_students_t():
    estimator = gaussian(wrt=())
    value, _ = of_bump(LOC)
    found = [estimator(16 * 32, seed=seed) for seed in range(150)]
    ends = [est.confidence_interval(0.95).value for est in found]
    covered = sum(low <= value <= high for low, high in ends)
    assert covered >= 134  # P(fewer of 150 | 0.95) is 1e-3
    z = np.array([(est.value - value) / est.stderr for est in found])
    assert abs(z.mean()) < 4 * np.sqrt(15 / 13 / len(z))  # the variance of t with 15 degrees of freedom is 15 / 13


@pytest.mark.parametrize(
    ("options", "call", "why"),
    [
        ({"sampler": "halton"}, {}, "sampler: given 'halton'; accepted: 'philox' or 'sobol'"),
        ({"replicates": 1}, {}, "replicates: given 1; accepted: at least 2"),
        ({"replicates": 0}, {}, "replicates: given 0; accepted: at least 2"),
        ({"replicates": 1 << 17}, {}, "replicates: given 131072; accepted: a whole number"),
        ({"scramble": "none"}, {}, "scramble: given 'none'; accepted: 'matrix' or 'owen'"),
        ({"sampler": "philox", "replicates": 8}, {}, "replicates: given 8 with sampler 'philox'"),
        ({"sampler": "philox", "scramble": "owen"}, {}, "scramble: given 'owen' with sampler 'philox'"),
        ({}, {"n": 1000}, "n: given 1,000; accepted: 512 or 1,024: 16 replicates"),
        ({}, {"n": 10}, "n: given 10; accepted: 16: 16 replicates"),
        ({"replicates": 10}, {"n": 1000}, "n: given 1,000; accepted: 640 or 1,280: 10 replicates"),
        ({}, {"n": 1024, "first": 512}, "first: given 512; accepted: a multiple of n = 1,024"),
        ({}, {"n": 1024, "first_replicate": -1}, "first_replicate: given -1"),
        ({"sampler": "philox"}, {"n": 1024, "first_replicate": 1}, "first_replicate: given 1 with sampler 'philox'"),
        ({}, {"n": 2**38}, "n: given 274,877,906,944; accepted: at most 68,719,476,736, or more replicates"),
    ],
)
def test_what_does_not_fit_is_refused(options, call, why):
    with pytest.raises(mg.ParameterError) as refused:
        gaussian(**options)(**{"n": 64, **call})
    assert why in str(refused.value)


def test_covariances_and_ratios_are_those_of_the_replicates():
    def weighed(z):
        return {"moment": np.exp(z[0]) * z[1] ** 2, "weight": np.exp(z[0])}

    estimator = mg.Estimator(weighed, mg.Normal(np.ones(2), np.ones(2)), covariance=True, wrt=(), sampler="sobol")
    found = [estimator(16 * 64, seed=seed) for seed in range(100)]
    est = found[0]
    np.testing.assert_allclose(est.covariance["moment"]["moment"], est.stderr["moment"] ** 2, rtol=1e-9)
    np.testing.assert_allclose(est.covariance["weight"]["weight"], est.stderr["weight"] ** 2, rtol=1e-9)
    mean = est.replicates.means[:, :2]
    assert est.covariance["moment"]["weight"] == pytest.approx(np.cov(mean.T)[0, 1] / 16, rel=1e-9)
    ratios = [mg.ratio(est["moment"], est["weight"]) for est in found]
    z = np.array([(ratio.value - 2.0) / ratio.stderr for ratio in ratios])
    assert abs(z.mean()) < 0.4
    assert 0.7 < z.std() < 1.5
    more = mg.Estimate.from_json(est.to_json()).merge(estimator(16 * 64, seed=0, first_replicate=16))
    np.testing.assert_allclose(more.covariance["weight"]["weight"], more.stderr["weight"] ** 2, rtol=1e-9)


def test_coordinates_count_on_over_all_sources():
    q = mg.Joint(a=mg.Normal(0.0, np.ones(2)), b=mg.Uniform(0.0, np.ones(3)), c=mg.Normal(0.0, 1.0))
    program = mg.Estimator(lambda z: z["a"].sum() * z["b"].sum() + z["c"], q, sampler="sobol").program
    assert [(var.size, var.attrs.coordinate) for var in program.noise()] == [(2, 0), (3, 2), (1, 5)]
    est = mg.estimate(lambda z: z["a"].sum() * z["b"].sum() + z["c"], q, n=2**12, sampler="sobol", backend="numpy")
    assert abs(est.value) < LEVEL * est.stderr < 0.02


PROBLEMS = {
    "score": (lambda z: z**2, mg.Normal(0.5, 1.0), {"method": "score"}, 1.25),
    "leave-one-out": (lambda z: z**2, mg.Normal(0.5, 1.0), {"method": "score", "baseline": "leave_one_out"}, 1.25),
    "measure_valued": (lambda z: z**2, mg.Normal(0.5, 1.0), {"method": "measure_valued"}, 1.25),
    "difference": (lambda z: np.where(z > 0.2, 1.0, 0.0), mg.Normal(0.0, 1.0), {"method": "difference"}, 0.42074),
    "discrete": (lambda z: z, mg.Poisson(3.0), {"method": "score"}, 3.0),
    "mixture": (lambda z: z, mg.MixtureSameFamily(mg.Normal([-1.0, 2.0], [1.0, 1.0]), probs=[0.3, 0.7]), {}, 1.1),
    "gamma": (lambda z: z, mg.Gamma(3.0, 2.0), {}, 1.5),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_methods_and_families_take_points(name):
    f, q, options, right = PROBLEMS[name]
    unit = 8 if "baseline" in options else 1
    est = mg.estimate(f, q, n=2**11 * unit, sampler="sobol", backend="numpy", **options)
    plain = mg.estimate(f, q, n=2**11 * unit, backend="numpy", **options)
    assert abs(est.value - right) < LEVEL * est.stderr < LEVEL * plain.stderr / 2
    for path, x in tree.flatten(est.grad).items():
        error = np.hypot(tree.flatten(est.grad_stderr)[path], tree.flatten(plain.grad_stderr)[path])
        assert (np.abs(x - tree.flatten(plain.grad)[path]) <= LEVEL * error).all()


def test_bounds_of_several_draws_take_points():
    x = np.array([0.3, -0.5])
    q = mg.Normal(np.zeros(2), np.ones(2))
    bound = mg.iwae(lambda z, x: -0.5 * np.sum(z**2) - 0.5 * np.sum((x - z) ** 2), q, k=4)
    est = mg.estimate(bound, n=2**12, data={"x": x}, sampler="sobol", backend="numpy")
    plain = mg.estimate(bound, n=2**12, data={"x": x}, backend="numpy")
    assert abs(est.value - plain.value) < LEVEL * np.hypot(est.stderr, plain.stderr)
    assert est.stderr < plain.stderr / 2


def test_draws_that_are_not_finite_are_counted_and_left_out():
    def root(z):
        return np.sqrt(z + 2.0)

    q = mg.Normal(0.0, 1.0)
    spoiled = mg.estimate(root, q, n=2**10, sampler="sobol", backend="numpy")
    assert np.isnan(spoiled.value)
    assert 10 <= spoiled.nonfinite <= 40  # 23.3 of 1,024 on average
    left = mg.estimate
    est = left(root, q, n=2**10, sampler="sobol", backend="numpy", nonfinite="omit")
    plain = left(root, q, n=2**16, backend="numpy", nonfinite="omit")
    assert est.nonfinite == spoiled.nonfinite
    assert abs(est.value - plain.value) < LEVEL * np.hypot(est.stderr, plain.stderr)
    assert int(est.replicates.counts.sum()) == 2**10 - est.nonfinite
    with pytest.raises(mg.NonFiniteError):
        left(root, q, n=2**10, sampler="sobol", backend="numpy", nonfinite="raise")


def test_backends_and_gradients_are_verified():
    found = mg.verify(bump, mg.Normal(LOC[:3], SCALE[:3]), n=5000, sampler="sobol", backends="cpu")
    assert found.ok
    assert found.n == 4096


def test_samplers_are_compared():
    options = {"methods": ["pathwise"], "samplers": ("philox", "sobol"), "wrt": "loc"}
    found = mg.compare(bump, mg.Normal(LOC, SCALE), n=5000, **options)
    rows = {row.method: row for row in found.rows}
    assert list(rows) == ["pathwise, philox", "pathwise, sobol"]
    assert rows["pathwise, sobol"].variance.sum() < rows["pathwise, philox"].variance.sum() / 10
    assert found.biased == {}
    for row in found.rows:
        assert [n for n, _ in row.errors] == [row.estimate.n >> k for k in range(5, -1, -1)]
        assert row.errors[-1][1] == pytest.approx(np.linalg.norm(row.estimate.grad_stderr["loc"]))
    assert abs(rows["pathwise, philox"].slope + 0.5) < 0.05
    assert rows["pathwise, sobol"].slope < -0.7
    header, *cells = [line.split()[-1] for line in str(found).splitlines()[2:5]]
    assert header == "error"
    assert cells == [f"{row.slope:.2f}" for row in found.rows]
    assert len(found.plot().axes) == 3
    assert [text.get_text() for text in found.plot().axes[2].get_legend().get_texts()] == [
        f"{name}: slope {row.slope:.2f}" for name, row in rows.items()
    ]


@pytest.mark.parametrize("name", ["samplers", "controls"])
def test_a_comparison_of_none_is_refused(name):
    with pytest.raises(mg.ParameterError, match=f"{name}: given none; accepted: at least one"):
        mg.compare(bump, mg.Normal(LOC, SCALE), n=1024, **{name: []})


def fitted_slope(f, q, sizes, **options):
    """Return the slope of log(error of the gradient) against log(n); errors are root mean squares over seeds."""
    estimator = mg.Estimator(f, q, dtype="float64", sampler="sobol", **options)
    found = [sum(np.sum(np.square(estimator(n, s).grad_stderr[options["wrt"]])) for s in range(4)) for n in sizes]
    return np.polyfit(np.log(sizes), 0.5 * np.log(found), 1)[0]


def test_errors_of_smooth_functions_fall_faster_than_the_root():
    """The fits of bench/convergence.py from 2^10 to 2^18 draws are -1.32 and -0.93 with errors of 0.04 and 0.01."""
    sizes, q = 2 ** np.arange(9, 15), mg.Uniform(np.zeros(4), np.ones(4))
    assert -1.6 < fitted_slope(lambda z: np.exp(np.sum(z)), q, sizes, wrt="high", backend="numpy") < -1.0
    assert -1.1 < fitted_slope(bump, mg.Normal(LOC, SCALE), sizes, wrt="loc", backend="numpy") < -0.75


def path(z):
    return 100 * np.exp(np.cumsum(0.03 / 8 + 0.2 / np.sqrt(8) * z))


def asian(z):
    return np.exp(-0.05) * np.maximum(np.mean(path(z)) - 100, 0)


def geometric(z):
    return np.exp(-0.05) * np.maximum(np.exp(np.mean(np.log(path(z)))) - 100, 0)


@pytest.mark.parametrize("coefficients", ["sample", "pilot"])
def test_control_variates_and_points_go_together(coefficients):
    mean = mg.estimate(geometric, mg.Normal(np.zeros(8), 1.0), n=2**16, sampler="sobol", wrt=(), backend="numpy").value
    options = {"sampler": "sobol", "wrt": (), "backend": "numpy"}
    control = {"control": mg.Control(geometric, mean=mean), "coefficients": coefficients}
    plain = mg.Estimator(asian, mg.Normal(np.zeros(8), 1.0), **options)(2**12)
    estimator = mg.Estimator(asian, mg.Normal(np.zeros(8), 1.0), **options, **control)
    est = estimator(2**12)
    assert est.stderr < plain.stderr / 4
    assert abs(est.value - plain.value) < LEVEL * plain.stderr
    assert "control variate geometric" in str(est)
    assert mg.Estimate.from_json(est.to_json()).stderr == est.stderr
    merged = est.merge(estimator(2**12, first=2**12))
    whole = estimator(2**13)
    assert merged.value == pytest.approx(whole.value, rel=1e-9)
    assert merged.stderr == pytest.approx(whole.stderr, rel=1e-6)


def test_a_wrong_mean_of_a_control_is_seen_over_replicates():
    control = mg.Control(geometric, mean=6.5)
    with pytest.warns(mg.ControlWarning, match="over 16 replicates"):
        mg.estimate(
            asian, mg.Normal(np.zeros(8), 1.0), n=2**12, sampler="sobol", wrt=(), backend="numpy", control=control
        )


def test_coordinates_beyond_those_of_points_are_said():
    q = mg.Normal(np.zeros(21_204), np.ones(21_204))
    est = mg.estimate(
        lambda z: z[0] ** 2 + z[-1] ** 2, q, n=2**6, sampler="sobol", replicates=4, wrt=(), backend="numpy"
    )
    assert "3 coordinates have no points" in str(est)
    assert mg.Estimate.from_json(est.to_json()).replicates.random == 3
    assert abs(est.value - 2) < LEVEL * est.stderr
