"""Densities that users write are tried on draws: biased scores are refused, others are not, whatever their tails."""

from typing import ClassVar

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.distributions.constraints import unit_interval
from mcgrad.gradients import score_mean, score_pilot
from tests.test_support import ROWS, SCORES, square

MOST_Z = 5.0


def own(transform, log_prob, noise="uniform", **params):
    return mg.Reparameterized(transform, params=params, noise=getattr(mg.noise, noise)(), log_prob=log_prob)


def stretched(a=2.0):
    def log_prob(z, *, a):
        return np.where((z > 0) & (z < a), -np.log(a), -np.inf)

    return own(lambda eps, *, a: a * eps, log_prob, a=a)


def moved(a=0.5):
    """As a whole: the mean of its score is zero, as its score is."""

    def log_prob(z, *, a):
        return np.where((z > a) & (z < a + 1), 0.0, -np.inf)

    return own(lambda eps, *, a: a + eps, log_prob, a=a)


def folded(a=0.5):
    def log_prob(z, *, a):
        return np.where(z > a, -0.5 * (z - a) ** 2 + 0.5 * np.log(2 / np.pi), -np.inf)

    return own(lambda eps, *, a: a + np.abs(eps), log_prob, "normal", a=a)


def normal(factor=1.0, **params):
    """Of a normalizer that is wrong unless the factor is 1."""

    def log_prob(z, *, m, s):
        return -0.5 * ((z - m) / s) ** 2 - factor * np.log(s)

    return own(lambda eps, *, m, s: m + s * eps, log_prob, "normal", **{"m": 0.3, "s": 0.8, **params})


def implicit():
    return mg.Implicit(
        cdf=lambda z, *, a: z / a, sampler=lambda u, *, a: a * u, params={"a": 2.0}, noise=mg.noise.uniform(),
        log_prob=lambda z, *, a: -np.log(a) + 0.0 * z,
    )  # fmt: skip


def flow(log_det):
    return mg.Normal(np.zeros(2), 1.0).transformed(
        lambda x, *, a: np.stack([x[0], a * x[1] + np.sin(x[0])]), params={"a": 2.0},
        inverse=lambda y, *, a: np.stack([y[0], (y[1] - np.sin(y[0])) / a]), log_det=log_det,
    )  # fmt: skip


def turned():
    """A square that turns: by symmetry means of functions of one component stay as they are, and so does the score."""

    def turn(x, *, angle):
        return np.stack([np.cos(angle) * x[0] - np.sin(angle) * x[1], np.sin(angle) * x[0] + np.cos(angle) * x[1]])

    return mg.Uniform([-1.0, -1.0], 1.0).transformed(
        turn,
        params={"angle": 0.0},
        inverse=lambda y, *, angle: turn(y, angle=-angle),
        log_det=lambda x, *, angle: 0.0 * angle,
    )


class Sinh(mg.bijections.Bijection):
    """A user's map, with an inverse that is not its own."""

    forward = staticmethod(lambda x: np.sinh(x))
    inverse = staticmethod(lambda y: 0.9 * np.arcsinh(y))
    log_det = staticmethod(lambda x: np.sum(np.log(np.cosh(x))))


BIASED = [
    (stretched(), "a", r"-0\.5 \+- 0, the same in each"),
    (moved(), "a", "h.z. d log q / d a .* standard errors"),
    (folded(), "a", "d log q / d a .* standard errors"),
    (normal(0.5), "s", "d log q / d s .* standard errors"),
    (implicit(), "a", "the same in each"),
    (flow(lambda x, *, a: 0.0 * a), "a", "standard errors|the same in each"),
    (turned(), "angle", "h.z. d log q / d angle .* standard errors"),
    (mg.Joint(x=mg.Normal(), y=folded()), "y.a", "d log q / d y.a .* standard errors"),
]


@pytest.mark.parametrize(("q", "path", "message"), BIASED, ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_biased_scores_are_refused(q, path, message, dtype):
    def f(z):
        return sum(np.sum(square(x)) for x in tree.flatten(z).values())

    for method, objective in [*((m, f) for m in SCORES), ("stl", mg.elbo(f, q)), ("dreg", mg.iwae(f, q, 4))]:
        with pytest.raises(mg.ParameterError, match=message) as caught:
            mg.estimate(objective, q, 1000, method={path: method}, wrt=path, dtype=dtype, backend="numpy")
        assert caught.value.parameter == path
        assert 'method="pathwise"' in caught.value.accepted
    assert np.isfinite(mg.estimate(f, q, 1000, wrt=path, dtype=dtype, backend="numpy").value)


def test_the_inverse_of_a_map_without_parameters_is_not_read():
    """A score holds the draw before the map: d/dloc E tanh(sinh x), by quadrature."""
    x, w = np.polynomial.hermite_e.hermegauss(120)
    x, w = 0.3 + 0.8 * x, w / w.sum()
    right = np.sum(w * np.cosh(x) * (1 - np.tanh(np.sinh(x)) ** 2))
    q = mg.Normal(0.3, 0.8).transformed(Sinh())
    est = mg.estimate(np.tanh, q, 20_000, method="score+mean", wrt="loc", backend="numpy")
    assert abs(est.grad["loc"] - right) < MOST_Z * est.grad_stderr["loc"]


def test_auto_and_compare_leave_them_out():
    q = folded()
    est = mg.estimate(square, q, 20_000, method="auto", backend="numpy")
    assert est.method == "pathwise"
    assert abs(est.grad["a"] + 0.5 + np.sqrt(2 / np.pi)) < MOST_Z * est.grad_stderr["a"]
    found = mg.compare(square, q, 1000, backend="numpy")
    assert set(SCORES) <= set(found.refused)


def test_other_parameters_are_not_refused():
    q = normal(0.5)
    est = mg.estimate(square, q, 20_000, method="score+mean", wrt="m", backend="numpy")
    assert abs(est.grad["m"] + 0.3) < MOST_Z * est.grad_stderr["m"]
    joint = mg.Joint(x=mg.Normal(0.3, 0.8), y=folded())
    est = mg.estimate(lambda z: z["x"] * z["y"], joint, 20_000, method={"x": "score+mean"}, backend="numpy")
    assert abs(est.grad["x"]["loc"] - 0.5 - np.sqrt(2 / np.pi)) < MOST_Z * est.grad_stderr["x"]["loc"]


class Coin(mg.Distribution):
    """1 with probability `probs`."""

    constraints: ClassVar = {"probs": unit_interval}
    noise_kind: ClassVar = "uniform"

    def __init__(self, probs):
        super().__init__(probs=probs)

    transform = staticmethod(lambda eps, *, probs: np.where(eps < probs, 1.0, 0.0))
    log_density = staticmethod(lambda z, *, probs: np.sum(z * np.log(probs) + (1 - z) * np.log1p(-probs)))


def chosen(p=0.3):
    """One of two normals; draws jump as p moves, and the density is right."""

    def transform(eps, *, p):
        return np.where(eps["which"] < p, -1.0, 1.0) + 0.5 * eps["x"]

    def log_prob(z, *, p):
        return np.logaddexp(np.log(p) - 2 * (z + 1) ** 2, np.log1p(-p) - 2 * (z - 1) ** 2)

    noise = {"which": mg.noise.uniform(), "x": mg.noise.normal()}
    return mg.Reparameterized(transform, params={"p": p}, noise=noise, log_prob=log_prob)


def pole(a=0.3):
    """1 / (eps - a): the draw has a pole, which moves."""
    return own(
        lambda eps, *, a: 1 / (eps - a), lambda z, *, a: -0.5 * (a + 1 / z) ** 2 - 2 * np.log(np.abs(z)), "normal", a=a
    )


def steep(power):
    """a + a gamma variable of that concentration: a score with P(-s > t) ~ t**-power, of mean zero above 1."""

    def transform(eps, *, a):
        return a + mg.Gamma.transform(eps, concentration=power, rate=1.0)

    return own(transform, lambda z, *, a: (power - 1) * np.log(z - a) - (z - a), "normal", a=0.0)


def student(scale=1.0):
    def transform(eps, *, scale):
        return scale * np.tan(np.pi * (eps - 0.5))

    return own(transform, lambda z, *, scale: -np.log1p((z / scale) ** 2) - np.log(scale), scale=scale)


def heavy(s=1.0):
    """Log-normal of log scale 3: E z is e**4.5 medians."""
    return own(
        lambda eps, *, s: s * np.exp(3 * eps),
        lambda z, *, s: -0.5 * (np.log(z / s) / 3) ** 2 - np.log(z),
        "normal",
        s=s,
    )


SOUND = {
    "normal": normal(), "normal of float32": normal(m=np.float32(0.3), s=np.float32(0.8)), "tiny": normal(s=1e-12),
    "large": normal(m=1e9, s=1e3), "coin": Coin([0.3, 0.6]), "chosen": chosen(), "pole": pole(), "steep": steep(1.5),
    "steep, of a variance": steep(2.5), "cauchy": student(), "heavy": heavy(),
    "flow": flow(lambda x, *, a: np.log(a)),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_scores_are_not_refused(name, monkeypatch):
    q = SOUND[name]
    for seed in range(4):
        monkeypatch.setattr(score_pilot, "SEED", seed)
        assert score_pilot.biases(q, list(q.flat_params)) == {}


def test_draws_that_are_not_finite_do_not_count():
    q = own(
        lambda eps, *, s: s * np.exp(1e3 * eps),
        lambda z, *, s: -0.5 * (np.log(z / s) / 1e3) ** 2 - np.log(z),
        "normal",
        s=1.0,
    )
    assert score_pilot.biases(q, ["s"]) == {}  # draws are 0 or infinite but for the fewest
    q = own(lambda eps, *, s: s * eps, lambda z, *, s: np.sqrt(-np.square(z) - s), "normal", s=1.0)
    assert score_pilot.biases(q, ["s"]) == {}  # no draw has a score


def test_a_right_density_where_draws_jump_has_the_right_gradient():
    est = mg.estimate(square, chosen(), 40_000, method="score+mean", backend="numpy")
    assert abs(est.grad["p"]) < MOST_Z * est.grad_stderr["p"]  # both components have one mean square
    est = mg.estimate(lambda z: z, chosen(), 40_000, method="score+mean", backend="numpy")
    assert abs(est.grad["p"] + 2.0) < MOST_Z * est.grad_stderr["p"]


FAINT = ("Triangular", "VonMises, by moments of a quotient")  # the density at the moving ends is zero, or small


@pytest.mark.parametrize("name", ROWS)
def test_of_our_families_exactly_the_moving_parameters_are_found(name):
    q = ROWS[name]
    paths, moving = list(q.flat_params), set(q.support.moving) & set(q.flat_params)
    if name == "GeneralizedPareto":  # its other end has a density for concentrations of -1 and less
        moving -= {"scale", "concentration"}
    found = set(score_pilot.biases(q, paths))
    assert found == (set() if name in FAINT else moving)


def test_our_families_are_not_tried(monkeypatch):
    monkeypatch.setattr(score_mean, "biases", None)
    for q in (mg.Normal(), mg.Normal().transformed(mg.bijections.Exp()), ROWS["Mixture"], mg.Joint(a=mg.Normal())):
        mg.estimate(lambda z: sum(np.sum(x) for x in tree.flatten(z).values()), q, 100, method="score", backend="numpy")
    with pytest.raises(TypeError, match="not callable"):
        mg.estimate(np.sum, Coin(0.3), 100, method="score", backend="numpy")


ZERO = {"VonMises": {"loc"}, "Triangular": {"low", "high"}, "GeneralizedPareto": {"scale", "concentration"}}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_the_mean_of_the_score(name, dtype):
    """Of the density alone: the gradient of its logarithm in parameters of the integrand, which are q's twice."""
    q = ROWS[name]
    names = {path.replace(".", "_") + "_": path for path in q.flat_params}

    def f(z, **params):
        return q.log_prob(z, **tree.unflatten({names[name]: x for name, x in params.items()}))

    params = {name: q.flat_params[path] for name, path in names.items()}
    est = mg.estimate(f, q, 8000, params=params, wrt=list(names), dtype=dtype, backend="numpy")
    for other, path in names.items():
        mean, stderr = (np.where(q.free.get(path, True), x, 0.0) for x in (est.grad[other], est.grad_stderr[other]))
        far = np.any(np.abs(mean) > MOST_Z * stderr + 1e-4)
        nonzero = path in q.support.moving and path not in ZERO.get(type(q).__name__, ())
        assert far == nonzero, path
