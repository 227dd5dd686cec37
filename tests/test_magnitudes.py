"""Standard errors of huge and of tiny values: squares neither overflow nor vanish, in any backend or dtype."""

import numpy as np
import pytest

import mcgrad as mg
from tests.cuda import machines

N = 4000
SCALES = {
    "float32": [1e-36, 1e-25, 1e-17, 1e-10, 1e10, 1e18, 1e22, 1e36],
    "float64": [1e-300, 1e-200, 1e-158, 1e-140, 1e140, 1e152, 1e200, 1e300],
}


def wave(z, *, s):
    return np.maximum(s * np.sin(z), -10 * s) + 100 * s  # s does not move behind the mean


def components(est, scale=1.0):
    leaves = [est.value, est.stderr, *est.grad.values(), *est.grad_stderr.values()]
    return np.concatenate([np.ravel(x) / scale for x in leaves])


def estimator(backend, dtype="float64", f=wave, **more):
    q = mg.Normal(0.3, 1.2)
    return mg.Estimator(f, q, params={"s": 1.0}, wrt=("loc", "scale"), backend=backend, dtype=dtype, **more)


@pytest.mark.parametrize("dtype", SCALES)
@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_estimates_scale_with_their_integrand(backend, dtype):
    run = estimator(backend, dtype)
    right = components(run(N))
    for scale in SCALES[dtype]:
        est = run(N, s=scale)
        assert est.nonfinite == 0
        np.testing.assert_allclose(components(est, scale), right, rtol=1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("dtype", SCALES)
def test_a_factor_behind_the_mean(dtype):
    run = estimator("numpy", dtype, lambda z, *, s: s * z)
    right = components(run(N))
    for scale in SCALES[dtype]:
        np.testing.assert_allclose(components(run(N, s=scale), scale), right, rtol=1e-6)


def test_a_mean_of_a_million_standard_deviations_that_is_huge():
    run = estimator("cpu", f=lambda z, *, s: np.maximum(s * (1e6 + z), -s))
    for scale in (1.0, 1e-200, 1e200):
        assert run(N, s=scale).stderr / scale == pytest.approx(run(N).stderr, rel=1e-8)
    assert run(N).stderr == pytest.approx(1.2 / np.sqrt(N), rel=5 / np.sqrt(2 * N))


def test_an_outer_product():
    """The Cholesky factor's gradient is averaged by a matrix product, until its squares vanish."""
    d = 12
    q = mg.MultivariateNormal(np.zeros(d), np.eye(d))
    run = mg.Estimator(lambda z, *, s: np.sum(np.maximum(s * np.sin(z), -9 * s)), q, params={"s": 1.0}, backend="cpu",
                       wrt="scale_tril")  # fmt: skip
    right = components(run(500))
    np.testing.assert_allclose(components(run(500, s=1e-200), 1e-200), right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_non_finite_draws_among_huge_ones(backend):
    run = estimator(backend, f=lambda z, *, s: np.maximum(s * np.log(z), -50 * s), nonfinite="omit")
    right, huge = run(N), run(N, s=1e200)
    assert right.nonfinite == huge.nonfinite > 0
    np.testing.assert_allclose(components(huge, 1e200), components(right), rtol=1e-9)


def test_on_a_device(monkeypatch):
    machines.machine(monkeypatch)
    ours, theirs = estimator("cuda"), estimator("numpy")
    for scale in (1e-200, 1.0, 1e200):
        np.testing.assert_allclose(components(ours(500, s=scale), scale), components(theirs(500)), rtol=1e-9)


def test_the_bits_do_not_depend_on_threads_and_parts_merge():
    one, three = (estimator("cpu", threads=threads) for threads in (1, 3))
    n = 2_000_000
    whole = three(n, s=1e200)
    assert components(one(n, s=1e200)).tobytes() == components(whole).tobytes()
    merged = three(n // 2, s=1e200).merge(three(n // 2, first=n // 2, s=1e200))
    np.testing.assert_allclose(components(merged), components(whole), rtol=1e-9)


def test_auto_chooses_alike_at_every_scale():
    def chosen(scale):
        q, run = mg.Normal(0.3, 1.2), {"data": {"s": scale}, "backend": "numpy", "method": "auto"}
        return mg.estimate(lambda z, *, s: np.maximum(s * np.sin(z), -9 * s), q, 100, **run)

    right = chosen(1.0)
    assert "times as efficient" in right.choice
    for scale in (1e-200, 1e200):
        est = chosen(scale)
        assert (est.method, est.choice) == (right.method, right.choice)


def test_results_are_written_and_read():
    est = estimator("numpy")(N, s=1e200)
    again = mg.Estimate.from_json(est.to_json())
    assert components(again).tobytes() == components(est).tobytes()
    fields = estimator("numpy")(N).to_dict()
    fields["moments"]["m2"] = [x**2 for x in fields["moments"].pop("norm")]  # as earlier versions wrote
    np.testing.assert_allclose(components(mg.Estimate.from_dict(fields)), components(estimator("numpy")(N)), rtol=1e-14)
