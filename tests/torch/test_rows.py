"""Rows of a batch: values by row, and gradients of what has a cotangent by row."""

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation, estimate = mg.torch.expectation, mg.torch.estimate
B, D, N = 3, 2, 200


def f(z, w, x):
    return np.sum(np.tanh(z) * w) + x


def tensors(dtype=torch.float64):
    at = torch.Generator().manual_seed(1)
    made = {
        "loc": torch.randn(B, D, generator=at, dtype=dtype),
        "scale": torch.rand(B, D, generator=at, dtype=dtype) + 0.5,
        "w": torch.randn(D, generator=at, dtype=dtype),
        "x": torch.randn(B, generator=at, dtype=dtype),
    }
    return {name: x.requires_grad_(name != "x") for name, x in made.items()}


def of(t, function=expectation, q=mg.Normal, **options):
    own = {"loc": t["loc"], "scale": t["scale"], **({"batch_ndim": 1} if q is mg.Normal else {})}
    shared = {"params": {"w": t["w"]}, "data": {"x": t["x"]}, "batched_data": "x", "seed": 3}
    return function(f, q, N, **own, **shared, **options)


def right(reduce=None):
    t = {name: x.detach().numpy() for name, x in tensors().items()}
    q = mg.Normal(t["loc"], t["scale"], batch_ndim=1)
    data = {"params": {"w": t["w"]}, "data": {"x": t["x"]}, "batched_data": "x"}
    return mg.Estimator(f, q, **data, reduce=reduce)(N, 3)


def test_values_by_row():
    t, est = tensors(), right("none")
    cotangent = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    value = of(t)
    np.testing.assert_array_equal(value.detach(), est.value)
    value.backward(cotangent)
    for name in ("loc", "scale"):
        np.testing.assert_allclose(t[name].grad, cotangent[:, None].numpy() * est.grad[name], rtol=1e-13)
    np.testing.assert_allclose(t["w"].grad, cotangent.numpy() @ est.grad["w"], rtol=1e-13)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_reduced_values(reduce):
    t, each = tensors(), right("none")
    value, weight = of(t, reduce=reduce), 1.0 if reduce == "sum" else 1 / B
    assert value.item() == pytest.approx(weight * each.value.sum(), rel=1e-12)
    (2 * value).backward()
    np.testing.assert_allclose(t["loc"].grad, 2 * weight * each.grad["loc"], rtol=1e-12)
    np.testing.assert_allclose(t["w"].grad, 2 * weight * each.grad["w"].sum(0), rtol=1e-12)


def test_gradcheck():
    t = tensors()

    def at(loc, scale, w):
        return of({**t, "loc": loc, "scale": scale, "w": w})

    assert torch.autograd.gradcheck(at, (t["loc"], t["scale"], t["w"]))


def test_a_distribution_that_is_a_batch():
    t = tensors()
    template = mg.Normal(np.zeros((B, D)), np.ones((B, D)), batch_ndim=1)
    assert torch.equal(of(t, q=template), of(t))


def test_standard_errors():
    found, est = of(tensors(), estimate), right("none")
    np.testing.assert_array_equal(found.stderr, est.stderr)
    np.testing.assert_array_equal(found.grad_stderr["loc"], est.grad_stderr["loc"])
    np.testing.assert_array_equal(found.grad_stderr["w"], est.grad_stderr["w"])
    assert found.grad["w"].shape == (B, D)
    mean = of(tensors(), estimate, reduce="mean")
    np.testing.assert_array_equal(mean.grad_stderr["w"], right("mean").grad_stderr["w"])


def test_in_a_compiled_graph():
    torch.compiler.reset()
    t = tensors()
    here = torch.autograd.grad(of(t).square().sum(), [t["loc"], t["w"]])
    there = torch.compile(lambda t: of(t).square().sum(), fullgraph=True, backend="aot_eager")(t)
    for one, other in zip(torch.autograd.grad(there, [t["loc"], t["w"]]), here, strict=True):
        assert torch.allclose(one, other)
    torch.compiler.reset()


def test_refused():
    t = tensors()
    with pytest.raises(mg.ParameterError, match=r"^reduce: given 'none'"):
        of(t, reduce="none")
    with pytest.raises(mg.ParameterError, match=r"^reduce: given 'sum' without a batch"):
        expectation(lambda z: np.sum(z), mg.Normal, N, loc=t["loc"], scale=t["scale"], reduce="sum")
    with pytest.raises(mg.ParameterError, match=r"batch"):
        expectation(
            f, lambda loc: mg.Normal(loc, 1.0, batch_ndim=1), N, loc=t["loc"], params={"w": t["w"]}, data={"x": 1.0}
        )
    with pytest.raises(mg.ParameterError, match=r"batch shape"):
        of({**t, "x": t["x"][:2]})


def test_tensors_that_are_read_where_they_lie():
    """As numbers in their order, as a transposed view, and as a view that is negated when it is read."""

    def few(t):
        value = expectation(
            f, mg.Normal, 2, loc=t["loc"], scale=t["scale"], batch_ndim=1, params={"w": t["w"]}, data={"x": t["x"]},
            batched_data="x", seed=3, reduce="sum",
        )  # fmt: skip
        return value.item(), *torch.autograd.grad(value, [t["loc"], t["scale"], t["w"]])

    t = tensors(torch.float32)
    negated = torch.complex(torch.zeros(B, D), -t["loc"].detach()).conj().imag
    assert negated.is_neg()
    views = [t["loc"].detach().clone(), t["loc"].detach().t().contiguous().t(), negated]
    first = few(t)
    for _ in range(2):
        for view in views:
            again = few({**t, "loc": view.requires_grad_()})
            assert again[0] == first[0]
            assert all(torch.equal(x, y) for x, y in zip(again[1:], first[1:], strict=True))
    with pytest.raises(mg.ParameterError, match="scale"):
        few({**t, "scale": -t["scale"]})
