"""Expectations of tensors: values and gradients are those of `mg.estimate`, at the same seed."""

import functools

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation, estimate = mg.torch.expectation, mg.torch.estimate
from mcgrad.torch import problems  # noqa: E402  it needs torch


def f(z, w, x):
    return np.sum(np.square(z - w) * x)


def tensors(dtype=torch.float64, **grad):
    made = {
        "loc": torch.tensor([0.3, -0.2, 0.1], dtype=dtype),
        "scale": torch.tensor([1.0, 0.5, 2.0], dtype=dtype),
        "w": torch.tensor([0.5, 0.0, -1.0], dtype=dtype),
        "x": torch.tensor([1.0, 2.0, 3.0], dtype=dtype),
    }
    return {name: x.requires_grad_(name != "x" and grad.get(name, True)) for name, x in made.items()}


def of(t, n=2000, function=expectation, **options):
    own = {"loc": t["loc"], "scale": t["scale"]}
    return function(f, mg.Normal, n, params={"w": t["w"]}, data={"x": t["x"]}, **own, **options)


@functools.cache
def right(dtype="float64", n=2000, seed=5):
    t = {name: x.detach().numpy().astype(dtype) for name, x in tensors().items()}
    return mg.Estimator(f, mg.Normal(t["loc"], t["scale"]), params={"w": t["w"]}, data={"x": t["x"]})(n, seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient(dtype):
    t, est = tensors(dtype), right(str(dtype).rpartition(".")[2])
    value = of(t, seed=5)
    assert value.dtype == dtype
    assert value.item() == np.asarray(est.value, np.dtype(est.dtype))
    (3 * value).backward()
    for name, x in t.items():
        if name == "x":
            assert x.grad is None
        else:
            np.testing.assert_allclose(
                x.grad.numpy(), 3 * est.grad[name], rtol=1e-6 if dtype == torch.float32 else 1e-14
            )


def test_order_of_the_parameters_and_tensors_that_need_no_gradient():
    t, est = tensors(loc=False), right()
    value = expectation(
        f, mg.Normal, 2000, scale=t["scale"], loc=t["loc"], params={"w": t["w"]}, data={"x": t["x"]}, seed=5
    )
    value.backward()
    assert t["loc"].grad is None
    np.testing.assert_allclose(t["scale"].grad, est.grad["scale"], rtol=1e-14)
    np.testing.assert_allclose(t["w"].grad, est.grad["w"], rtol=1e-14)


def test_standard_errors():
    t, est = tensors(scale=False), right()
    found = of(t, function=estimate, seed=5)
    assert found.value.item() == of(t, seed=5).item()
    assert (found.stderr.item(), found.nonfinite.item()) == (est.stderr, 0)
    for name in ("loc", "scale", "w"):
        np.testing.assert_array_equal(found.grad[name], est.grad[name])
        np.testing.assert_array_equal(found.grad_stderr[name], est.grad_stderr[name])
    assert not any(x.requires_grad for x in (found.stderr, found.grad["loc"], found.grad_stderr["loc"]))
    found.value.backward()
    np.testing.assert_allclose(t["w"].grad, est.grad["w"], rtol=1e-14)


def test_without_a_gradient_the_value_alone_is_computed():
    t = tensors()
    with torch.no_grad():
        value = of(t, seed=5)
    assert not value.requires_grad
    assert value.item() == pytest.approx(right().value, rel=1e-12)
    assert problems.problem(max(problems._by_number)).wrt == ()


def test_gradcheck():
    t = tensors()

    def at(loc, scale, w):
        return of({"loc": loc, "scale": scale, "w": w, "x": t["x"]}, n=64, seed=1)

    assert torch.autograd.gradcheck(at, (t["loc"], t["scale"], t["w"]))


def test_one_estimator_serves_a_loop_of_training():
    t = tensors()
    of(t)
    before = max(problems._by_number)

    def weighted(weight, seed=None):
        return expectation(lambda z: np.sum(z) * weight, mg.Normal, 100, loc=t["loc"], scale=t["scale"], seed=seed)

    for _ in range(3):
        weighted(2.0).backward()
        of({name: (x * 1.5).detach().requires_grad_(name != "x") for name, x in t.items()})
    assert max(problems._by_number) == before + 1
    assert weighted(3.0, seed=1).item() == pytest.approx(1.5 * weighted(2.0, seed=1).item(), rel=1e-12)
    assert max(problems._by_number) == before + 2


def test_seeds():
    t = tensors()
    torch.manual_seed(3)
    first, second = of(t).item(), of(t).item()
    assert first != second
    torch.manual_seed(3)
    assert (of(t).item(), of(t).item()) == (first, second)
    own = torch.Generator().manual_seed(3)
    assert of(t, generator=own).item() == first
    assert of(t, seed=torch.tensor(5)).item() == of(t, seed=5).item()
    top = (1 << 64) - 1
    assert of(t, seed=top).item() == right(seed=top).value


def test_nested_parameters_objectives_and_functions_that_make_q():
    loc, rate = torch.tensor([0.5, -0.5], requires_grad=True), torch.tensor(2.0, requires_grad=True)

    def g(z, a):
        return np.sum(z["m"] * a["b"]) + z["s"]

    def make(m, s):
        return mg.Joint(m=mg.Normal(**m), s=mg.Exponential(**s))

    b = torch.tensor([1.0, 2.0], requires_grad=True)
    value = expectation(g, make, 500, m={"loc": loc, "scale": 1.0}, s={"rate": rate}, params={"a": {"b": b}}, seed=2)
    value.backward()
    q = make({"loc": np.float32([0.5, -0.5]), "scale": np.float32(1.0)}, {"rate": np.float32(2.0)})
    est = mg.estimate(g, q, 500, params={"a": {"b": np.float32([1.0, 2.0])}}, seed=2)
    np.testing.assert_allclose(loc.grad, est.grad["m"]["loc"], rtol=1e-6)
    np.testing.assert_allclose(rate.grad, est.grad["s"]["rate"], rtol=1e-6)
    np.testing.assert_allclose(b.grad, est.grad["a"]["b"], rtol=1e-6)

    template = mg.Joint(m=mg.Normal(np.zeros(2), 1.0), s=mg.Exponential(1.0))
    again = expectation(g, template, 500, m={"loc": loc}, s={"rate": rate}, params={"a": {"b": b}}, seed=2)
    assert again.item() == value.item()

    bound = mg.elbo(lambda z: -np.sum(np.square(z)), mg.Normal(np.zeros(2), 1.0))
    elbo = expectation(bound, n=500, loc=loc, seed=2)
    assert elbo.item() == pytest.approx(mg.estimate(bound, n=500, seed=2).value - 0.5, abs=0.3)
    assert torch.autograd.grad(elbo, loc)[0].shape == (2,)


def test_integer_data_are_constants_of_which_new_ones_count():
    loc = torch.zeros(3, requires_grad=True)

    def pick(z, at):
        return np.sum(z[at])

    for at in ([0, 1], [2, 2], [0, 1]):
        value = expectation(pick, mg.Normal, 100, loc=loc, scale=1.0, data={"at": torch.tensor(at)}, seed=1)
        grad = torch.autograd.grad(value, loc)[0]
        assert grad.tolist() == np.bincount(at, minlength=3).tolist()


def test_strided_tensors_are_read_in_place():
    wide = torch.arange(6.0).reshape(3, 2).T.requires_grad_()
    value = expectation(lambda z: np.sum(z), mg.Normal, 100, loc=wide, scale=torch.ones(2, 3).expand(2, 3), seed=1)
    value.backward()
    assert wide.grad.shape == (2, 3)
    assert torch.equal(wide.grad, torch.ones(2, 3))


def test_in_a_module_and_an_optimizer():
    class Location(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = torch.nn.Parameter(torch.tensor([3.0, -2.0]))

        def integrand(self, z, target):
            return np.sum(np.square(z - target))

        def forward(self, target):
            return expectation(self.integrand, mg.Normal, 64, loc=self.loc, scale=0.1, data={"target": target})

    torch.manual_seed(0)
    module, target = Location(), torch.tensor([1.0, 2.0])
    optimizer = torch.optim.Adam(module.parameters(), 0.2)
    for _ in range(150):
        optimizer.zero_grad()
        module(target).backward()
        optimizer.step()
    assert torch.allclose(module.loc, target, atol=0.1)


def test_antithetic_pairs_are_those_of_an_estimate():
    t = tensors()
    own = {name: x.detach().numpy() for name, x in t.items()}
    q, given = mg.Normal(own["loc"], own["scale"]), {"params": {"w": own["w"]}, "data": {"x": own["x"]}}
    known = mg.estimate(f, q, 2000, seed=5, backend="numpy", antithetic=True, **given)
    value = of(t, seed=5, backend="numpy", antithetic=True)
    value.backward()
    assert value.item() == pytest.approx(known.value, rel=1e-12)
    np.testing.assert_allclose(t["loc"].grad, known.grad["loc"], rtol=1e-12)
    found = of(t, seed=5, backend="numpy", antithetic=True, function=estimate)
    assert float(found.stderr) == pytest.approx(known.stderr, rel=1e-12)
    with pytest.raises(mg.ParameterError, match=r"^n: given '?2,?001'?; accepted: a multiple of 2"):
        of(t, n=2001, seed=5, backend="numpy", antithetic=True)


def test_many_cotangents_at_once():
    loc = torch.zeros(3, requires_grad=True)
    value = mg.torch.expectation(lambda z: np.sum(np.cos(z)), mg.Normal, 64, loc=loc, scale=1.0, seed=0, backend="cpu")
    (one,) = torch.autograd.grad(value, loc, retain_graph=True)
    (many,) = torch.autograd.grad(value, loc, torch.tensor([1.0, -2.0]), is_grads_batched=True)
    torch.testing.assert_close(many, torch.stack([one, -2.0 * one]))
