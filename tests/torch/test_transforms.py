"""Expectations under `torch.func`'s transforms: gradients, and rows by vmap, with the randomness that it is given."""

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation = mg.torch.expectation
SCALE = torch.tensor([1.0, 0.5])
LOCS = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 0.5]])


def f(z):
    return np.sum(np.sin(z))


def at(loc, **options):
    return expectation(f, mg.Normal, 500, loc=loc, scale=SCALE, **options)


def gradient(loc, **options):
    loc = loc.clone().requires_grad_()
    return torch.autograd.grad(at(loc, **options), loc)[0]


def seeded(loc):
    return at(loc, seed=7)


def test_gradients():
    assert torch.equal(torch.func.grad(seeded)(LOCS[0]), gradient(LOCS[0], seed=7))
    assert torch.equal(torch.func.jacrev(seeded)(LOCS[0]), gradient(LOCS[0], seed=7))


def test_rows():
    by_row = torch.stack([gradient(loc, seed=7) for loc in LOCS])
    assert torch.equal(torch.func.vmap(seeded)(LOCS), torch.stack([seeded(loc) for loc in LOCS]))
    assert torch.equal(torch.func.vmap(torch.func.grad(seeded))(LOCS), by_row)
    assert torch.equal(torch.func.grad(lambda x: torch.func.vmap(seeded)(x).sum())(LOCS), by_row)
    outside = LOCS.clone().requires_grad_()
    torch.func.vmap(seeded, in_dims=1)(outside.T).sum().backward()
    assert torch.equal(outside.grad, by_row)


def test_a_seed_for_each_row():
    seeds = torch.tensor([4, 5, 6])
    rows = torch.func.vmap(lambda loc, seed: at(loc, seed=seed))(LOCS, seeds)
    assert torch.equal(rows, torch.stack([at(loc, seed=int(seed)) for loc, seed in zip(LOCS, seeds, strict=True)]))


def test_randomness():
    same = LOCS[:1].expand(3, 2)
    assert len(set(torch.func.vmap(at, randomness="same")(same).tolist())) == 1
    assert len(set(torch.func.vmap(at, randomness="different")(same).tolist())) == 3
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(at)(same)


def test_standard_errors_of_rows():
    def errors(loc):
        return mg.torch.estimate(f, mg.Normal, 500, loc=loc, scale=SCALE, seed=7)

    found, alone = torch.func.vmap(errors)(LOCS), errors(LOCS[1])
    assert found.stderr[1] == alone.stderr
    assert torch.equal(found.grad_stderr["loc"][1], alone.grad_stderr["loc"])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # forward mode loads PyTorch's own scripts
def test_second_derivatives_and_forward_mode():
    with pytest.raises(mg.ParameterError, match="second derivative"):
        torch.func.grad(lambda loc: torch.func.grad(seeded)(loc).sum())(LOCS[0])
    with pytest.raises(mg.ParameterError, match="forward-mode"):
        torch.func.jvp(seeded, (LOCS[0],), (LOCS[0],))
