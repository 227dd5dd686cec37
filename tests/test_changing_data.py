"""An Estimator owns its data; other float data of the same shape may be given to a call, and make another problem."""

import numpy as np
import pytest

import mcgrad as mg

RNG = np.random.default_rng(5)
X, OTHER = RNG.normal(size=(2, 40, 3))
N = 300


def f(z, *, X, tau=1.0):
    return tau * np.sum(np.tanh(X @ z))


def q():
    return mg.Normal(np.linspace(-1, 1, 3), np.ones(3))


def build(X=X, **how):
    return mg.Estimator(f, q(), data={"X": X}, **{"backend": "numpy", **how})


def identical(one, other):
    assert (one.value, one.stderr, one.to_dict()["problem"]) == (other.value, other.stderr, other.to_dict()["problem"])
    np.testing.assert_array_equal(one.grad["loc"], other.grad["loc"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float64, np.float32, np.int64, np.int8, bool])
def test_later_changes_of_the_array_have_no_effect(given, dtype):
    mine = (3 * X).astype(given)
    run = build(mine, dtype=dtype)
    before = run(N)
    mine[:] = 0
    identical(run(N), before)
    assert before.merge(run(N, first=N)).n == 2 * N


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_data_are_as_if_given_from_the_start(backend, dtype):
    run = build(backend=backend, dtype=dtype)
    first, other = run(N, seed=3), run(N, seed=3, X=OTHER)
    identical(other, build(OTHER, backend=backend, dtype=dtype)(N, seed=3))
    identical(run(N, seed=3), first)  # for that call alone
    assert other.value != first.value


def test_other_layouts_and_kinds_of_the_same_shape():
    run, ints = build(), (10 * OTHER).astype(np.int16)
    for given in (np.asfortranarray(ints), ints.tolist(), np.repeat(ints, 2, 0)[::2], ints.astype(">f8")):
        identical(run(N, X=given), build(ints.astype(float))(N))


def test_a_buffer_that_is_filled_again():
    run, buffer = build(), np.empty_like(X)
    for batch in (X, OTHER, X):
        buffer[:] = batch
        identical(run(N, X=buffer), build(batch)(N))


def test_estimates_from_other_data_do_not_merge():
    run = build()
    one, other = run(N), run(N, first=N, X=OTHER)
    with pytest.raises(mg.MergeError, match="data"):
        one.merge(other)
    assert other.merge(run(N, X=OTHER.copy())).n == 2 * N
    assert one.merge(run(N, first=N, X=X.copy())).n == 2 * N


def test_parameters_and_data_together_and_a_score_with_its_pilot():
    how = {"method": "score", "baseline": "optimal", "backend": "numpy"}
    both = mg.Estimator(f, q(), params={"tau": 1.0}, data={"X": X}, **how)(N, tau=2.0, X=OTHER, scale=np.full(3, 0.5))
    want = mg.Estimator(f, mg.Normal(q().params["loc"], np.full(3, 0.5)), params={"tau": 2.0}, data={"X": OTHER}, **how)
    assert both.value == want(N).value
    np.testing.assert_array_equal(both.grad["scale"], want(N).grad["scale"])


def test_what_may_index_is_compiled_and_cannot_change():
    def g(z, *, group, keep, x):
        return np.sum((z[group] * x)[keep])

    data = {"group": np.array([0, 2]), "keep": np.array([True, False]), "x": np.ones(2)}
    run = mg.Estimator(g, q(), data=data, backend="numpy")
    run(N, x=np.zeros(2))
    for name in ("group", "keep"):
        with pytest.raises(mg.ParameterError, match=f"{name}: .*may index .*; accepted: .*another Estimator"):
            run(N, **{name: data[name]})


def test_data_may_have_the_names_of_a_calls_own_arguments():
    assert mg.estimate(lambda z, *, n: np.sum(n * z), q(), N, data={"n": np.ones(3)}, backend="numpy").n == N


def test_an_objectives_data_change_and_those_of_p_do_not():
    p = mg.Normal(np.zeros(3), 2.0)
    bound = mg.elbo(lambda z, *, X: f(z, X=X) + p.log_prob(z), q())
    run = mg.Estimator(bound, data={"X": X}, backend="numpy")
    assert run(N, X=OTHER).value == mg.estimate(bound, n=N, data={"X": OTHER}, backend="numpy").value
    with pytest.raises(mg.ParameterError, match=r"p\.loc"):
        mg.Estimator(mg.kl(q(), p), backend="numpy")(N, **{"p.loc": np.ones(3)})
