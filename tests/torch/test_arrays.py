"""Integrands that return arrays: values and gradients are those of `mg.estimate`, kept or estimated backwards."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation = mg.torch.expectation
from mcgrad.torch import earlier, rows  # noqa: E402  they need torch

LOC = np.array([0.3, -0.2])
W = np.array([[1.0, 0.5], [-0.5, 1.0], [2.0, 0.1]])
X = np.array([0.5, 1.0, 1.5, 2.0])


def array(z, *, w, x):
    return x * np.tanh(w @ z)


def arrays(z, *, w, x):
    return {"a": x * np.tanh(w @ z), "b": {"c": z[0] * x}}


@pytest.fixture(params=["kept", "estimated backwards"])
def way(request, monkeypatch):
    if request.param != "kept":
        monkeypatch.setattr(rows, "FEW", 0)
    earlier._made.clear()


def of(f, loc, w, x, reduce=None, n=300, **options):
    batch = {"batched_data": "x", "batch_ndim": 1, "reduce": reduce} if loc.ndim == 2 else {}
    given = {"params": {"w": w}, "data": {"x": x}, "loc": loc, "scale": 1.0, "seed": 3, "backend": "numpy"}
    return options.pop("function", expectation)(f, mg.Normal, n, **given, **batch, **options)


def tensors(batch):
    loc, x = (np.multiply.outer(X, LOC), X) if batch else (LOC, X[0])
    return torch.tensor(loc, requires_grad=True), torch.tensor(W, requires_grad=True), torch.tensor(x)


def right(f, batch, reduce, **options):
    loc, _, x = (t.detach().numpy() for t in tensors(batch))
    batch = {"batched_data": "x", "reduce": reduce} if batch else {}
    q = mg.Normal(loc, 1.0, **({"batch_ndim": 1} if batch else {}))
    return mg.estimate(
        f, q, 300, params={"w": W}, data={"x": x}, seed=3, backend="numpy", wrt=("loc", "w"), **batch, **options
    )


def leaves(nested):
    return list(tree.flatten(nested).values()) if isinstance(nested, dict) else [nested]


@pytest.mark.parametrize("f", [array, arrays])
@pytest.mark.parametrize(("batch", "reduce"), [(False, None), (True, None), (True, "sum"), (True, "mean")])
def test_values_and_gradients(f, batch, reduce, way):
    loc, w, x = tensors(batch)
    found, est = of(f, loc, w, x, reduce), right(f, batch, reduce)
    for ours, theirs in zip(leaves(found), leaves(est.value), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs, rtol=1e-13)
    weights = tree.map(lambda x: np.cos(1.0 + np.arange(np.size(x))).reshape(np.shape(x)), est.value)
    sum((torch.tensor(c) * x).sum() for c, x in zip(leaves(weights), leaves(found), strict=True)).backward()
    slope = right(f, batch, reduce, cotangent=weights).grad
    share = 1 / len(X) if reduce == "mean" else 1.0
    np.testing.assert_allclose(loc.grad, slope["loc"] * share, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(w.grad, slope["w"], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("batch", [False, True])
def test_standard_errors_nest_as_the_value(batch):
    found = of(arrays, *tensors(batch), function=mg.torch.estimate)
    est = right(arrays, batch, "none" if batch else None)
    for name in ("value", "stderr", "grad", "grad_stderr"):
        ours, theirs = (tree.flatten(getattr(each, name)) for each in (found, est))
        for path, x in theirs.items():
            np.testing.assert_allclose(ours[path].detach(), x, rtol=1e-12, err_msg=f"{name} {path}")


def test_gradcheck(way):
    loc, w, x = tensors(False)
    assert torch.autograd.gradcheck(lambda loc, w: of(array, loc, w, x, n=20), (loc, w), atol=1e-6)


def test_in_a_compiled_graph(way):
    torch.compiler.reset()
    t = tensors(True)
    step = torch.compile(lambda *t: of(arrays, *t)["a"], fullgraph=True, backend="aot_eager")
    found, here = step(*t), of(arrays, *t)["a"]
    assert torch.equal(found, here)
    weights = torch.tensor(np.cos(np.arange(12.0)).reshape(4, 3))
    for one, other in zip(
        torch.autograd.grad((weights * found).sum(), t[:2]),
        torch.autograd.grad((weights * here).sum(), t[:2]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    torch.compiler.reset()


def test_jacobians_of_transforms():
    loc, w, x = tensors(False)
    found = torch.func.jacrev(lambda loc: of(array, loc, w.detach(), x))(loc.detach())
    np.testing.assert_allclose(found, right(array, False, None).grad["loc"], rtol=1e-12)


def test_what_is_estimated_backwards_has_no_second_derivative_and_sees_no_changed_tensor(way):
    loc, w, x = tensors(False)
    (grad,) = torch.autograd.grad(of(array, loc, w, x).sum(), loc, create_graph=True)
    with pytest.raises(mg.ParameterError, match=r"^create_graph: "):
        torch.autograd.grad(grad.sum(), loc)
    if rows.FEW == 0:
        value = of(array, loc, w, x).sum()
        with torch.no_grad():
            w += 1.0
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


def test_opcheck_of_the_backward_pass():
    loc, w, x = (t.detach() for t in tensors(False))
    call = of(array, *tensors(False)).grad_fn.call
    scale = torch.tensor(1.0, dtype=torch.float64)
    args = ([loc, scale, w, x], torch.tensor(3), torch.ones(3, dtype=torch.float64), call.problem, 300)
    checks = torch.library.opcheck(torch.ops.mcgrad.contract.default, (*args, call.differentiable, torch.float64))
    assert set(checks.values()) == {"SUCCESS"}
