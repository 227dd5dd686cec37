"""What integrands written in PyTorch may not do: errors name the operator, the line of f, and what to write instead."""

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F, D = torch.nn.functional, torch.distributions

Q = mg.Normal(np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.0, 0.7]))


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x


COUNTER = torch.zeros(3)


def changes(z):
    COUNTER.add_(z)
    return z.sum()


def condition(z):
    return z[0] if z[0] > 0 else z[1]


def wrong_shapes(z):
    return z @ torch.ones(4)


@pytest.mark.parametrize(
    ("f", "named", "remedy"),
    [
        (lambda z: torch.fft.rfft(z).real[0], "aten._fft_r2c", "sines and cosines"),
        (lambda z: z[z > 0].sum(), "indexing with a traced tensor", "torch.where"),
        (lambda z: (z * torch.randn(3)).sum(), "random numbers", "belong in q"),
        (lambda z: (z * torch.randn_like(z)).sum(), "random numbers", "belong in q"),
        (lambda z: F.dropout(z, 0.01).sum(), "random numbers", ".eval()"),
        (lambda z: D.Normal(z, 1.0).rsample().sum(), "random numbers", "belong in q"),
        (lambda z: z.mode().values, "aten.mode", "torch.sort"),
        (lambda z: z.cummax(0).indices * 1.0, "besides its value", "torch.linalg.eigh"),
        (lambda z: F.max_pool1d(z[None], 2, ceil_mode=True).sum(), "ceil_mode=True", "pad the array"),
        (lambda z: torch.autograd.grad(z.sum(), z)[0].sum(), "torch.autograd.grad", "torch.func.grad"),
        (lambda z: torch.searchsorted(torch.ones(3, 2), z).sum(), "torch.searchsorted", "each row"),
        (condition, "aten._local_scalar_dense", "torch.where"),
        (lambda z: float(z[0]), "aten._local_scalar_dense", "torch.where"),
        (lambda z: np.sum(z.numpy()), "Tensor.numpy", "use functions of torch"),
        (lambda z: np.sin(z).sum(), "Tensor.__array__", "use functions of torch"),
        (lambda z: (z + 1j).real.sum(), "complex", "real numbers"),
        (changes, "changing a tensor that f has not made", "x = x + y for x += y"),
        (lambda z: torch.nn.BatchNorm1d(1)(z[:, None]).sum(), "changes a tensor that f has not made", ".eval()"),
        (lambda z: Doubling.apply(z).sum(), "torch.autograd.Function", "what its forward computes"),
    ],
)
def test_refused_with_the_line_of_f_and_the_remedy(f, named, remedy):
    with pytest.raises(mg.TraceError) as caught:
        mg.estimate(mg.from_torch(f), Q, 100)
    assert named in caught.value.message
    assert remedy in caught.value.message
    assert caught.value.filename == __file__
    first = f.__code__.co_firstlineno
    assert first <= caught.value.lineno <= first + 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_forward_mode_is_refused_where_pytorch_computes_on_the_way():
    with pytest.raises(mg.TraceError, match=r"forward mode.*torch\.func\.jacrev"):
        mg.estimate(mg.from_torch(lambda z: torch.func.hessian(lambda x: x.sin().sum())(z).sum()), Q, 100)


def test_what_torch_itself_refuses_stays_its_own():
    with pytest.raises((RuntimeError, ValueError), match="4") as caught:
        mg.estimate(mg.from_torch(wrong_shapes), Q, 100)
    assert not isinstance(caught.value, mg.TraceError)
    assert any("raised while tracing wrong_shapes with z of shape (3,)" in note for note in caught.value.__notes__)
