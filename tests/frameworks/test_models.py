"""Whole models written in JAX and in PyTorch: the value and the gradients of the framework, for the same draws."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree

RNG = np.random.default_rng(0)
X = np.sort(RNG.uniform(-2.0, 2.0, 12))
Y = np.sin(2 * X) + 0.1 * RNG.standard_normal(12)
INDUCING = np.linspace(-2.0, 2.0, 6)
HYPERPARAMETERS = {"log_length": -0.3, "log_amplitude": 0.1, "log_noise": -1.0}
OBSERVED = np.cumsum(RNG.standard_normal((20, 2)), 0)
N = 5
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def estimated(f, q, params):
    """The estimate, and the noise of its draws."""
    found = mg.estimate(f, q, N, params=params, seed=3, backend="numpy", method="pathwise")
    return found, (q.sample(N, seed=3) - q.params["loc"]) / q.params["scale"]


def close(found, value, grad):
    assert found.value == pytest.approx(value, rel=1e-10)
    for path, given in tree.flatten(found.grad).items():
        np.testing.assert_allclose(given, grad[path], rtol=1e-8, atol=1e-9 * np.max(np.abs(grad[path])))


def of_jax(f, q, params):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    found, noise = estimated(mg.from_jax(f), q, params)

    def mean(given):
        draws = given["loc"] + given["scale"] * noise
        return jax.numpy.mean(jax.vmap(lambda z: f(z, **{name: given[name] for name in params}))(draws))

    with jax.enable_x64(True):
        value, grad = jax.jit(jax.value_and_grad(mean), compiler_options=QUICKLY)({**params, **q.params})
    close(found, float(value), grad)


def of_torch(f, q, params, tensors=None):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    given = mg.from_torch(f)
    found, noise = estimated(given, q, given.params if tensors else params)
    own = {name: torch.tensor(np.asarray(x, float), requires_grad=True)
           for name, x in {**params, **q.params}.items()}  # fmt: skip
    others = [own[name] for name in params]
    value = sum(f(own["loc"] + own["scale"] * torch.tensor(e), *others) for e in noise) / N
    value.backward()
    grad = {name: x.grad.numpy() for name, x in {**own, **(tensors or {})}.items()}
    close(found, value.item(), grad)


def test_sparse_gaussian_process_in_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    jnp, stats = jax.numpy, jax.scipy.stats

    def bound(u, *, log_length, log_amplitude, log_noise):
        length, amplitude, noise = (jnp.exp(x) for x in (log_length, log_amplitude, log_noise))

        def kernel(a, b):
            return amplitude**2 * jnp.exp(-0.5 * ((a[:, None] - b) / length) ** 2)

        factor = jnp.linalg.cholesky(kernel(INDUCING, INDUCING) + 1e-3 * jnp.eye(6))
        half = jax.scipy.linalg.solve_triangular(factor, kernel(INDUCING, X), lower=True)
        left = jnp.sum(amplitude**2 - jnp.sum(half**2, 0))
        marginal = stats.multivariate_normal.logpdf(Y, jnp.zeros(12), half.T @ half + noise**2 * jnp.eye(12))
        return jnp.sum(stats.norm.logpdf(Y, half.T @ u, noise)) - 0.5 * left / noise**2 - 0.5 * u @ u + marginal

    of_jax(bound, mg.Normal(np.zeros(6), np.full(6, 0.3)), HYPERPARAMETERS)


def test_kalman_filter_in_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    jnp = jax.numpy

    def log_likelihood(z, *, drift, process, noise):
        moves = jnp.array([[1.0, drift], [0.0, 0.9]])

        def step(carry, observed):
            mean, cov = carry
            mean, cov = moves @ mean, moves @ cov @ moves.T + process * jnp.eye(2)
            total = cov + noise * jnp.eye(2) + jnp.diag(jnp.exp(z))
            gain = jnp.linalg.solve(total, cov).T
            density = jax.scipy.stats.multivariate_normal.logpdf(observed, mean, total)
            return (mean + gain @ (observed - mean), cov - gain @ cov), density

        return jnp.sum(jax.lax.scan(step, (jnp.zeros(2), jnp.eye(2)), OBSERVED)[1])

    of_jax(log_likelihood, mg.Normal(np.zeros(2), np.full(2, 0.2)), {"drift": 0.5, "process": 0.3, "noise": 0.4})


def test_sparse_gaussian_process_in_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, y, inducing, eye = (torch.tensor(given) for given in (X, Y, INDUCING, np.eye(12)))

    def bound(u, log_length, log_amplitude, log_noise):
        length, amplitude, noise = log_length.exp(), log_amplitude.exp(), log_noise.exp()

        def kernel(a, b):
            return amplitude**2 * torch.exp(-0.5 * ((a[:, None] - b) / length) ** 2)

        factor = torch.linalg.cholesky(kernel(inducing, inducing) + 1e-3 * eye[:6, :6])
        half = torch.linalg.solve_triangular(factor, kernel(inducing, x), upper=False)
        left = (amplitude**2 - (half**2).sum(0)).sum()
        cov = half.T @ half + noise**2 * eye
        marginal = torch.distributions.MultivariateNormal(torch.zeros_like(y), cov).log_prob(y)
        density = torch.distributions.Normal(half.T @ u, noise).log_prob(y).sum()
        return density - 0.5 * left / noise**2 - 0.5 * u @ u + marginal

    of_torch(bound, mg.Normal(np.zeros(6), np.full(6, 0.3)), HYPERPARAMETERS)


def test_normalising_flow_in_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)

    class Coupling(torch.nn.Module):
        def __init__(self, flipped):
            super().__init__()
            self.flipped = flipped
            self.net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).double()

        def forward(self, z):
            kept, moved = z.chunk(2)[::-1] if self.flipped else z.chunk(2)
            log_scale, shift = self.net(kept).chunk(2)
            log_scale = torch.tanh(log_scale)
            moved = moved * log_scale.exp() + shift
            return torch.cat((moved, kept) if self.flipped else (kept, moved)), log_scale.sum()

    class Planar(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.u = (torch.nn.Parameter(torch.randn(4, dtype=torch.float64)) for _ in range(2))

        def forward(self, z):
            product = self.w @ self.u
            u = self.u + (torch.nn.functional.softplus(product) - 1 - product) * self.w / (self.w @ self.w)
            h = torch.tanh(self.w @ z)
            return z + u * h, torch.log(torch.abs(1 + (1 - h**2) * (u @ self.w)))

    class Flow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Coupling(False), Coupling(True), Planar()])

        def forward(self, z):
            log_det = 0.0
            for layer in self.layers:
                z, more = layer(z)
                log_det = log_det + more
            return -0.5 * ((z - 1) ** 2).sum() - 0.1 * (z**4).sum() + log_det

    flow = Flow()
    of_torch(flow, mg.Normal(np.zeros(4), np.ones(4)), {}, dict(flow.named_parameters()))
