"""Parameters that move a jump: refused where the pathwise gradient is zero, and a warning with the line elsewhere."""

import warnings

import numpy as np
import pytest

import mcgrad as mg

Q = mg.Normal(0.0, 1.0)
U = np.arange(3.0)
W = np.linspace(0.2, 0.9, 4)[:, None]


def estimate(f, q=Q, **options):
    return mg.estimate(f, q, 100, backend="numpy", **options)


def argmax(x):
    """The index of the largest element, as a number."""
    return np.sum(np.where(x == np.max(x), np.arange(3.0), 0.0))


REFUSED = {
    "comparison": lambda z, *, k: np.where(z > k, 1.0, 0.0),
    "product": lambda z, *, k: (z < k) * z,
    "floor": lambda z, *, k: np.floor(z + k),
    "remainder": lambda z, *, k: np.sum(np.sign(np.remainder(z + k, 2.0) - 1.0)),
    "hoisted": lambda z, *, k: np.floor(k) * z,
    "mean": lambda z, *, k: np.mean(z * np.ones(3) > k),
    "heaviside": lambda z, *, k: np.heaviside(z - k, 0.5),
    "index of the largest": lambda z, *, k: 1.0 * (argmax(U * z - k * U**2) == 2.0),
}


@pytest.mark.parametrize("method", ["pathwise", "score", "score+leave_one_out", "measure_valued", {"loc": "score"}])
@pytest.mark.parametrize("name", REFUSED)
def test_a_derivative_that_is_zero_for_every_draw_is_refused(name, method):
    with pytest.raises(mg.ParameterError, match=r'^k: .*test_jumps\.py", line \d+: .*method=\{"k": "difference"\}'):
        estimate(REFUSED[name], params={"k": 0.3}, method=method)
    if name == "comparison":
        assert estimate(REFUSED[name], params={"k": 0.3}, wrt="loc", method="score").grad["loc"] > 0
        with pytest.raises(mg.ParameterError, match=r"^k: "):
            mg.verify(REFUSED[name], Q, 1000, params={"k": 0.3}, backends=["numpy"])


def test_all_such_parameters_are_named_at_once():
    def digital(z, *, spot, strike):
        return np.where(spot * np.exp(z) > strike, 1.0, 0.0)

    params = {"spot": 1.0, "strike": 1.2}
    method = {"spot": "difference", "strike": "difference"}
    with pytest.raises(mg.ParameterError, match=r'^spot: .*, like strike: .*method=\{"spot": "difference", "strike": '):
        estimate(digital, params=params)
    assert estimate(digital, params=params, wrt=list(params), method=method).method == "difference"
    said = str(mg.compare(digital, Q, 800, params=params, backend="numpy"))
    assert said.count("not apply") == 1
    assert "pathwise, score, measure_valued, " in said


WARNED = {
    "knock-out": lambda z, *, k: np.where(k * np.exp(z) > 1.0, k * np.exp(z) - 0.5, 0.0),
    "beside": lambda z, *, k: k * z + (z > k),
    "both": lambda z, *, k: np.where((z > k) & (z < k + 1), k * z, 0.0),
    "floor": lambda z, *, k: np.floor(z + k) + k * z,
    "minimum": lambda z, *, k: np.where(np.min(z * np.ones(2) + k) > 0.9, np.maximum(z + k, 0.0), 0.0),
    "heaviside": lambda z, *, k: np.heaviside(z - k, 1.0) * k * z,
    "each with each": lambda z, *, k: np.sum(np.where(k + z * U > W, k + z * U - W, 0.1)),
    "largest": lambda z, *, k: (k + z) * np.sum(np.where((x := U * z + k * U**2) == np.max(x), U, 0.0)),
}


def largest(x):
    return np.sum(np.where(x == np.max(x), x, 0.0))


FINE = {
    "call": lambda z, *, k: np.where(np.exp(z) > k, np.exp(z) - k, 0.0),
    "scaled": lambda z, *, k: np.where(k * z >= 0.5, 2 * (k * z) - 1.0, 0.0),
    "kinks": lambda z, *, k: np.maximum(z, k) + np.abs(z - k) + np.clip(z, k, k + 1),
    "vector": lambda z, *, k: np.sum(np.where(z * np.ones(3) < k, k - z * np.ones(3), 0.0)),
    "of the draw": lambda z, *, k: np.where(z > 0, k * z, -k * z),
    "of the parameter": lambda z, *, k: np.where(k > 0, k * z, 3 * k * z),
    "unread": lambda z, *, k: z,
    "heaviside": lambda z, *, k: np.heaviside(z - k, 1.0) * (z - k),
    "each with each": lambda z, *, k: np.sum(np.where(k + z * U > W, k + z * U - W, 0.0)),
    "fewer with each": lambda z, *, k: np.sum(np.where(k * z * W > U[:2], k * z * W - U[:2], 0.0)),
    "with others": lambda z, *, k: np.sum(np.where((x := k + z * U)[:, None] > x, x[:, None] - x, 0.0)),
    "largest": lambda z, *, k: largest(U * z - k * U**2),
}


@pytest.mark.parametrize("name", WARNED)
def test_a_jump_that_the_gradient_leaves_out_is_named(name):
    with pytest.warns(mg.JumpWarning, match=r'leaves a jump out in k, .*test_jumps\.py", line \d+: ') as seen:
        estimate(WARNED[name], params={"k": 0.3})
    assert len(seen) == 1
    assert WARNED[name].__code__.co_firstlineno == seen[0].lineno
    assert 'method={"k": "difference"}' in str(seen[0].message)
    assert "mg.verify" in str(seen[0].message)


def test_a_jump_of_a_function_without_lines_is_named_by_the_call():
    with pytest.warns(mg.JumpWarning, match=r"is zero for every draw in loc, .*test_jumps\.py") as seen:
        estimate(np.sign, wrt="loc")
    assert len(seen) == 1


@pytest.mark.parametrize("name", FINE)
def test_what_is_continuous_is_not(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate(FINE[name], params={"k": 0.3})


def test_those_who_compare_with_differences_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        common = {"params": {"k": 0.3}, "wrt": "k"}
        assert not mg.verify(WARNED["beside"], Q, 8000, backends=["numpy"], **common).ok
        mg.compare(WARNED["beside"], Q, 800, backend="numpy", **common)
        estimate(WARNED["beside"], method={"k": "difference"}, **common)


def test_parameters_of_q():
    """Whose value f follows in jumps alone, and whose draws jump by a function of the user."""
    with pytest.warns(mg.JumpWarning, match="is zero for every draw in loc, scale, "):
        estimate(lambda z: np.where(z > 0.3, 1.0, 0.0))
    with pytest.warns(mg.JumpWarning, match=r"is zero for every draw in loc, scale, .*np\.heaviside\(z, 0\.5\)"):
        estimate(lambda z: np.heaviside(z, 0.5))
    with pytest.warns(mg.JumpWarning, match=r"is zero for every draw in loc, scale, .*x == np\.max\(x\)"):
        estimate(argmax, mg.Normal(np.zeros(3), np.ones(3)))
    q = mg.Reparameterized(lambda e, *, a: np.floor(a + e) + 0.1 * (a + e), {"a": 0.3}, mg.noise.normal())
    with pytest.warns(mg.JumpWarning, match=r"leaves a jump out in a, .*np\.floor\(a \+ e\)"):
        estimate(lambda z: z, q)
    jumping = mg.Normal(0.3, 1.0).transformed(lambda x: np.where(x > 0, x + 2.0, x))
    with pytest.warns(mg.JumpWarning, match="leaves a jump out in loc, scale, "):
        estimate(lambda z: z, jumping)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bent = mg.Normal(0.3, 1.0).transformed(lambda x: np.where(x > 0, 2 * x, x))
        for q in (bent, mg.Laplace(0.3, 1.0), mg.Triangular(0.0, 1.0, 0.4), mg.Gamma(0.3, 1.0)):
            estimate(lambda z: z, q)


def test_bounds_of_several_draws():
    q = mg.Normal(0.3, 0.7)
    with pytest.warns(mg.JumpWarning, match="leaves a jump out in k"):
        mg.estimate(mg.iwae(lambda z, *, k: -0.5 * z**2 * k - (z > k), q, 4), n=400, params={"k": 0.3}, backend="numpy")
    with pytest.raises(mg.ParameterError, match=r"^k: .*in jumps alone"):
        mg.estimate(mg.elbo(lambda z, *, k: -0.5 * z**2 - (z > k), q), n=400, params={"k": 0.3}, backend="numpy")


def test_comparisons_of_all_pairs_are_looked_at():
    """Of numbers along one axis and along another none can take the place of the other."""
    with pytest.warns(mg.JumpWarning, match="z\\[:, None\\] < z"):
        mg.estimate(lambda z: np.sum(z[:, None] < z) * 1.0, mg.Normal(np.zeros(3), 1.0), 100, method="pathwise")
