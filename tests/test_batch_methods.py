"""Every method in a batch: each row as alone, and the gradients in shared parameters as their sum over the rows."""

import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.noise.rows import first_of_row

B, N = 3, 64
RNG = np.random.default_rng(3)
LOC, SCALE = RNG.normal(size=(B, 2)), np.array([[0.5, 1.0], [1.5, 0.7], [1.0, 1.0]])
X, W = RNG.normal(size=(B, 2)), np.array([0.3, -0.8])
LOGITS = RNG.normal(size=(B, 2))


def smooth(z, w, x):
    return np.sum(np.cos(z * w) + np.square(z - x))


def jumps(z, w, x):
    return np.sum(np.where(z > x, w * z, 0.5))


def log_joint(z, w, x):
    return np.sum(mg.Normal.log_prob(x, loc=w * z, scale=1.0)) + np.sum(mg.Normal.log_prob(z, loc=0.0, scale=1.0))


def normal(row=None):
    return mg.Normal(LOC, SCALE, batch_ndim=1) if row is None else mg.Normal(LOC[row], SCALE[row])


def coins(row=None):
    return mg.Bernoulli(logits=LOGITS, batch_ndim=1) if row is None else mg.Bernoulli(logits=LOGITS[row])


def given(f):
    return lambda q: f


CASES = {
    "pathwise": (given(smooth), normal, {}),
    "score": (given(smooth), normal, {"method": {"loc": "score", "scale": "score"}}),
    "score+mean": (given(smooth), coins, {"method": "score+mean"}),
    "score+optimal": (given(smooth), coins, {"method": "score+optimal"}),
    "score+leave_one_out": (given(smooth), coins, {"method": "score+leave_one_out", "k": 4}),
    "measure_valued": (given(smooth), normal, {"method": "measure_valued"}),
    "measure_valued, discrete": (given(smooth), coins, {"method": "measure_valued"}),
    "difference": (given(jumps), normal, {"method": {"loc": "difference", "w": "difference"}, "wrt": ("loc", "w")}),
    "elbo": (lambda q: mg.elbo(log_joint, q), normal, {}),
    "stl": (lambda q: mg.elbo(log_joint, q), normal, {"method": "stl"}),
    "iwae": (lambda q: mg.iwae(log_joint, q, 4), normal, {}),
    "dreg": (lambda q: mg.iwae(log_joint, q, 4), normal, {"method": "dreg"}),
}


def estimates(name, backend):
    """An estimate of all rows by a backend, and the reference's of each row alone."""
    objective, family, options = CASES[name]
    is_objective = objective(family()) not in (smooth, jumps)
    both = {"params": {"w": W}, **options}

    def made(row, backend="numpy"):
        q = family(row)
        f, q = (objective(q), None) if is_objective else (objective(q), q)
        data = {"data": {"x": X}, "batched_data": "x"} if row is None else {"data": {"x": X[row]}}
        return mg.Estimator(f, q, backend=backend, **data, **both)

    single = [made(row) for row in range(B)]
    first = [first_of_row(row, "float64") * single[0].group for row in range(B)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        return made(None, backend)(N, seed=5), [single[row](N, seed=5, first=first[row]) for row in range(B)]


COMPILED = [(name, "cpu") for name in ("score+leave_one_out", "measure_valued, discrete", "dreg")]


@pytest.mark.parametrize(("name", "backend"), [*((name, "numpy") for name in CASES), *COMPILED])
def test_methods_by_row(name, backend):
    est, singles = estimates(name, backend)
    for row, single in enumerate(singles):
        np.testing.assert_allclose(est.value[row], single.value, rtol=1e-9)
        np.testing.assert_allclose(est.stderr[row], single.stderr, rtol=1e-7)
        for path, grad in single.grad.items():
            if path != "w":
                np.testing.assert_allclose(est.grad[path][row], grad, rtol=1e-8, atol=1e-12)
                np.testing.assert_allclose(est.grad_stderr[path][row], single.grad_stderr[path], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(est.grad["w"], sum(single.grad["w"] for single in singles), rtol=1e-8)
    squares = sum(single.grad_stderr["w"] ** 2 for single in singles)
    np.testing.assert_allclose(est.grad_stderr["w"] ** 2, squares, rtol=1e-6)


def test_auto_chooses_once_by_the_first_row():
    est = mg.estimate(
        smooth, coins(), N, params={"w": W}, data={"x": X}, batched_data="x", method="auto", backend="numpy"
    )
    alone = mg.estimate(smooth, coins(0), N, params={"w": W}, data={"x": X[0]}, method="auto", backend="numpy")
    assert est.method == alone.method
    assert "by the first row" in est.choice


@pytest.mark.parametrize("method", ["score+mean", "difference"])
def test_pilots_of_no_rows(method):
    q = mg.Normal(LOC[:0], 1.0, batch_ndim=1)
    est = mg.estimate(lambda z: np.sum(np.square(z)), q, 4, method=method, wrt="loc", backend="numpy")
    assert est.grad["loc"].shape == (0, 2)


def test_rare_draws_are_named_once():
    q = mg.Bernoulli(probs=np.array([0.5, 1e-9, 1e-9]), batch_ndim=1)
    with pytest.warns(mg.RareDrawsWarning, match=r"^probs in row 1 of 3: the gradient is zero") as found:
        mg.estimate(lambda z: z, q, 50, method="score", backend="numpy")
    assert len(found) == 1
