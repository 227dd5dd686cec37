"""Value and gradient are within 5 standard errors of closed forms.

Some 500 components: were every one normal and the seeds not fixed, a run would give a false alarm once in 3,000.
"""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from tests.closed_forms import CLOSED_FORMS, joint

JOINTS = {
    "float32": joint("normal_matrix", "lognormal", "uniform", "sinh"),
    "float64": joint("normal_exp", "multivariate12", "exponential", "hierarchical"),
}
BROWNIAN = next(form for form in CLOSED_FORMS if form.name == "geometric_brownian")
MOST = 5.0
ROUNDING = {"float32": 1e-5, "float64": 1e-12}


def check(form, est, dtype):
    assert (est.dtype, est.nonfinite) == (dtype, 0)
    pairs = [(est.value, est.stderr, form.value)]
    want = tree.flatten(form.grad)
    got, errors = tree.flatten(est.grad), tree.flatten(est.grad_stderr)
    assert set(got) == set(want)
    pairs += [(got[path], errors[path], want[path]) for path in got]
    for value, stderr, exact in pairs:
        assert np.shape(value) == np.shape(stderr) == np.shape(exact)
        slack = ROUNDING[dtype] * (1 + np.abs(exact))
        assert np.all(np.abs(value - exact) < MOST * np.asarray(stderr) + slack)
    assert 0 < est.stderr < 0.1 * (1 + abs(form.value))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", CLOSED_FORMS, ids=lambda form: form.name)
def test_numpy_backend(form, dtype):
    est = mg.estimate(form.f, form.q, 40_000, params=form.params, data=form.data, seed=1, dtype=dtype, backend="numpy")
    check(form, est, dtype)


@pytest.mark.parametrize(
    ("form", "dtype"),
    [*((form, dtype) for dtype, form in JOINTS.items()), (BROWNIAN, "float32"), (BROWNIAN, "float64")],
    ids=lambda x: getattr(x, "name", x),
)
def test_cpu_backend(form, dtype):
    est = mg.estimate(form.f, form.q, 1_000_000, params=form.params, data=form.data, seed=2, dtype=dtype, backend="cpu")
    check(form, est, dtype)
