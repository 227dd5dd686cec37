"""Functions of PyTorch: what they are traced to, held against PyTorch's values and derivatives."""

import numpy as np
import pytest

import mcgrad as mg
from tests.frameworks.derivatives import computed, slope

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def joined(f):
    """All numbers that a function returns, in one vector."""

    def flat(a):
        made = f(a)
        return torch.cat([x.reshape(-1).double() for x in (made if isinstance(made, tuple) else (made,))])

    return flat


def agrees(f, x, values, derivatives):
    """Hold a function at x, and the derivative of its numbers with weights, within a relative and an absolute error."""
    at = torch.tensor(x, requires_grad=True)
    value = joined(f)(at)
    weights = torch.cos(torch.arange(value.numel(), dtype=at.dtype))
    (value @ weights).backward()
    np.testing.assert_allclose(computed(mg.from_torch(joined(f)), x), value.detach(), rtol=values[0], atol=values[1])
    weighted = mg.from_torch(lambda a: joined(f)(a) @ weights)
    np.testing.assert_allclose(slope(weighted, x), at.grad, rtol=derivatives[0], atol=derivatives[1])
