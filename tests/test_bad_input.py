"""Bad input is refused before anything is compiled or runs: with its name, what was given, what is accepted."""

import numpy as np
import pytest

import mcgrad as mg
import mcgrad.backends.cpu_compiled

NAN, INF = float("nan"), float("inf")
TRIL = np.array([[1.0, 0.0], [0.5, 1.0]])


def f(z):
    return np.sum(z)


def g(z, *, tau, X):
    return tau * np.sum(X * z)


def build(**given):
    """Make an estimator with one thing wrong."""
    arguments = {"f": g, "q": mg.Normal(0.0, 1.0), "params": {"tau": 1.0}, "data": {"X": np.ones(3)}, **given}
    return mg.Estimator(arguments.pop("f"), arguments.pop("q"), **arguments)


def call(*args, **changes):
    return mg.Estimator(f, mg.Normal(np.zeros(3), 1.0), backend="numpy")(*args, **changes)


class Odd:
    """An object whose methods raise."""

    def __index__(self):
        raise RuntimeError("odd")

    __repr__ = __index__


def nested(levels):
    found = 1.0
    for _ in range(levels):
        found = {"a": found}
    return found


REFUSED = [
    # (what is done), name, given, accepted
    # distributions: constructed, then called with new values
    (lambda: mg.Normal(0.0, 0.0), "scale", "0.0", "finite and > 0"),
    (lambda: mg.Normal(0.0, [1.0, -2.0]), "scale", r"-2.0 at \[1\]", "> 0"),
    (lambda: mg.LogNormal(0.0, -1.0), "scale", "-1.0", "> 0"),
    (lambda: mg.Normal(NAN, 1.0), "loc", "nan", "finite"),
    (lambda: mg.Normal(0.0, INF), "scale", "inf", "finite"),
    (lambda: mg.Normal(np.zeros(2), np.ones(3)), "loc, scale", r"\(2,\).*\(3,\)", "broadcast"),
    (lambda: mg.Normal("a", 1.0), "loc", "'a'", "real number"),
    (lambda: mg.Normal(None, 1.0), "loc", "None", "real number"),
    (lambda: mg.Normal(1j, 1.0), "loc", "1j", "real number"),
    (lambda: mg.Normal(np.zeros((0, 2)), 1.0), "loc", "shape", "not empty"),
    (lambda: mg.Uniform(1.0, 1.0), "low, high", "low = 1.0 and high = 1.0", "low < high"),
    (lambda: mg.Uniform(0.0, NAN), "high", "nan", "finite"),
    (lambda: mg.MultivariateNormal(np.zeros(2), TRIL.T), "scale_tril", r"0.5 at \[0, 1\]", "0 above"),
    (lambda: mg.MultivariateNormal(np.zeros(2), -TRIL), "scale_tril", "-1.0", "> 0 on the diagonal"),
    (lambda: mg.MultivariateNormal(np.zeros(2), np.ones(2)), "scale_tril", r"\(2,\)", "square"),
    (lambda: mg.MultivariateNormal(np.zeros(3), TRIL), "loc", r"\(3,\)", r"\(2,\)"),
    (lambda: mg.Joint(), "parts", "none", "at least one"),
    (lambda: mg.Joint(a=mg.Normal(), b=3), "b", "3", "distribution"),
    # parameters and data
    (lambda: build(params={"tau": NAN}), "tau", "nan", "finite"),
    (lambda: build(params={"tau": [1.0, INF]}), "tau", r"inf at \[1\]", "finite"),
    (lambda: build(params={"tau": "one"}), "tau", "'one'|str|U", "number"),
    (lambda: build(params={"loc": 1.0}), "loc", "in params", "once"),
    (lambda: build(params={"seed": 1.0}), "seed", "parameter's name", "any name but"),
    (lambda: build(params={"executor": 1.0}), "executor", "parameter's name", "any name but"),
    (lambda: mg.estimate(mg.elbo(np.sum, mg.Normal()), 500), "q", "500, and no n", "n=..., by name"),
    (lambda: mg.compare(np.sin, 500), "q", "500, and no n", "a distribution, and n after it"),
    (lambda: build(params=[1.0]), "params", r"\[1.0\]", "dict"),
    (lambda: build(data={"X": np.array([1, "a"], dtype=object)}), "X", "object", "number"),
    (lambda: build(data={"X": np.array(["a", "b"])}), "X", "U1", "number"),
    (lambda: build(data={"X": np.ones(3) * 1j}), "X", "complex", "number"),
    (lambda: build(data={"X": [[1.0], [1.0, 2.0]]}), "X", r"\[\[1.0\]", "number"),
    (lambda: build(data={"X": np.ones((0, 3))}), "X", "shape", "not empty"),
    (lambda: build(data={"tau": np.ones(3)}), "tau", "in data", "once"),
    (lambda: build(data={"scale": np.ones(3)}), "scale", "in data", "once"),
    (lambda: build(data={"X": np.ones(3), "Y": 1.0}), "data\\['Y'\\]", "does not accept", "tau"),
    (lambda: build(data={}), "g", "missing.*X", "every argument"),
    (lambda: build(data={"not a name": 1.0}), "data", "not a name", "dict"),
    # options
    (lambda: build(wrt="mu"), "wrt", "'mu'", "loc, scale, tau"),
    (lambda: build(wrt=("loc", "X")), "wrt", "'X'", "loc, scale, tau"),
    (lambda: build(wrt=3), "wrt", "3", "loc, scale, tau"),
    (lambda: build(wrt=np.array(3)), "wrt", r"array\(3\)", "loc, scale, tau"),
    (lambda: build(wrt=np.ones((2, 2))), "wrt", "float64 array", "loc, scale, tau"),
    (lambda: build(method=np.ones(3)), "method", "float64 array", "'score'"),
    (lambda: build(method="score", baseline=np.ones(3)), "baseline", "float64 array", "'mean'"),
    (lambda: build(backend=np.ones(3)), "backend", "float64 array", "'auto'"),
    (lambda: build(dtype=np), "dtype", "numpy", "'float32' or 'float64'"),
    (lambda: build(dtype="\udcff"), "dtype", "udcff", "'float32' or 'float64'"),
    (lambda: build(threads=Odd()), "threads", "Odd", "whole number"),
    (lambda: mg.Normal({}, 1.0), "loc", "{}", "number"),
    (lambda: mg.Categorical(probs={}), "probs", "{}", "array"),
    (lambda: mg.MultivariateNormal(np.zeros(2), scale_tril={}), "scale_tril", "a dict", "array"),
    (lambda: mg.Normal().log_prob(len), "z", "len", "number"),
    (lambda: mg.Normal().log_prob(nested(5000)), "a", "nested too deep", "fewer"),
    (lambda: build(dtype="float16"), "dtype", "'float16'", "'float32' or 'float64'"),
    (lambda: build(dtype="int"), "dtype", "'int'", "'float32' or 'float64'"),
    (lambda: build(dtype=3), "dtype", "3", "'float32' or 'float64'"),
    (lambda: build(backend="gpu"), "backend", "'gpu'", "'auto' or 'numpy' or 'c"),
    (lambda: build(backend=None), "backend", "None", "'auto'"),
    (lambda: build(threads=0), "threads", "0", "from 1 to"),
    (lambda: build(threads=1.5), "threads", "1.5", "whole number"),
    (lambda: build(threads=True), "threads", "True", "whole number"),
    (lambda: build(nonfinite="ignore"), "nonfinite", "'ignore'", "'propagate' or 'omit' or 'raise'"),
    (lambda: build(f=3), "f", "3", "function"),
    (lambda: build(q=g), "q", "function g", "distribution"),
    (lambda: build(q=mg.Normal), "q", "Normal", "distribution"),
    # calls
    (lambda: call(1), "n", "1", "whole number at least 2"),
    (lambda: call(0), "n", "0", "at least 2"),
    (lambda: call(-5), "n", "-5", "at least 2"),
    (lambda: call(10.5), "n", "10.5", "whole number"),
    (lambda: call("10"), "n", "'10'", "whole number"),
    (lambda: call(True), "n", "True", "whole number"),
    (lambda: call(NAN), "n", "nan", "whole number"),
    (lambda: call(INF), "n", "inf", "whole number"),
    (lambda: call(10, seed=-1), "seed", "-1", f"from 0 to {2**64 - 1}"),
    (lambda: call(10, seed=2**64), "seed", f"{2**64}", f"from 0 to {2**64 - 1}"),
    (lambda: call(10, seed=0.5), "seed", "0.5", "whole number"),
    (lambda: call(10, seed=None), "seed", "None", "whole number"),
    (lambda: call(10, first=-1), "first", "-1", "whole number"),
    (lambda: call(10, first=2**62), "first", f"{2**62}", "whole number"),
    (lambda: call(10, scale=-1.0), "scale", "-1.0", "> 0"),
    (lambda: call(10, loc=np.array([0.0, NAN, 0.0])), "loc", r"nan at \[1\]", "finite"),
    (lambda: call(10, loc=0.0), "loc", r"shape \(\)", r"shape \(3,\)"),
    (lambda: call(10, mu=0.0), "mu", "no name of a parameter", "loc, scale"),
    (lambda: build(backend="numpy")(10, tau=NAN), "tau", "nan", "finite"),
    (lambda: build(backend="numpy")(10, tau=[1.0]), "tau", r"shape \(1,\)", r"shape \(\)"),
    (lambda: build(backend="numpy")(10, X=np.ones(4)), "X", r"shape \(4,\)", r"shape \(3,\)"),
    (lambda: build(backend="numpy")(10, Y=np.ones(3)), "Y", "no name of a parameter or of data", "loc, scale, tau, X"),
    (lambda: build(data={"X": np.arange(3)}, backend="numpy")(10, X=np.arange(3)), "X", "int64 .*code", "float"),
]


@pytest.fixture(autouse=True)
def nothing_compiles(monkeypatch):
    def compile_(*args):
        raise AssertionError("compiled before the input was checked")

    monkeypatch.setattr(mcgrad.backends.cpu_compiled, "load", compile_)


@pytest.mark.parametrize(("act", "name", "given", "accepted"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_refused_by_name(act, name, given, accepted):
    with pytest.raises(mg.ParameterError, match=rf"^{name}.*: given .*({given}).*; accepted: .*{accepted}") as caught:
        act()
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("integrand", "complaint"),
    [
        (lambda z: z[:0], "array without elements"),
        (lambda z: 1.0, "ignores z"),
        (lambda z: None, "returns None"),
        (lambda z: "text", "returns 'text'"),
        (lambda z: {"a": (z, z)}, "returns a tuple"),
        (lambda z: float(np.sum(z)), r"float\(np.sum\(z\)\)"),
        (lambda z: np.sum(z) if z[0] > 0 else 0.0, "np.where"),
        (lambda z: np.linalg.pinv(np.outer(z, z))[0, 0], "np.linalg.pinv"),
        (lambda z: np.lexsort(z), "np.lexsort"),
    ],
)
def test_untraceable_code_is_refused_with_its_line(integrand, complaint):
    with pytest.raises(mg.TraceError, match=complaint) as caught:
        mg.Estimator(integrand, mg.Normal(np.zeros(3), 1.0))
    assert caught.value.filename == __file__
    assert caught.value.lineno
    assert "lambda z" in caught.value.line


def test_unknown_keywords_are_refused():
    with pytest.raises(TypeError, match="samples"):
        mg.estimate(f, mg.Normal(), 10, samples=3)


def test_a_comparison_as_integrand_has_no_gradient_but_a_value():
    est = mg.estimate(lambda z: z > 0, mg.Normal(0.0, 1.0), 1000, wrt=(), backend="numpy")
    assert abs(est.value - 0.5) < 5 * est.stderr


@pytest.mark.parametrize("n", [1e3, np.float32(1000), np.int64(1000), np.uint16(1000), 1000])
def test_whole_numbers_of_any_type_are_counts(n):
    est = call(n, seed=np.uint64(2**64 - 1))
    assert (est.n, est.seed) == (1000, 2**64 - 1)
    assert type(est.n) is type(est.seed) is int


def test_an_underflowing_scale_is_refused_in_the_dtype_that_runs():
    with pytest.raises(mg.ParameterError, match=r"scale: given 0.0 in float32"):
        mg.Estimator(f, mg.Normal(0.0, 1e-60), dtype="float32")
    with pytest.raises(mg.ParameterError, match=r"tau: given 1e\+60, infinite in float32"):
        build(params={"tau": 1e60}, dtype="float32", backend="numpy")(10)
    with pytest.raises(mg.ParameterError, match=r"X: given -1e\+60, infinite in float32"):
        build(data={"X": np.array([1.0, -1e60])}, dtype="float32")
