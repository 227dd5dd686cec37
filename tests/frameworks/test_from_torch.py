"""Integrands written in PyTorch: the numbers of PyTorch, and the estimates of their NumPy twins."""

import pickle

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.differentiate.modes import gradient
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F, D = torch.nn.functional, torch.distributions

RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((50, 3)), RNG.random(50).round(), RNG.standard_normal((3, 4))
V = np.array([-1.7, -0.4, 0.3, 0.9, 2.6])
TABLE = torch.tensor(np.sin(np.arange(90.0)))
M = RNG.standard_normal((3, 4))
HALVES = np.array([-1.5, -0.5, 0.5, 1.5, 2.5])
PD = M @ M.T + np.eye(3)
L = np.linalg.cholesky(PD)
I = torch.tensor([2, 0, 2])  # noqa: E741


def tensor(x):
    return torch.tensor(np.asarray(x))


def in_place(a):
    out = torch.zeros(3, 4, dtype=a.dtype)
    out[0] = a[1]
    out[1:, 0] += a[1:, 1] * 2
    out[:, 3] = 1.0
    out[I[:2], I[:2]] = a[0, :2]
    total = a.sum()
    total += 1.0
    total *= a[0, 0]
    return out + total


def nested(a):
    inside = torch.vmap(lambda row: torch.where(row[0] > 0, row.sum(), row.max()))(a)
    return inside + torch.func.grad(lambda b: (torch.sin(b) ** 3).sum())(a[:, 0])


FUNCTIONS = {
    # elementwise
    "arithmetic": (lambda a: (a + 2) * a / (1 + a**2) - -a + torch.add(a, a, alpha=0.5) + torch.rsub(a, 2, alpha=3), V),
    "powers": (lambda a: a**3 + a**-2 + a.square() + (1 + a * a).rsqrt() + a.abs() ** 1.7 + 2.0**a + a.reciprocal(), V),
    "exponentials": (lambda a: a.exp() + a.expm1() + a.exp2() + (a * a).log1p() + a.abs().log() + (a * a).log10(), V),
    "angles": (lambda a: a.sin() + a.cos() + a.tan() + a.atan() + torch.atan2(a, 1 + a * a) + torch.deg2rad(a), V),
    "arcs": (lambda a: (a / 3).asin() + (a / 3).acos() + a.asinh() + (a / 3).atanh() + (1 + a * a).acosh(), V),
    "hyperbolic": (lambda a: a.sinh() + a.cosh() + a.tanh() + torch.hypot(a, tensor(2.0)) + torch.sinc(a), V),
    "special": (lambda a: a.erf() + a.erfc() + (a * a).lgamma() + (a * a).digamma() + (a / 3).erfinv(), V),
    "special.": (lambda a: torch.special.ndtr(a) + torch.special.log_ndtr(a) + torch.special.xlog1py(a, a * a), V),
    "round": (lambda a: a.round() + a.floor() + a.ceil() + a.sign() + a.trunc() + a.frac(), HALVES),
    "remainders": (lambda a: a % 0.7 + a // 0.7 + torch.fmod(a, 0.7) + torch.div(a, 0.7, rounding_mode="trunc"), V),
    "comparisons": (
        lambda a: torch.where((a > 0) & ~(a >= 2) | (a < -1) ^ (a <= -3), a, 2 * a) + (a == 0.3).double(),
        V,
    ),
    "choices": (lambda a: a.clamp(-1, 1) + a.clamp(min=0.2) + torch.maximum(a, -a) + a.masked_fill(a > 1, 3.0), V),
    "activations": (lambda a: F.relu(a) + F.gelu(a) + F.silu(a) + F.elu(a, 0.7) + F.softplus(a, 2.0) + F.selu(a), V),
    "more activations": (lambda a: F.gelu(a, approximate="tanh") + F.leaky_relu(a) + F.mish(a) + F.hardswish(a), V),
    "still more": (lambda a: F.logsigmoid(a) + a.sigmoid() + F.hardtanh(a) + F.hardsigmoid(a) + F.softsign(a), V),
    "lerp": (
        lambda a: torch.lerp(a, a * a, 0.3) + torch.addcmul(a, a, a, value=0.5) + torch.addcdiv(a, a, 1 + a * a),
        V,
    ),
    "integers": (lambda a: (a > 0).sum() // 2 + a.long() + (a > 0).double().mean() + (a > 0) * a, V),
    "logs": (lambda a: torch.logaddexp(a, -a) + torch.xlogy(a, a * a) + torch.logit(a.sigmoid()), V),
    # reductions, running versions, products
    "sums": (lambda a: a.sum(0) + a.mean() + a.prod(0) + a.amax(0) - a.amin(0) + a.std() + a.var(1).sum(), M),
    "extremes": (lambda a: a.max(0).values + a.min(1, keepdim=True).values + a.max() + torch.max(a, -a), M),
    "truths": (lambda a: (a > 0).any(0) * 1.0 + (a > -1).all(0) + torch.var(a, 0, unbiased=False), M),
    "softmax": (
        lambda a: a.softmax(0) + a.log_softmax(1) + a.logsumexp(1, keepdim=True) + torch.logsumexp(a, (0, 1)),
        M,
    ),
    "running": (lambda a: a.cumsum(1) + a.cumprod(0) + a.cummax(1).values + a.cummin(0).values, M),
    "products": (lambda a: a @ a.T + torch.einsum("ik,jk,k->ij", a, a, a[0]) + (a @ a[0])[:, None] + a[0].dot(a[0]), M),
    "batched product": (lambda a: torch.bmm(a[:, :, None], a[:, None]) + torch.tensordot(a, a, ([0], [0])), M),
    "linear": (lambda a: F.linear(a, tensor(W.T[:, :1] @ np.ones((1, 4))), tensor(W[0])), M),
    "linear of a vector": (lambda a: F.linear(a[0], tensor(W), tensor(W[:, 0])) + F.linear(a[1], tensor(W)), M),
    "norms": (
        lambda a: a.norm() + torch.linalg.norm(a, dim=1).sum() + a.norm(1) + F.normalize(a) + a.norm(dim=0, p=3),
        M,
    ),
    "trace": (lambda a: torch.trace(a[:, :3]) + a[:, :3].diagonal().sum() + torch.outer(a[0], a[1]).sum(), M),
    "layer norm": (lambda a: F.layer_norm(a, (4,), tensor(W[0]), tensor(W[1])) + F.group_norm(a[None], 1)[0], M),
    "losses": (
        lambda a: F.mse_loss(a, a * a) + F.smooth_l1_loss(a, 2 * a) + F.huber_loss(a, 2 * a) + F.l1_loss(a, a + 1),
        M,
    ),
    "cross entropies": (
        lambda a: (
            F.binary_cross_entropy_with_logits(a, tensor(M > 0).double(), pos_weight=tensor(2.0))
            + F.binary_cross_entropy(a.sigmoid(), tensor(M > 0).double())
            + F.cross_entropy(a, I)
        ),
        M,
    ),
    # shapes
    "shapes": (lambda a: a.T.reshape(2, 6)[:, None].squeeze(1).flatten().flip(0) + a[0, 0].expand(12) + a.view(-1), M),
    "slices": (lambda a: a[0, 1:] + a[-1, ::2].sum() + a[:, -1] + a[..., 0] + a.narrow(1, 1, 2).sum(), M),
    "joined": (lambda a: torch.cat([a, a[:1]]) + torch.stack([a[0]] * 4) + torch.vstack([a, a[1]]), M),
    "padded": (lambda a: F.pad(a, (1, -1, 0, 2), value=0.5) + F.pad(a, (0, 0, 1, 1)), M),
    "split": (
        lambda a: (
            a.split(2, 1)[1] * a.roll(1, 0)[:, :2] + a.chunk(2, 1)[0] + a.unbind(0)[1][:2] + a.repeat(1, 2)[:, 3:5]
        ),
        M,
    ),
    "triangle": (lambda a: a[:, :3].tril() + a[:, 1:].triu() + torch.diag(a[0, :3]) + torch.diag_embed(a[0, :3]), M),
    "swapped": (lambda a: a.transpose(0, 1).permute(1, 0) + a.movedim(0, 1).mT + a.unfold(1, 2, 1).sum(), M),
    # indices
    "index": (
        lambda a: a[I] + a[I, I].sum() + a[torch.tensor([True, False, True])].sum() + a.index_select(1, I).sum(),
        M,
    ),
    "traced indices": (
        lambda a: (
            a[a[0].abs().long()].sum()
            + a[:, a[0, :2].floor().long()].sum()
            + TABLE[(9 * a * a).long()]
            + a.gather(1, (a > 0).long())
            + a.index_select(0, a[:, 0].abs().long()).sum()
            + F.embedding((a > 0).long(), a).sum(-1)
        ),
        M,
    ),
    "gather": (lambda a: a.gather(1, I[:, None]) + torch.take_along_dim(a, I[None, :, None].squeeze(0), 1), M),
    "embedding": (lambda a: F.embedding(I, a) + F.one_hot(I, 4), M),
    "in place": (in_place, M),
    "scatter": (lambda a: a.scatter(1, I[:, None], 7.0).scatter_add(0, I[None, :], a[:1, :3]).index_add(0, I, a), M),
    "index_put": (lambda a: a.index_put((I, I), a[:, 0], accumulate=True) + a.masked_fill(tensor(M > 0), 0.0), M),
    # linear algebra
    "triangular": (lambda a: torch.linalg.solve_triangular(tensor(L), a, upper=False), M),
    "upper": (lambda a: torch.linalg.solve_triangular(a, tensor(M.T), upper=True, left=False), L.T),
    "cholesky": (lambda a: torch.linalg.cholesky(a), PD),
    # distributions
    "normal": (lambda a: D.Normal(a, a * a).log_prob(a) + D.Normal(tensor(0.3), tensor(2.0)).log_prob(a), V),
    "discrete": (
        lambda a: D.Bernoulli(logits=a).log_prob(tensor(V > 0).double()) + D.Categorical(logits=a).log_prob(I[0]),
        V,
    ),
    "positive": (lambda a: D.Gamma(a * a, 2.0).log_prob(a * a) + D.Beta(a * a, 2 * a * a).log_prob(a.sigmoid()), V),
    "heavy": (
        lambda a: (
            D.StudentT(tensor(3.0)).log_prob(a)
            + D.Laplace(a, 1.0).log_prob(2 * a)
            + D.Poisson(a * a).log_prob(tensor(2.0))
        ),
        V,
    ),
    "multivariate": (lambda a: D.MultivariateNormal(a[:, 0], scale_tril=tensor(L)).log_prob(a[:, 1]), M),
    "independent": (
        lambda a: (
            D.Independent(D.Normal(a, 1.0), 1).log_prob(a * 2)
            + D.kl_divergence(D.Normal(a[:, 0], 1.0), D.Normal(0.0, 2.0))
        ),
        M,
    ),
    # functions of functions
    "nested": (nested, M),
    "checkpoint": (lambda a: torch.utils.checkpoint.checkpoint(torch.sin, a, use_reentrant=False), V),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_numbers_of_torch(name):
    function, x = FUNCTIONS[name]
    right = function(tensor(x)).numpy()
    ours, given = mg.from_torch(function), build.input_("x", x.shape)
    tolerance = {"rtol": 1e-12, "atol": 1e-13} if right.dtype == float else {"rtol": 2e-7}
    np.testing.assert_allclose(ours(x), right, **tolerance)
    traced = trace(ours, (given,), {})
    (value,) = interpret([traced], {given: x[..., None]}, "float64")
    assert traced.shape == right.shape
    np.testing.assert_allclose(value[..., 0], right, **tolerance)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - {"remainders", "cholesky"}))  # torch has none; it is of a + a.T
def test_the_derivatives_of_torch(name):
    function, x = FUNCTIONS[name]
    at = tensor(x).requires_grad_()
    weights = torch.sin(torch.arange(function(at).numel(), dtype=at.dtype)).reshape(function(at).shape)
    (function(at) * weights).sum().backward()
    given = build.input_("x", x.shape)
    (slope,) = gradient(trace(mg.from_torch(lambda a: (function(a) * weights).sum()), (given,), {}), [given])
    (value,) = interpret([slope], {given: x[..., None]}, "float64")
    np.testing.assert_allclose(value[..., 0], at.grad, rtol=1e-7, atol=1e-7)


# --- as an integrand -------------------------------------------------------------------------------------------------
Q = mg.Normal(np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.0, 0.7]))
REGRESSION = {"params": {"tau": 1.5}, "data": {"X": X, "y": Y}}
torch.manual_seed(0)
DECODER = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 5))
IMAGE = np.array([1.0, 0.0, 1.0, 1.0, 0.0])


def log_joint(z, *, tau, X, y):
    return -F.binary_cross_entropy_with_logits(X @ z, y, reduction="sum") - 0.5 * tau * (z**2).sum()


def log_joint_in_numpy(z, *, tau, X, y):
    logits = X @ z
    return -np.sum((1 - y) * logits + np.logaddexp(-logits, 0.0)) - 0.5 * tau * np.sum(z**2)


def likelihood(z, x):
    return D.Bernoulli(logits=DECODER(z)).log_prob(x).sum()


def likelihood_in_numpy(z, x, decoder):
    hidden = np.tanh(decoder["0"]["weight"] @ z + decoder["0"]["bias"])
    logits = decoder["2"]["weight"] @ hidden + decoder["2"]["bias"]
    return np.sum(x * logits - np.logaddexp(logits, 0.0))


def close(ours, right):
    assert ours.value == pytest.approx(right.value, rel=1e-12)
    assert list(tree.flatten(ours.grad)) == list(tree.flatten(right.grad))
    for path, slope in tree.flatten(ours.grad).items():
        np.testing.assert_allclose(slope, tree.flatten(right.grad)[path], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "choices", [{"backend": "cpu"}, {"backend": "numpy", "method": "score"}, {"backend": "numpy", "method": "pathwise"}]
)
def test_estimates_are_those_of_the_numpy_function(choices):
    for seed in (3, 4):
        close(*(mg.estimate(g, Q, 500, seed=seed, **choices, **REGRESSION)
                for g in (mg.from_torch(log_joint), log_joint_in_numpy)))  # fmt: skip


def test_objectives_and_verification():
    close(*(mg.estimate(mg.elbo(f, Q), n=500, **REGRESSION) for f in (mg.from_torch(log_joint), log_joint_in_numpy)))
    assert mg.verify(mg.from_torch(log_joint), Q, 2000, backends="cpu", **REGRESSION).ok


def test_parameters_of_modules():
    f = mg.from_torch(likelihood, decoder=DECODER)
    given = {"data": {"x": IMAGE}, "backend": "numpy"}
    close(
        mg.estimate(f, Q, 400, params=f.params, **given),
        mg.estimate(likelihood_in_numpy, Q, 400, params=f.params, **given),
    )
    constant = mg.estimate(f, Q, 400, **given)  # as they are
    assert constant.value == pytest.approx(mg.estimate(f, Q, 400, params=f.params, **given).value, rel=1e-12)
    assert f.tensors["decoder"]["0"]["weight"] is DECODER[0].weight
    some = mg.estimate(f, Q, 400, params={"decoder": {"2": {"bias": np.zeros(5)}}}, **given)
    assert list(tree.flatten(some.grad)) == ["loc", "scale", "decoder.2.bias"]
    with pytest.raises(mg.ParameterError, match=r"decoder\.0\.weight: given shape \(2,\); accepted: shape \(4, 3\)"):
        mg.estimate(f, Q, 400, params={"decoder": {"0": {"weight": np.zeros(2)}}}, **given)
    with pytest.raises(mg.ParameterError, match=r"decoder\.7: given no parameter of the module"):
        mg.estimate(f, Q, 400, params={"decoder": {"7": np.zeros(2)}}, **given)
    with pytest.raises(mg.ParameterError, match="given 3; accepted: a torch"):
        mg.from_torch(likelihood, decoder=3)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = torch.nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))
        self.register_buffer("centre", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, z, weight):
        return weight * D.Normal(self.centre, self.log_scale.exp()).log_prob(z).sum()


def test_a_module_is_an_integrand():
    f = mg.from_torch(Model())
    ours = mg.estimate(f, Q, 300, params={**f.params, "weight": 2.0}, backend="numpy")

    def right(z, log_scale, weight):
        return weight * np.sum(mg.Normal.log_prob(z, loc=np.arange(1.0, 4.0), scale=np.exp(log_scale)))

    twin = mg.estimate(right, Q, 300, params={**f.params, "weight": 2.0}, backend="numpy")
    assert ours.value == pytest.approx(twin.value, rel=1e-12)
    np.testing.assert_allclose(ours.grad["log_scale"], twin.grad["log_scale"], rtol=1e-11)
    with pytest.raises(mg.ParameterError, match=r"params\['rho'\].*weight, log_scale"):
        mg.estimate(f, Q, 300, params={"rho": 1.0})


def test_what_is_compiled_runs_as_it_was_written():
    f = mg.from_torch(torch.compile(likelihood, backend="eager"), decoder=torch.compile(DECODER, backend="eager"))
    assert list(f.params["decoder"]) == ["0", "2"]
    given = {"params": f.params, "data": {"x": IMAGE}, "backend": "numpy"}
    close(mg.estimate(f, Q, 400, **given), mg.estimate(likelihood_in_numpy, Q, 400, **given))


def test_expectations_of_tensors_move_the_parameters_of_modules():
    f = mg.from_torch(likelihood, decoder=DECODER)
    est = mg.estimate(f, Q, 400, params=f.params, data={"x": IMAGE}, seed=5)
    mg.torch.expectation(f, Q, 400, params=f.tensors, data={"x": torch.tensor(IMAGE)}, seed=5).backward()
    np.testing.assert_allclose(DECODER[0].weight.grad, est.grad["decoder"]["0"]["weight"], rtol=1e-4, atol=1e-5)


def test_widths_meet_in_any_operator():
    attention, x = torch.nn.MultiheadAttention(4, 2).eval(), np.linspace(0.0, 1.0, 12).reshape(3, 4)
    ours = mg.from_torch(lambda z: attention(z, z, z)[0] + DECODER[2](torch.zeros(4, dtype=z.dtype))[:4])(x)
    right = attention.double()(*[tensor(x)] * 3)[0] + DECODER[2](torch.zeros(4))[:4]
    np.testing.assert_allclose(ours, right.detach(), rtol=1e-6)


def test_stopped_gradients():
    def by_detach(z):
        return (z * z.detach()).sum() + (z * z.data).sum()

    def by_no_grad(z):
        with torch.no_grad():
            weight = torch.sin(z)
        return (z * weight).sum()

    q = mg.Normal(np.ones(2), 0.0001)
    np.testing.assert_allclose(mg.estimate(mg.from_torch(by_detach), q, 100).grad["loc"], 2.0, atol=1e-3)
    for outside in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with outside():
            est = mg.estimate(mg.from_torch(by_no_grad), q, 100)
        np.testing.assert_allclose(est.grad["loc"], np.sin(1.0), atol=1e-3)


def test_integers_of_data_index():
    groups = np.array([0, 1, 1, 2])
    f = mg.from_torch(lambda z, groups: sum(z[int(g)] for g in groups) + (z[groups] ** 2).sum())
    ours = mg.estimate(f, Q, 200, data={"groups": groups})
    right = mg.estimate(lambda z, groups: np.sum(z[groups]) + np.sum(z[groups] ** 2), Q, 200, data={"groups": groups})
    assert ours.value == pytest.approx(right.value, rel=1e-12)


def test_jump_warnings_name_the_line_of_f():
    def f(z):
        return torch.where(z[0] > 0.3, 1.0, 0.0)  # this line

    with pytest.warns(mg.JumpWarning, match=rf"line {f.__code__.co_firstlineno + 1}"):
        mg.estimate(mg.from_torch(f), Q, 2000, method="pathwise")


def test_validation_of_distributions_is_as_before(monkeypatch):
    for validated in (True, False):  # torch.compile leaves it off
        monkeypatch.setattr(D.Distribution, "_validate_args", validated)
        mg.estimate(mg.from_torch(lambda z: D.Normal(z, z).log_prob(z).sum()), Q, 100)
        assert D.Distribution._validate_args is validated


def test_without_from_torch_the_error_says_so():
    with pytest.raises(mg.TraceError, match=r"give mg\.from_torch\(f\) for f"):
        mg.estimate(lambda z: torch.sin(z).sum(), Q, 100)


@mg.from_torch
def decorated(z):
    """The sum."""
    return z.sum()


def test_the_function_it_makes():
    plain = mg.from_torch(log_joint)
    assert (repr(plain), plain.__name__, decorated.__doc__) == ("from_torch(log_joint)", "log_joint", "The sum.")
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert pickle.loads(pickle.dumps(plain)).function is log_joint
    copy = pickle.loads(pickle.dumps(mg.from_torch(likelihood, decoder=DECODER)))
    assert next(iter(tree.flatten(copy.params))) == "decoder.0.weight"
    closure = pickle.loads(numba.cloudpickle.dumps(mg.from_torch(lambda z: (tensor(W.T) @ z).sum())))
    np.testing.assert_allclose(closure(np.ones(3)), W.sum(), rtol=1e-12)
    x = torch.ones(3, requires_grad=True)
    decorated(x).backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    assert decorated(np.array([1.0, 2.0])) == 3.0
