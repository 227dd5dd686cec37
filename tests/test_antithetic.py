"""Antithetic pairs: one draw of the moments is a draw and its mirror image, by a rewrite of the Program alone."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

import mcgrad as mg
from mcgrad import tree
from mcgrad.cli import main
from mcgrad.engine.per_draw import PerDraw
from mcgrad.gradients.antithetic import mirrored_uniform, of_pairs
from mcgrad.gradients.plan import plan
from mcgrad.gradients.problem import Problem
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.ir.rewrite import rewrite_program
from mcgrad.noise.laws import UNIFORM
from tests.closed_forms import CLOSED_FORMS
from tests.families import FAMILIES
from tests.random_integrands import DATA, PARAMS, Q as RANDOM, expressions, integrand

Q = mg.Normal([0.3, -0.2], [1.2, 0.7])
MOST_Z = 5.0  # each of some 150 z-scores: a false alarm in 10,000 runs, were the seeds not fixed


def wave(z):
    return np.sum(np.sin(z) * np.exp(-(z**2) / 10))


def estimator(f=wave, q=Q, **options):
    return mg.Estimator(f, q, **{"antithetic": True, "backend": "numpy"} | options)


def test_the_mirror_image_of_a_uniform_is_exact_and_inside_the_interval():
    u = build.noise(0, "uniform", ())
    k = np.arange(1 << 24, dtype=np.uint32)
    every = np.concatenate([k[:1000], k[1000:-1000:61], k[-1000:]]) << np.uint32(8)
    ends = np.array([0, 1, 2, (1 << 53) - 1, (1 << 53) - 2], np.uint64) << np.uint64(11)
    for dtype, words, step in (
        ("float32", [every, every], 2.0**-24),
        (
            "float64",
            [(ends & np.uint64(0xFFFFFFFF)).astype(np.uint32), (ends >> np.uint64(32)).astype(np.uint32)],
            2.0**-53,
        ),
    ):
        drawn = next(iter(getattr(UNIFORM, dtype)(*words, *words)))
        (found,) = interpret([mirrored_uniform(u, dtype)], {u: drawn}, dtype)
        assert found.dtype == dtype
        assert (found.min(), found.max()) == (step, 1 - step)
        first = drawn < step
        assert (drawn[first], found[first]) == (step / 2, 1 - step)
        np.testing.assert_array_equal(drawn[~first].astype(np.float64) + found[~first], 1.0)


def test_the_mirror_image_of_a_cell_is_the_cell_at_the_other_end():
    dice = mg.Reparameterized(lambda u: np.floor(u * 6.0), params={}, noise=mg.noise.uniform())
    made = estimator(lambda z: np.stack([z, np.where(z == 0.0, 1.0, 0.0)]), dice, dtype="float32")
    first, zero = PerDraw(made.program)({}, 1, 3000)
    assert np.ptp(first) == 0
    assert first[0] == 2.5
    assert abs(zero.mean() - 1 / 6) < 4 * zero.std() / math.sqrt(3000)
    endless = mg.Reparameterized(lambda u: np.exp(-np.floor(u * np.inf)), params={}, noise=mg.noise.uniform())
    assert np.all(PerDraw(estimator(lambda z: z, endless).program)({}, 1, 100)[0] == 0.0)
    coarse, fine = (build.noise(i, "uniform", ()) for i in range(2))
    cell = build.apply("floor", build.apply("multiply", coarse, 2.0**24))
    low = build.apply("less", build.apply("add", cell, fine), 0.25)
    program = of_pairs(Program((Output("p", build.apply("float", low)),), "float32"))
    (var,) = [out.var for out in program.outputs]
    k = np.array([0, 1, 1 << 23, (1 << 24) - 1, (1 << 24) - 1], np.float32) * np.float32(2.0**-24)
    k[0] = 2.0**-25
    (found,) = interpret([var], {coarse: k, fine: np.array([0.2, 0.2, 0.2, 0.9, 0.7], np.float32)}, "float32")
    assert found.tolist() == [
        1.0,
        0.0,
        0.0,
        1.0,
        0.0,
    ]  # of probability 2**-26, in the first cell and mirrored in the last


def check_pairs(plain, pairs, values):
    """Each draw of `pairs` is the mean of one of `plain` and of the same with other leaves."""
    leaves = [var for var in toposort(plain.roots()) if var.op == "noise"]
    images = {var: image(var) for var in leaves}
    mirrored = rewrite_program(plain, build.rebuild, images)
    with np.errstate(all="ignore"):
        one, other, found = (PerDraw(each)(values, 7, 50) for each in (plain, mirrored, pairs))
        size = np.where(np.isfinite(one), np.abs(one), 0.0).max(axis=1, keepdims=True)
        known = np.isfinite(one + other)
        assert np.all(~known | (np.abs(found - (one + other) / 2) <= 1e-10 * (size + 1e-3 * size.max() + 1e-3)))


def image(var):
    return build.apply("negative", var) if var.attrs.law == "normal" else mirrored_uniform(var, "float64")


@pytest.mark.parametrize("form", CLOSED_FORMS, ids=lambda form: form.name)
def test_a_pair_is_the_mean_of_a_draw_and_its_mirror_image(form):
    options = {"params": form.params, "data": form.data, "dtype": "float64"}
    plain, pairs = (estimator(form.f, form.q, antithetic=each, **options) for each in (False, True))
    check_pairs(plain.program, pairs.program, plain.inputs.values({}))
    assert pairs.group == 2


@settings(derandomize=True, max_examples=30)
@given(expressions())
def test_so_it_is_of_random_integrands(text):
    problem = Problem(integrand(text), RANDOM, {name: np.asarray(x) for name, x in PARAMS.items()}, DATA)
    one = plan("pathwise", None, 2, problem.own, PARAMS)
    both = [each.program(problem, [*problem.params], "float64") for each in (one, replace(one, antithetic=True))]
    check_pairs(*both, problem.values)


@pytest.mark.parametrize("name", FAMILIES)
def test_pairs_of_every_family_have_its_mean(name):
    family = FAMILIES[name]
    est = mg.estimate(family.f, family.q, 6000, wrt=(), dtype="float32", backend="numpy", antithetic=True, seed=3)
    assert abs(est.value - family.moment(**family.q.params)) < MOST_Z * est.stderr + 1e-6 * abs(est.value)


@pytest.mark.parametrize(
    ("options", "group"),
    [
        ({"method": "score"}, 2),
        ({"method": "score", "baseline": "optimal"}, 2),
        ({"method": "score", "baseline": "leave_one_out", "k": 4}, 8),
        ({"method": "measure_valued"}, 2),
        ({"method": "difference"}, 2),
        ({"method": {"loc": "pathwise", "scale": "score+mean"}}, 2),
    ],
    ids=str,
)
def test_every_method_is_unbiased_in_pairs(options, group):
    loc, scale = Q.params["loc"], Q.params["scale"]
    est = estimator(lambda z: np.sum(np.exp(0.5 * z)), **options)(16_000)
    right = np.exp(0.5 * loc + scale**2 / 8)
    assert (est.group, est.antithetic) == (group, True)
    for name, exact in (("loc", 0.5 * right), ("scale", scale / 4 * right)):
        assert np.abs((est.grad[name] - exact) / est.grad_stderr[name]).max() < MOST_Z


def test_bounds_and_objectives_are_mirrored_as_a_whole():
    y = np.array([0.8, 1.9, 1.1])

    def log_joint(z, *, y):
        return -0.5 * z**2 - 0.5 * np.sum((y - z) ** 2)

    for objective, method, group in (
        (mg.iwae(log_joint, mg.Normal(0.5, 0.7), 5), "dreg", 10),
        (mg.iwae(log_joint, mg.Normal(0.5, 0.7), 5), "pathwise", 10),
        (mg.elbo(log_joint, mg.Normal(0.5, 0.7)), "stl", 2),
    ):
        plain, pairs = (
            mg.estimate(
                objective, n=40_000, method=method, data={"y": y}, backend="numpy", antithetic=each, seed=int(each)
            )
            for each in (False, True)
        )
        assert pairs.group == group
        for a, b in ((plain.value, pairs.value), *((plain.grad[x], pairs.grad[x]) for x in ("loc", "scale"))):
            assert a == pytest.approx(b, abs=0.05)
        assert abs(plain.value - pairs.value) < MOST_Z * math.hypot(plain.stderr, pairs.stderr)


def test_what_is_linear_in_normal_noise_has_no_variance_and_takes_no_draw():
    w = np.array([2.0, -0.5])
    made = estimator(lambda z, *, w: np.sum(w * z), data={"w": w})
    est = made(100)
    assert made.program.body() == []
    assert est.value == pytest.approx(float(w @ Q.params["loc"]), rel=1e-15)
    np.testing.assert_array_equal(est.grad["loc"], w)
    np.testing.assert_array_equal(est.grad["scale"], [0.0, 0.0])
    assert est.stderr == 0
    u = estimator(lambda z: 3.0 * z, mg.Uniform(-1.0, 2.0), dtype="float32")(10_000)
    assert abs(u.value - 1.5) < 3e-7
    assert u.stderr < 1e-8


def test_what_is_even_is_computed_once():
    centred = mg.Reparameterized(lambda eps, *, s: s * eps, params={"s": 1.5}, noise=mg.noise.normal())
    plain, pairs = (estimator(lambda z: np.cosh(z) + z * np.sin(z), centred, antithetic=each) for each in (False, True))
    assert pairs.program.work() == plain.program.work()
    with pytest.raises(mg.MergeError, match="kinds of pairs: antithetic and none"):
        pairs(100).merge(plain(100, first=100))
    assert pairs.fingerprint != plain.fingerprint


def test_products_with_the_noise_and_with_data_are_made_once_for_both():
    x = np.random.default_rng(0).standard_normal((20, 3))
    q = mg.MultivariateNormal(np.array([0.1, 0.2, 0.3]), np.eye(3))
    made = estimator(lambda z, *, x: np.sum(np.logaddexp(0.0, x @ z)), q, data={"x": x}).program
    (tril,) = [out.var for out in made.outputs if out.path == "scale_tril"]
    assert tril.op == "einsum"  # an outer product with the noise, which backends average from its factors
    assert sum(var.op == "einsum" and var.by_draw for var in made.equations()) == 6  # L eps; X z, X z'; 2 X^T r; outer


def test_variances_are_those_of_closed_forms():
    a, n = 0.8, 200_000
    f = estimator(lambda z, *, a: np.exp(a * z), mg.Normal(0.0, 1.0), params={"a": a}, wrt=(), dtype="float64")
    plain = (math.exp(2 * a**2) - math.exp(a**2)) / n
    pairs = ((1 + math.exp(2 * a**2)) / 2 - math.exp(a**2)) / (n / 2)  # of cosh(a z)
    assert f(n).stderr ** 2 == pytest.approx(pairs, rel=0.03)
    assert pairs < 0.6 * plain
    u = estimator(lambda z: np.exp(z), mg.Uniform(0.0, 1.0), wrt=(), dtype="float64")(n)
    e = math.e  # Glasserman 2003, section 4.2: Cov(exp(U), exp(1 - U)) = 3 e - e**2 - 1
    assert u.stderr**2 == pytest.approx(((e - 1) * (3 - e) / 2 + 3 * e - e**2 - 1) / 2 / (n / 2), rel=0.03)
    degrees = f(8)
    assert degrees.confidence_interval().value[1] - degrees.value == pytest.approx(3.182446 * degrees.stderr, rel=1e-6)


def test_the_covariance_is_that_of_the_means_of_pairs():
    def f(z):
        return {"a": np.exp(z[0]), "b": z[0] * z[1]}

    est = mg.estimate(f, Q, 20_000, covariance=True, backend="numpy", antithetic=True)
    for name in "ab":
        assert est.covariance[name][name] == pytest.approx(est.stderr[name] ** 2, rel=1e-9)
    plain = mg.estimate(f, Q, 20_000, covariance=True, backend="numpy")
    assert est.covariance["a"]["a"] < 0.95 * plain.covariance["a"]["a"]


def test_ranges_merge_to_the_bits_of_one_run_on_any_number_of_threads():
    made = estimator(backend="cpu", dtype="float32")
    n = 4 * made._kernel.block * 2
    whole = made(n, seed=4)
    assert made(n, seed=4).to_dict()["moments"] == replace_threads(made, 3)(n, seed=4).to_dict()["moments"]
    parts = made(n // 2, seed=4).merge(made(n // 2, seed=4, first=n // 2))
    assert parts.value == pytest.approx(whole.value, rel=1e-6)
    assert (parts.n, parts.ranges) == (n, whole.ranges)
    reference = estimator(dtype="float32")(n, seed=4)
    assert reference.value == pytest.approx(whole.value, rel=1e-5)


def replace_threads(made, threads):
    return mg.Estimator.of_derivation(made.derived, replace(made._options, backend="cpu", threads=threads))


def test_rows_are_estimates_by_themselves():
    loc = np.array([[0.3, -0.2], [1.0, 0.4], [0.0, 2.0]])
    q = mg.Normal(loc, np.tile([1.2, 0.7], (3, 1)), batch_ndim=1)
    made = estimator(q=q, dtype="float64")
    batch = made(40)
    assert (batch.group, batch.antithetic) == (2, True)
    for row in range(3):
        one = estimator(q=mg.Normal(loc[row], [1.2, 0.7]), dtype="float64")(40, first=row * 2**33 * 2)
        assert batch.value[row] == pytest.approx(one.value, rel=1e-12)
        assert batch.stderr[row] == pytest.approx(one.stderr, rel=1e-9)
        np.testing.assert_allclose(batch.grad["loc"][row], one.grad["loc"], rtol=1e-10)
    compiled = estimator(q=q, dtype="float64", backend="cpu")(40)
    np.testing.assert_allclose(compiled.value, batch.value, rtol=1e-12)
    np.testing.assert_allclose(compiled.grad_stderr["scale"], batch.grad_stderr["scale"], rtol=1e-9)
    common = estimator(q=q, dtype="float64", common_noise=True)(40)
    assert common.value[0] == pytest.approx(batch.value[0], rel=1e-12)
    assert pickle.loads(pickle.dumps(batch)).antithetic
    assert mg.BatchEstimate.from_dict(batch.to_dict()).antithetic


@pytest.mark.parametrize(("n", "k", "unit"), [(11, None, 2), (60, 4, 8)])
def test_draws_that_are_no_whole_pairs_are_refused(n, k, unit):
    options = {} if k is None else {"method": "score", "baseline": "leave_one_out", "k": k}
    with pytest.raises(mg.ParameterError, match=f"^n: given '?{n}'?; accepted: a multiple of {unit}, "):
        estimator(**options)(n)
    with pytest.raises(mg.ParameterError, match=r"^antithetic: given 'yes'; accepted: True or False"):
        estimator(antithetic="yes")
    with pytest.raises(mg.ParameterError, match=r"^antithetic: given True with sampler 'sobol'"):
        estimator(sampler="sobol")
    with pytest.raises(mg.ParameterError, match=r"^nonfinite: given 'omit' with antithetic=True"):
        estimator(nonfinite="omit")


def test_results_say_that_draws_are_pairs():
    made = estimator()
    est = made(1000)
    assert "gradient by pathwise, in antithetic pairs" in str(est)
    assert "gradient by pathwise, in antithetic pairs" in made.explain()
    assert "antithetic=True" in repr(made)
    read = mg.Estimate.from_json(est.to_json())
    assert (read.antithetic, read.group, read.value) == (True, 2, est.value)
    assert "antithetic" not in mg.estimate(wave, Q, 100, backend="numpy").to_dict()
    with pytest.raises(mg.ParameterError, match="antithetic: given true for groups of 1 draws"):
        mg.Estimate.from_dict({**mg.estimate(wave, Q, 100, backend="numpy").to_dict(), "antithetic": True})
    again = pickle.loads(pickle.dumps(made))
    assert again(1000).to_dict()["moments"] == est.to_dict()["moments"]
    groups = estimator(method="score", baseline="leave_one_out", k=3)(120)
    assert "in antithetic pairs of 3 draws each" in str(groups)


def test_auto_compare_and_verify_are_of_pairs():
    f = lambda z: np.sum(np.where(z > 0.4, 1.0, 0.0))  # noqa: E731
    auto = estimator(f, method="auto")
    assert auto.plan.antithetic
    assert auto(200).choice
    found = mg.compare(wave, Q, 8000, methods=["pathwise", "score"], backend="numpy", antithetic=True)
    assert not found.biased
    assert found["pathwise"].estimate.antithetic
    for problem, q in ((wave, Q), (lambda z: z**2, mg.Gamma(2.0, 1.5)), (lambda z: z**2, mg.Poisson(3.0))):
        method = "score" if isinstance(q, mg.Poisson) else "pathwise"
        assert mg.verify(problem, q, 4000, method=method, backends="numpy", antithetic=True).ok
    assert mg.verify(wave, Q, 4000, backends="cpu", dtype="float32", antithetic=True).ok


def test_job_files_take_the_option(tmp_path, capsys):
    (tmp_path / "model.py").write_text("import numpy as np\n\ndef f(z):\n    return np.exp(z)\n")
    job = 'integrand = "model.py:f"\ndistribution = {family = "Normal", loc = 0.1, scale = 0.5}\n'
    (tmp_path / "job.toml").write_text(job + 'n = 1000\nbackend = "numpy"\nantithetic = true\n')
    assert main(["run", str(tmp_path / "job.toml")]) == 0
    assert "in antithetic pairs" in capsys.readouterr().out
    est = mg.Estimate.from_json((tmp_path / "results" / "job.json").read_bytes())
    assert est.antithetic
    assert est.value == mg.estimate(np.exp, mg.Normal(0.1, 0.5), 1000, backend="numpy", antithetic=True).value


def test_parts_of_joints_and_mixtures_are_mirrored_together():
    q = mg.Joint(a=mg.Normal(0.2, 0.5), b=mg.MixtureSameFamily(mg.Normal([-1.0, 1.0], [0.5, 0.7]), [0.3, 0.7]))
    est = mg.estimate(lambda z: z["a"] + z["b"] ** 2, q, 20_000, backend="numpy", antithetic=True)
    exact = 0.2 + 0.3 * (1 + 0.25) + 0.7 * (1 + 0.49)
    assert abs(est.value - exact) < MOST_Z * est.stderr
    assert np.abs(tree.flatten(est.grad)["a.loc"] - 1.0) < 1e-12
