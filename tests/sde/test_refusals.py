"""What is refused names the argument or the function's line, what was given, and what is accepted."""

import numpy as np
import pytest

import mcgrad as mg

TIMES = [0.0, 0.5, 1.0]
Z = np.zeros((2, 2))
X0 = np.ones(2)


def decay(t, x):
    return -x


def noise(t, x):
    return 0.1 * x


def euler(**changes):
    given = {"drift": decay, "diffusion": noise, "x0": X0, "times": TIMES, "z": Z} | changes
    return mg.sde.euler(**given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": [0.0, 0.5, 0.5]}, r"times: given 0.5 after 0.5"),
        ({"times": [1.0]}, r"times: given an array of shape \(1,\)"),
        ({"times": [0.0, np.nan, 1.0]}, r"times: given nan"),
        ({"z": np.zeros((3, 2))}, r"z: given shape \(3, 2\); accepted: \(2, ...\), an element for each of the 2 steps"),
        ({"z": np.zeros((2, 2), int)}, "z: given"),
        ({"z": {"a": Z}}, "z: given a dict"),
        ({"x0": {"a": 1.0, "b": 2.0}, "z": {"a": Z[:, 0]}}, r"z: given arrays \['a'\]"),
        ({"x0": {"a": 1.0}, "z": {"a": Z}}, r"z\['a'\]: given shape \(2, 2\); accepted: \(2,\), as x0\['a'\]"),
        ({"x0": {}}, "x0: given nothing"),
        ({"x0": "one"}, "x0: given"),
        ({"correlation": np.ones((3, 3))}, r"correlation: given shape \(3, 3\); accepted: \(2, 2\), for 2 motions"),
        ({"correlation": [[1.0, 0.5], [0.4, 1.0]]}, "correlation: given a matrix that is not symmetric"),
        ({"correlation": [[0.04, 0.0], [0.0, 0.09]]}, "a diagonal without ones.*scale_tril= takes a factor"),
        ({"correlation": 1.2}, "correlation: given a matrix with an eigenvalue of -0.2"),
        ({"correlation": 0.5, "z": Z[:, 0]}, r"correlation: given a matrix for z of shape \(2,\)"),
        ({"correlation": 0.5, "scale_tril": np.eye(2)}, "scale_tril: given both"),
        ({"substeps": 0}, "substeps: given 0; accepted: a whole number at least 1"),
        ({"substeps": 3}, r"z: given shape \(2, 2\); accepted: \(6, ...\), an element for each of the 6 steps"),
        ({"construction": "halves"}, "construction: given 'halves'"),
        ({"reduce": "sum"}, "reduce: given 'sum'; accepted: 'path', 'last'"),
        ({"reduce": {"a": "last", "b": None}}, "reduce: given"),
        ({"reduce": ("last", 3)}, r"reduce\[1\]: given 3"),
        ({"reduce": ()}, "reduce: given"),
        ({"reduce": mg.sde.Survival(upper=2.0, of="a")}, "of: given 'a'"),
        ({"reduce": mg.sde.Survival(upper=2.0), "x0": (1.0, 2.0), "drift": None, "diffusion": lambda t, x: x},
         "of: given None for a nested state"),
        ({"reduce": mg.sde.Maximum(np.full(3, 0.5))}, r"reduce: given shape \(3,\)"),
        ({"xs": np.zeros(3)}, r"xs: given shape \(3,\)"),
        ({"jumps": {"a": np.zeros(2)}}, "jumps: given"),
        ({"jumps": np.zeros((2, 3))}, r"jumps: given shape \(2, 3\)"),
    ],
)  # fmt: skip
def test_arguments(changes, message):
    with pytest.raises(mg.ParameterError, match=message):
        euler(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drift": lambda t, x: {"a": x}}, r"drift returns \['a'\]; the state is one array"),
        ({"drift": lambda t, x: None}, "drift returns None"),
        ({"drift": lambda t, x: np.ones((2, 2))}, r"drift has shape \(2, 2\), and the state has shape \(2,\)"),
        ({"diffusion": lambda t, x: np.ones(3)}, r"diffusion has shape \(3,\).*accepted is \(2, 2\), a row"),
        ({"diffusion": lambda t, x: np.ones((2, 2)), "z": Z[:, 0]}, r"accepted is \(2,\), as z has one motion"),
        ({"diffusion": lambda t, x: x, "z": np.zeros((2, 3))}, r"accepted is \(2, 3\), a row over the 3 motions"),
        ({"diffusion": lambda t, x: (x, x)}, "diffusion returns"),
        ({"jumps": np.zeros(2), "jump": lambda t, x: np.ones(3)}, r"jump has shape \(3,\)"),
    ],
)
def test_functions(changes, message):
    with pytest.raises(mg.TraceError, match=message) as caught:
        euler(**changes)
    assert caught.value.filename == __file__


def test_the_line_is_named_while_f_is_traced():
    def f(z, *, k):
        return mg.sde.euler(lambda t, x: k * x, lambda t, x: np.ones(3), X0, TIMES, z, reduce="last")

    with pytest.raises(mg.TraceError, match="diffusion has shape") as caught:
        mg.Estimator(f, mg.Normal(Z, 1.0), params={"k": 1.0})
    assert caught.value.filename == __file__


def test_a_traced_maturity_is_for_sequential_paths():
    def f(z, *, maturity, construction="bridge"):
        times = maturity * np.linspace(0.0, 1.0, 3)
        return mg.sde.euler(decay, noise, X0, times, z, construction=construction, reduce="last")

    with pytest.raises(mg.ParameterError, match=r"times: given a traced array.*sequential"):
        mg.Estimator(f, mg.Normal(Z, 1.0), params={"maturity": 1.0})
    assert mg.Estimator(lambda z, maturity: f(z, maturity=maturity, construction="sequential"), mg.Normal(Z, 1.0),
                        params={"maturity": 1.0}, wrt="maturity")  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mg.sde.euler(None, 0.2, 1.0, TIMES, Z[:, 0]), "diffusion: given 0.2; accepted: a function of t and x"),
        (lambda: mg.sde.euler(0.1, noise, X0, TIMES, Z), "drift: given 0.1; accepted: a function of t and x"),
        (lambda: mg.sde.Survival(), "upper: given neither"),
        (lambda: mg.sde.Survival(upper=1.0, correction="none"), "correction: given 'none'"),
        (lambda: mg.sde.Survival(lower=0.5, upper=lambda t: 1.0 + t), "upper: given a function of t, and another"),
        (
            lambda: mg.sde.gbm(1.0, TIMES, Z[:, 0], drift=0.0, volatility=1.0, reduce=mg.sde.Survival(lower=0.0)),
            "a barrier: given 0; accepted: positive numbers",
        ),
        (lambda: mg.sde.gbm((1.0, 2.0), TIMES, Z, drift=0.0, volatility=0.1), "x0: given a tuple"),
        (lambda: mg.sde.gbm(X0, TIMES, Z, drift=np.zeros(3), volatility=0.1), r"drift: given shape \(3,\)"),
        (
            lambda: mg.sde.gbm(1.0, TIMES, Z, drift=0.0, volatility=0.1),
            r"z: given \(2,\) standard normals for each step and x0 of shape \(\)",
        ),
        (
            lambda: mg.sde.ou(1.0, TIMES, Z, rate=1.0, mean=0.0, volatility=1.0, correlation=0.5),
            r"z: given \(2,\) standard",
        ),
        (
            lambda: mg.sde.cir(X0, TIMES, Z, rate=1.0, mean=1.0, volatility=0.1),
            r"z: given shape \(2, 2\); accepted: shape \(2, 2, 2\)",
        ),
    ],
)
def test_exact_steps(call, message):
    with pytest.raises(mg.ParameterError, match=message):
        call()
