"""What an expectation of tensors refuses, by name."""

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation = mg.torch.expectation


def f(z):
    return np.sum(z * z)


def at(loc=None, f=f, **options):
    loc = torch.zeros(2, requires_grad=True) if loc is None else loc
    return expectation(f, options.pop("q", mg.Normal), options.pop("n", 100), loc=loc, **{"scale": 1.0, **options})


@pytest.mark.parametrize(
    ("options", "name", "given"),
    [
        ({"loc": torch.zeros(2, dtype=torch.float16)}, "loc", "float16"),
        ({"loc": torch.zeros(2, dtype=torch.complex64)}, "loc", "complex64"),
        ({"loc": torch.zeros(2).to_sparse()}, "loc", "NumPy"),
        ({"scale": torch.tensor(-1.0)}, "scale", "-1"),
        ({"data": {"x": torch.zeros(2, requires_grad=True)}}, "x", "require a gradient"),
        ({"data": {"seed": torch.zeros(2)}}, "seed", "a name of data"),
        ({"params": {"w": "much"}}, "w", "much"),
        ({"params": torch.zeros(2)}, "params", "shape"),
        ({"n": 1}, "n", "1"),
        ({"n": None}, "n", "None"),
        ({"seed": 0.5}, "seed", "0.5"),
        ({"seed": torch.zeros(2)}, "seed", "float32"),
        ({"seed": 1, "generator": torch.Generator()}, "generator", "seed"),
        ({"generator": np.random.default_rng(0)}, "generator", "PCG64"),
        ({"generator": 3}, "generator", "3"),
        ({"dtype": torch.float16}, "dtype", "float16"),
        ({"q": None}, "q", "None"),
        ({"q": torch.distributions.Normal}, "q", "torch.distributions"),
        ({"scale": [1.0, 2.0]}, "scale", r"\[1.0, 2.0\]"),
        ({"rows": [0, 1]}, "rows", r"\[0, 1\]"),
        ({"q": lambda loc, scale: loc}, "q", "function that returns"),
        ({"q": lambda loc, scale: mg.Normal(loc[:1], scale)}, "loc", r"\(2,\)"),
        ({"q": mg.Normal(np.zeros(2), 1.0), "extra": 1}, "extra", "1"),
        ({"standard_deviation": 1.0}, "Normal", "standard_deviation"),
        ({"method": "magic"}, "method", "magic"),
    ],
)
def test_arguments(options, name, given):
    with pytest.raises(mg.ParameterError, match=rf"^{name}: given .*{given}"):
        at(**options)


def test_a_nonfinite_draw():
    def log(z):
        return np.sum(np.log(z))

    loc = torch.zeros(2, requires_grad=True)
    with pytest.raises(mg.NonFiniteError), np.errstate(all="ignore"):
        expectation(log, mg.Normal, 100, loc=loc, scale=1.0, nonfinite="raise")


def test_second_derivatives():
    loc = torch.ones(2, requires_grad=True)
    (grad,) = torch.autograd.grad(at(loc), loc, create_graph=True)
    assert grad.requires_grad  # so that one that is asked for is not taken for zero
    with pytest.raises(mg.ParameterError, match=r"^create_graph: given .*second derivative"):
        torch.autograd.grad(grad.sum(), loc)
    with pytest.raises(mg.ParameterError, match=r"^create_graph: "):
        torch.autograd.grad(grad.sum() + loc.square().sum(), loc)


LAYER = torch.nn.Linear(2, 1, dtype=torch.float64)
OF_LAYER = mg.from_torch(lambda z: LAYER(z).sum(), layer=LAYER)
WEIGHT = torch.ones(2, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("f", "params"),
    [
        (lambda z: np.sum(z * WEIGHT), {}),
        (mg.from_torch(lambda z: torch.sum(z * WEIGHT.exp())), {}),
        (mg.from_torch(lambda z: WEIGHT.sum()), {}),
        (OF_LAYER, {}),
        (OF_LAYER, {"layer": {"weight": LAYER.weight}}),
    ],
    ids=["NumPy", "tensor", "alone", "module", "part of a module"],
)
def test_a_tensor_that_requires_grad_and_is_no_argument(f, params):
    with pytest.raises(mg.TraceError, match=r"requires? grad.*give it in params=") as caught:
        at(params=params, f=f)
    assert caught.value.filename == __file__


def test_constants_that_need_no_gradient():
    with torch.no_grad():
        value = at(f=OF_LAYER, seed=1, dtype=torch.float64)
    given = at(f=OF_LAYER, params=OF_LAYER.tensors, seed=1, dtype=torch.float64)
    torch.testing.assert_close(value, given.detach())
    detached = at(f=mg.from_torch(lambda z: torch.sum(z * WEIGHT.detach())), seed=1)
    assert detached.requires_grad
