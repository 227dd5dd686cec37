"""Expectations in compiled graphs: one operator, without a break."""

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation = mg.torch.expectation
from mcgrad.torch import problems  # noqa: E402  it needs torch


def f(z, x):
    return np.sum(np.square(z) * x)


def loss(loc, log_scale, x, function=expectation, **options):
    return function(f, mg.Normal, 300, loc=loc, scale=log_scale.exp(), data={"x": x}, **options)


def tensors():
    return torch.tensor([0.5, 1.0], requires_grad=True), torch.zeros(2, requires_grad=True), torch.tensor([1.0, 3.0])


@pytest.fixture
def compiled():
    torch.compiler.reset()
    yield lambda function: torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.compiler.reset()


def test_value_gradient_and_standard_errors(compiled):
    t = tensors()
    here = loss(*t, mg.torch.estimate, seed=3)
    right = torch.autograd.grad(2 * here.value, t[:2])
    found = compiled(lambda *t: loss(*t, mg.torch.estimate, seed=3))(*t)
    assert found.value == here.value
    assert found.stderr == here.stderr
    for one, other in zip(found.grad_stderr.values(), here.grad_stderr.values(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(torch.autograd.grad(2 * found.value, t[:2]), right, strict=True):
        assert torch.equal(one, other)


def test_each_run_of_a_graph_has_its_own_seed(compiled):
    t, step = tensors(), compiled(loss)
    torch.manual_seed(1)
    first, second = step(*t).item(), step(*t).item()
    torch.manual_seed(1)
    assert (step(*t).item(), step(*t).item()) == (first, second)
    assert first != second
    torch.manual_seed(1)
    assert loss(*t).item() == first
    given = compiled(lambda *t: loss(*t[:3], seed=t[3]))
    assert given(*t, torch.tensor(3)) == loss(*t, seed=3)
    assert given(*t, torch.tensor(4)) == loss(*t, seed=4)


def test_without_a_gradient(compiled):
    with torch.no_grad():
        assert compiled(lambda *t: loss(*t, seed=3))(*tensors()) == loss(*tensors(), seed=3)


def test_in_a_module(compiled):
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(3, 4)

        def forward(self, x, seed):
            loc, log_scale = self.net(x).split(2)
            return expectation(
                lambda z: np.sum(np.square(z)), mg.Normal, 100, loc=loc, scale=log_scale.exp(), seed=seed
            )

    module, x, seed = Module(), torch.ones(3), torch.tensor(2)
    module(x, seed).backward()
    right = module.net.weight.grad.clone()
    module.zero_grad()
    compiled(module)(x, seed).backward()
    assert torch.allclose(module.net.weight.grad, right)


@pytest.mark.parametrize("errors", [False, True])
def test_opcheck(errors):
    loc, log_scale, x = tensors()
    scale = log_scale.exp().detach().requires_grad_()
    expectation(lambda z, x: f(z, x), mg.Normal, 300, loc=loc, scale=scale, data={"x": x})
    number = max(problems._by_number)  # of the problem that was made last
    args = (
        [loc, scale, x],
        torch.tensor(3),
        number,
        300,
        [True, True, False],
        torch.float32,
        errors,
        True,
        [],
        [],
        [False] * 2,
        None,
    )
    checks = torch.library.opcheck(torch.ops.mcgrad.estimate.default, args)
    assert set(checks.values()) == {"SUCCESS"}


def test_an_integrand_that_is_made_inside_a_graph_is_refused(compiled):
    def step(loc):
        return expectation(mg.from_torch(lambda z: z.sum()), mg.Normal, 100, loc=loc, scale=1.0)

    with pytest.raises(Exception, match=r"mg\.from_torch makes an integrand once, outside"):
        compiled(step)(torch.zeros(2))


@pytest.mark.parametrize("name", ["plain", "of a module", "with torch.func"])
def test_an_integrand_of_torch_that_the_graph_traces_first(compiled, name):
    layer = torch.nn.Linear(2, 3, dtype=torch.float64)
    functions = {
        "plain": lambda z: torch.sum(torch.sin(z) ** 2),
        "of a module": lambda z: torch.tanh(layer(z)).sum(),
        "with torch.func": lambda z: torch.sum(
            torch.func.grad(lambda z: torch.sin(z).sum())(z) * torch.vmap(torch.exp)(z)
        ),
    }
    modules = {"layer": layer} if name == "of a module" else {}
    inside, outside = (mg.from_torch(functions[name], **modules) for _ in range(2))
    loc = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)

    def of(f):
        return lambda loc: expectation(f, mg.Normal, 100, loc=loc, scale=1.0, params=f.tensors, seed=1)

    found, right = compiled(of(inside))(loc), of(outside)(loc)
    torch.testing.assert_close(found, right)
    inputs = [loc, *(layer.parameters() if modules else [])]
    for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(right, inputs), strict=True):
        torch.testing.assert_close(one, other)
