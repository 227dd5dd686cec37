"""Vibrato: digitals in closed form, what may read the noise of a step besides, and refusals of what may not."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy.stats import norm

import mcgrad as mg

SPOT, VOL, STRIKE = 100.0, 0.2, 105.0
D2 = np.log(SPOT / STRIKE) / VOL - VOL / 2
D1 = D2 + VOL
MARKET = {"spot": SPOT, "vol": VOL}
DIGITAL = {
    "spot": {"spot": -norm.pdf(D2) * D1 / (SPOT * VOL) ** 2, "vol": norm.pdf(D2) * (D1 * D2 - 1) / (SPOT * VOL**2)},
    "vol": {
        "spot": norm.pdf(D2) * (D1 * D2 - 1) / (SPOT * VOL**2),
        "vol": norm.pdf(D2) * (D1 + D2 - D1**2 * D2) / VOL**2,
    },
}


def digital(z, *, spot, vol):
    """Pays 1 above the strike after 8 steps of a loop, the last of which vibrates."""

    def step(x, e):
        return x + vol / np.sqrt(8) * e - vol**2 / 16, None

    x, _ = mg.scan(step, np.log(spot / STRIKE), z["path"])
    return mg.vibrato(lambda x: x > 0.0, x - vol**2 / 16, vol / np.sqrt(8), z["last"])


def test_a_digital_has_first_and_second_derivatives_by_vibrato_in_a_loop():
    q = mg.Joint(path=mg.Normal(np.zeros(7), 1.0), last=mg.Normal(np.zeros(2), 1.0))
    est = mg.estimate(digital, q, 400_000, params=MARKET, wrt=[*MARKET], hessian="full")
    delta, vega = norm.pdf(D2) / (SPOT * VOL), -norm.pdf(D2) * D1 / VOL
    wanted = {"spot": delta, "vol": vega}
    assert all(abs(est.grad[a] - wanted[a]) < 4.5 * est.grad_stderr[a] for a in MARKET)
    for a in MARKET:
        for b in MARKET:
            assert abs(est.hessian[a][b] - DIGITAL[a][b]) < 4.5 * est.hessian_stderr[a][b]
    assert est.hessian_method == "pathwise twice"
    assert abs(est.value - norm.cdf(D2)) < 4.5 * est.stderr


def test_the_variance_of_vibrato_does_not_grow_with_the_steps_before_the_last():
    def after(z, *, spot, vol):
        """The last of the steps takes a quarter of the time."""
        x = np.log(spot / STRIKE) + vol * np.sqrt(0.75 / len(z["path"])) * np.sum(z["path"]) - vol**2 / 2
        return mg.vibrato(lambda x: x > 0.0, x, vol * 0.5, z["last"])

    errors = []
    for steps in (1, 64):
        q = mg.Joint(path=mg.Normal(np.zeros(steps), 1.0), last=mg.Normal(0.0, 1.0))
        est = mg.estimate(after, q, 100_000, params=MARKET, wrt=[*MARKET], hessian=["spot"])
        assert abs(est.grad["spot"] - norm.pdf(D2) / (SPOT * VOL)) < 4.5 * est.grad_stderr["spot"]
        errors.append((est.grad_stderr["spot"], est.hessian_stderr["spot"]["spot"]))
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def test_vibrato_of_a_correlated_step():
    rho = 0.6

    def both(z, *, a):
        factor = np.array([[1.0, 0.0], [rho, np.sqrt(1 - rho**2)]])
        return mg.vibrato(lambda x: np.all(x < 0.0), a * np.ones(2), factor, z)

    est = mg.estimate(both, mg.Normal(np.zeros(2), 1.0), 200_000, params={"a": 0.2}, wrt="a")
    exact = -2 * norm.pdf(0.2) * norm.cdf((-0.2 + rho * 0.2) / np.sqrt(1 - rho**2))
    assert abs(est.grad["a"] - exact) < 4.5 * est.grad_stderr["a"]


def test_vibrato_refuses_a_jump_that_a_parameter_moves_directly_and_other_shapes():
    f = lambda z, *, k: mg.vibrato(lambda x: x > k, z[0], 0.1, z[1])  # noqa: E731
    with pytest.raises(mg.ParameterError, match=r"^k: given a parameter that the integrand follows in jumps alone"):
        mg.estimate(f, mg.Normal(np.zeros(2), 1.0), 100, params={"k": 0.1}, wrt="k")
    with pytest.raises(mg.ParameterError, match=r"^eps: given noise of shape \(2, 3\)"):
        mg.vibrato(np.sum, np.zeros(2), 1.0, np.zeros((2, 3)))
    with pytest.raises(mg.ParameterError, match=r"^scale: given an array of shape \(3,\)"):
        mg.vibrato(np.sum, np.zeros(2), np.ones(3), np.zeros(2))
    with pytest.raises(mg.ParameterError, match=r"^f: given 1.0; accepted: f\(x\)"):
        mg.vibrato(1.0, np.zeros(2), np.ones(2), np.zeros(2))


# --- what else may read the noise of a step --------------------------------------------------------------------------
A = 0.3
GIVEN = {"params": {"a": A}, "wrt": "a", "backend": "numpy"}
Q = mg.Joint(path=mg.Normal(np.zeros(3), 1.0), last=mg.Normal(0.0, 1.0))
PAIRS = mg.Normal(np.zeros((4, 2)), 1.0)


def positive(mean, eps, scale=1.0):
    return mg.vibrato(lambda x: x > 0.0, mean, scale, eps)


def in_turn(step, first, z):
    return mg.scan(lambda carry, e: (step(*carry, e), None), first, z)[0]


def unrolled(step, first, z):
    carry = first
    for t in range(z.shape[0]):
        carry = step(*carry, z[t])
    return carry


def below(u, v):
    """Two derivatives of the distribution function at u(a), with u' = v: its first, its second."""
    return np.array([norm.pdf(u) * v, -u * norm.pdf(u) * v**2])


def of_steps(scale):
    """Of a walk from a, at each of whose four steps its sign is paid: value and two derivatives."""
    sizes = np.sqrt(scale**2 * np.arange(4) + 1.0)
    return [norm.cdf(A / sizes).sum(), *sum(below(A / size, 1 / size) for size in sizes)]


ALIVE = [norm.cdf(A) ** 4, 4 * norm.cdf(A) ** 3 * norm.pdf(A),
         12 * norm.cdf(A) ** 2 * norm.pdf(A) ** 2 - 4 * norm.cdf(A) ** 3 * A * norm.pdf(A)]  # fmt: skip
ONE = [norm.cdf(A / np.sqrt(2)), *below(A / np.sqrt(2), 1 / np.sqrt(2))]  # a + z0 + eps > 0

RIGHT = {  # the function, q, and value and derivatives in a
    "a sum": (
        lambda z, *, a: positive(a + z["path"][0], z["last"]) + a**2 * np.exp(z["last"]),
        Q,
        np.add(ONE, np.array([A**2, 2 * A, 2.0]) * np.exp(0.5)),
    ),
    "a product with other noise": (
        lambda z, *, a: positive(a + z["path"][0], z["last"]) * a * z["path"][1] ** 2,
        Q,
        [A * ONE[0], ONE[0] + A * ONE[1], 2 * ONE[1] + A * ONE[2]],
    ),
    "two steps": (
        lambda z, *, a: (
            positive(a, z["path"][0]) * positive(a, z["last"]) * positive(a, z["path"][1]) * positive(a, z["path"][2])
        ),
        Q,
        ALIVE,
    ),
    "a step in a step": (
        lambda z, *, a: mg.vibrato(lambda x: positive(x + a / 2, z["last"]), a / 2, 1.0, z["path"][0]),
        Q,
        ONE,
    ),
    "noise of other elements": (lambda z, *, a: positive(a + np.cumsum(z["path"])[0], z["path"][1]), Q, ONE),
    "outputs of an earlier step of a loop": (
        lambda z, *, a: positive(mg.scan(lambda x, e: (x + e, x + e), a, z["path"])[1][0], z["path"][1]),
        Q,
        ONE,
    ),
    "a loop of sums": (
        lambda z, *, a: in_turn(lambda x, y, e: (x + 0.5 * e[0], y + positive(x, e[1])), (a, 0.0), z)[1],
        PAIRS,
        of_steps(0.5),
    ),
    "a loop of sums, whose path goes on from the step": (
        lambda z, *, a: in_turn(lambda x, y, e: (x + 0.5 * e[1], y + positive(x, e[1])), (a, 0.0), z)[1],
        PAIRS,
        of_steps(0.5),
    ),
    "a loop of products": (
        lambda z, *, a: in_turn(lambda x, y, e: (x + 0.5 * e[0], y * positive(a, e[1])), (a, 1.0), z)[1],
        PAIRS,
        ALIVE,
    ),
    "a Python loop": (
        lambda z, *, a: unrolled(lambda x, y, e: (x + 0.5 * e[1], y + positive(x, e[1])), (a, 0.0), z)[1],
        PAIRS,
        of_steps(0.5),
    ),
    "a loop in a loop": (
        lambda z, *, a: in_turn(
            lambda x, y, e: in_turn(lambda x, y, u: (x + 0.5 * u[1], y + positive(x, u[1])), (x, y), e), (a, 0.0), z
        )[1],
        mg.Normal(np.zeros((2, 2, 2)), 1.0),
        of_steps(0.5),
    ),
    "a bounded loop": (
        lambda z, *, a: mg.while_loop(
            lambda c: c[0] < 4, lambda c: (c[0] + 1.0, c[1] + positive(a + z[0, 0], z[0, 1]) / 4), (0.0, 0.0), 8
        )[1],
        PAIRS,
        ONE,
    ),
    "the entropy of an ELBO": (
        mg.elbo(lambda z, *, a: positive(a + z["path"][0], z["last"]), Q),
        None,
        np.add(ONE, [2 + 2 * np.log(2 * np.pi), 0, 0]),
    ),
    "known points": (
        lambda z, *, a: positive(a + z["path"][0], norm.ppf((np.arange(50) + 0.5) / 50)) + z["last"],
        Q,
        ONE,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_linear_in_the_mean_over_a_step_is_right(name):
    f, q, wanted = RIGHT[name]
    est = mg.estimate(f, q, 40_000, hessian=["a"], **GIVEN)
    found = [
        (est.value, est.stderr),
        (est.grad["a"], est.grad_stderr["a"]),
        (est.hessian["a"]["a"], est.hessian_stderr["a"]["a"]),
    ]
    for (x, error), exact in zip(found, wanted, strict=True):
        assert abs(x - exact) < 4.5 * error + (1e-3 if name == "known points" else 1e-12)


def test_parts_of_a_value_are_looked_at_by_themselves():
    f = lambda z, *, a: {"in": positive(a + z["path"][0], z["last"]), "of": a * z["last"] ** 2}  # noqa: E731
    est = mg.estimate(f, Q, 40_000, **GIVEN)
    assert abs(est.grad["a"]["in"] - ONE[1]) < 4.5 * est.grad_stderr["a"]["in"]
    assert abs(est.grad["a"]["of"] - 1.0) < 4.5 * est.grad_stderr["a"]["of"]


def test_rows_have_steps_of_their_own():
    q = mg.Normal(np.zeros((3, 2)), 1.0, batch_ndim=1)
    f = lambda z, *, a: positive(a + z[0], z[1])  # noqa: E731
    est = mg.estimate(
        f, q, 40_000, params={"a": np.array([0.3, 0.0, -1.0])}, wrt="a", batched_params=["a"], backend="numpy"
    )
    wanted = norm.pdf(np.array([0.3, 0.0, -1.0]) / np.sqrt(2)) / np.sqrt(2)
    assert np.all(np.abs(est.grad["a"] - wanted) < 4.5 * est.grad_stderr["a"])
    with pytest.raises(mg.ParameterError, match=r"^eps: given noise of mg.vibrato that is read elsewhere"):
        mg.Estimator(lambda z, *, a: z[1] * positive(a + z[0], z[1]), q, params={"a": 0.3}, wrt="a")


WRONG = {  # the function, q, the line that is named, and what is said
    "a product": (lambda z, *, a: positive(a, z["last"]) * np.exp(z["last"]), Q, "np.exp", "eps: .*read elsewhere"),
    "a choice": (
        lambda z, *, a: np.where(z["last"] > 0, positive(a, z["last"]), a),
        Q,
        "np.where",
        "eps: .*read elsewhere",
    ),
    "f": (
        lambda z, *, a: mg.vibrato(lambda x: (x > 0) * z["last"], a, 1.0, z["last"]),
        Q,
        r'\* z\["last"\]',
        "eps: .*its f, mean or scale",
    ),
    "the mean": (
        lambda z, *, a: positive(a * z["last"], z["last"]),
        Q,
        r'a \* z\["last"\]',
        "eps: .*its f, mean or scale",
    ),
    "the path": (
        lambda z, *, a: positive(a + np.sum(z["path"]), z["path"][1]),
        Q,
        r"np.sum\(z",
        "eps: .*its f, mean or scale",
    ),
    "twice the same": (
        lambda z, *, a: positive(a, z["last"]) * positive(1.0, z["last"]),
        Q,
        "positive",
        "eps: .*read elsewhere",
    ),
    "a maximum": (
        lambda z, *, a: np.maximum(positive(a, z["last"]) - 0.5, 0),
        Q,
        "np.maximum",
        "vibrato: .*maximum takes",
    ),
    "a quotient": (lambda z, *, a: 1 / (1 + positive(a, z["last"])), Q, r"1 / \(1", "vibrato: .*divide takes"),
    "a later step": (
        lambda z, *, a: positive(positive(a, z["last"]), z["path"][0]),
        Q,
        "",
        "vibrato: .*a later step takes",
    ),
    "a matrix": (
        lambda z, *, a: np.sum(np.outer(positive(a, z["path"][:2]), z["path"])),
        Q,
        "np.outer",
        "eps: .*read elsewhere",
    ),
    "a product of elements": (
        lambda z, *, a: np.prod(np.stack([positive(a, z["last"]), 1.0, z["last"]])),
        Q,
        "np.prod",
        "eps: .*read elsewhere",
    ),
    "survival of a path that goes on from the step": (
        lambda z, *, a: in_turn(lambda x, y, e: (x + 0.5 * e[1], y * positive(x, e[1])), (a, 1.0), z)[1],
        PAIRS,
        "y \\* positive",
        "eps: .*read elsewhere",
    ),
    "the same in a Python loop": (
        lambda z, *, a: unrolled(lambda x, y, e: (x + 0.5 * e[1], y * positive(x, e[1])), (a, 1.0), z)[1],
        PAIRS,
        "y \\* positive",
        "eps: .*read elsewhere",
    ),
    "the same in a loop in a loop": (
        lambda z, *, a: in_turn(
            lambda x, y, e: in_turn(lambda x, y, u: (x + 0.5 * u[1], y * positive(x, u[1])), (x, y), e), (a, 1.0), z
        )[1],
        mg.Normal(np.zeros((2, 2, 2)), 1.0),
        "y \\* positive",
        "eps: .*read elsewhere",
    ),
    "the noise of the next step": (
        lambda z, *, a: in_turn(
            lambda x, y, e: (x + 0.5 * e[3], y + positive(x, e[1])), (a, 0.0), np.concatenate([z[:-1], z[1:]], 1)
        )[1],
        PAIRS,
        r"0.5 \* e\[3\]",
        "eps: .*its f, mean or scale",
    ),
    "a number behind the loop": (
        lambda z, *, a: z[2, 1] * in_turn(lambda x, y, e: (x + 0.5 * e[0], y + positive(x, e[1])), (a, 0.0), z)[1],
        PAIRS,
        r"z\[2, 1\] \*",
        "eps: .*read elsewhere",
    ),
    "one noise for all steps": (
        lambda z, *, a: mg.while_loop(
            lambda c: c[0] < 4, lambda c: (c[0] + 1.0, c[1] * positive(a, z[0, 1])), (0.0, 1.0), 8
        )[1],
        PAIRS,
        "positive",
        "eps: .*read elsewhere",
    ),
    "a bound": (mg.iwae(lambda z, *, a: positive(a, z["last"]), Q, 4), None, "", "vibrato: .*exp takes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_reads_the_noise_of_a_step_besides_is_named(name):
    f, q, line, said = WRONG[name]
    place = rf'.*test_vibrato.py", line \d+: .*{line}' if line else ""
    with pytest.raises(mg.ParameterError, match=f"^{said}{place}"):
        mg.Estimator(f, q, **GIVEN)


def test_weights_of_a_proposal_read_the_noise():
    p = mg.Joint(path=mg.Normal(np.ones(3), 1.0), last=mg.Normal(0.0, 1.0))
    with pytest.raises(mg.ParameterError, match=r"^eps: .*read elsewhere, .*by the weight of a draw of the proposal"):
        mg.Estimator(lambda z, *, a: positive(a + z["path"][0], z["last"]), Q, proposal=p, **GIVEN)


def test_parameters_of_the_noise_itself_are_refused():
    """Steps take it as standard normal: their derivatives would be zero, without a word."""
    f = lambda z, *, a: positive(a + z["path"][0], z["last"])  # noqa: E731
    with pytest.raises(
        mg.ParameterError,
        match=r"^last.loc: .*moves eps .*like last.scale; accepted: wrt=\['path.loc', 'path.scale', 'a'\]",
    ):
        mg.Estimator(f, Q, params={"a": A}, backend="numpy")
    with pytest.raises(mg.ParameterError, match=r"^a: given a parameter that moves eps"):
        mg.Estimator(lambda z, *, a: positive(z["path"][0], a * z["last"]), Q, **GIVEN)
    looped = lambda z, *, a: in_turn(lambda x, y, e: (x, y + positive(x, a * e)), (0.0, 0.0), z["path"])[1]  # noqa: E731
    with pytest.raises(mg.ParameterError, match=r"^a: given a parameter that moves eps"):
        mg.Estimator(looped, Q, **GIVEN)
    both = mg.Joint(x=mg.Normal(np.zeros(3), 1.0), y=mg.Normal(np.zeros(3), 1.0))

    def rows(z, *, a):
        columns = np.stack([z["x"], z["y"]], 1)
        return in_turn(lambda x, y, e: (x + e[0], y + positive(x, e[1])), (a, 0.0), columns)[1]

    wrt = ["a", "x.loc", "x.scale"]
    assert mg.Estimator(rows, both, params={"a": A}, wrt=wrt, backend="numpy")(100).grad["x"]["loc"].any()


def test_a_pair_of_functions_reads_all_that_it_is_given():
    pair = mg.Integrand(value=squared, value_and_grad=squared_and_grad)
    added = lambda z, *, a: positive(a + z[0], z[1]) + pair(z)  # noqa: E731
    q = mg.Normal(np.zeros(2), 1.0)
    assert mg.Estimator(added, q, **GIVEN).plan.methods["a"].name == "pathwise"
    with pytest.raises(mg.ParameterError, match=r"^eps: .*read elsewhere, .*test_vibrato.py"):
        mg.Estimator(lambda z, *, a: positive(a + z[0], z[1]) * pair(z), q, **GIVEN)
    with pytest.raises(mg.ParameterError, match=r"^vibrato: .*native_value takes"):
        mg.Estimator(lambda z, *, a: pair(np.stack([positive(a + z[0], z[1]), z[0]])), q, **GIVEN)


@numba.njit
def squared(z):
    return z[0] ** 2 + z[1] ** 2


@numba.njit
def squared_and_grad(z, grad):
    grad[0], grad[1] = 2 * z[0], 2 * z[1]
    return z[0] ** 2 + z[1] ** 2
