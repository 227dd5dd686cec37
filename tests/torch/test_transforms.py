"""Expectations under `torch.func`'s transforms: gradients, and rows by vmap, with the randomness that it is given."""

import functools

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
expectation = mg.torch.expectation
from mcgrad.torch import vmapped  # noqa: E402  it needs torch

SCALE = torch.tensor([1.0, 0.5])
LOCS = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 0.5]])


close = functools.partial(torch.testing.assert_close, rtol=2e-6, atol=1e-6)  # draws are the same, sums in another order


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


def test_integrands_in_pytorch():
    own = mg.from_torch(lambda z: torch.sin(z) * torch.func.grad(lambda x: torch.sum(x**2) / 2)(z))
    options = {"scale": SCALE, "seed": 7, "backend": "numpy"}
    numpys = functools.partial(expectation, lambda z: np.sin(z) * z, mg.Normal, 500, **options)
    ours = functools.partial(expectation, own, mg.Normal, 500, **options)
    found = torch.func.vmap(torch.func.jacrev(lambda loc: ours(loc=loc)))(LOCS)
    close(found, torch.stack([torch.func.jacrev(lambda loc: numpys(loc=loc))(loc) for loc in LOCS]))


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap])
def test_a_value_of_a_transform_that_is_no_argument(transform):
    def closed(w):
        return expectation(mg.from_torch(lambda z: torch.sum(w * z)), mg.Normal, 500, loc=0.0, scale=1.0, seed=7)

    with pytest.raises(mg.TraceError, match=r"transform of torch.func around f.*give it in params=") as caught:
        transform(closed)(torch.ones(3))
    assert caught.value.filename == __file__


def test_rows():
    by_row = torch.stack([gradient(loc, seed=7) for loc in LOCS])
    close(torch.func.vmap(seeded)(LOCS), torch.stack([seeded(loc) for loc in LOCS]))
    close(torch.func.vmap(torch.func.grad(seeded))(LOCS), by_row)
    close(torch.func.grad(lambda x: torch.func.vmap(seeded)(x).sum())(LOCS), by_row)
    outside = LOCS.clone().requires_grad_()
    torch.func.vmap(seeded, in_dims=1)(outside.T).sum().backward()
    close(outside.grad, by_row)


def test_a_seed_for_each_row():
    seeds = torch.tensor([4, 5, 6])
    rows = torch.func.vmap(lambda loc, seed: at(loc, seed=seed))(LOCS, seeds)
    close(rows, torch.stack([at(loc, seed=int(seed)) for loc, seed in zip(LOCS, seeds, strict=True)]))


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
    close(found.stderr[1], alone.stderr)
    close(found.grad_stderr["loc"][1], alone.grad_stderr["loc"])
    assert found.nonfinite.tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # forward mode loads PyTorch's own scripts
def test_second_derivatives_and_forward_mode():
    with pytest.raises(mg.ParameterError, match="second derivative"):
        torch.func.grad(lambda loc: torch.func.grad(seeded)(loc).sum())(LOCS[0])
    with pytest.raises(mg.ParameterError, match="forward-mode"):
        torch.func.jvp(seeded, (LOCS[0],), (LOCS[0],))


def scaled(z, *, w, x, i):
    return x * np.sin(w @ z)[i]


def nested(z, *, w, x, i):
    return {"a": x * np.sin(w @ z), "b": z[i] ** 2}


LOC, W = LOCS[0].double(), torch.tensor([[1.0, 0.5], [-1.0, 2.0]], dtype=torch.float64)
X, ROWS = torch.tensor(0.7, dtype=torch.float64), torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
BOUND = mg.elbo(lambda z, *, w, x, i: -x * (w @ z)[i] ** 2, mg.Normal(np.zeros(2), 1.0))


@pytest.mark.parametrize("function", [scaled, nested, BOUND], ids=["number", "dict", "objective"])
@pytest.mark.parametrize("moving", ["loc", "w", "x", "i", "seed", "loc w seed"])
def test_what_differs_by_row(function, moving, monkeypatch):
    """One batch; or a loop for an index that differs, and for an objective. Gradients in what rows share are summed."""
    together, whole = [], vmapped.rows_of_seeds
    monkeypatch.setattr(vmapped, "rows_of_seeds", lambda *args: together.append(args) or whole(*args))

    def total(loc, w, x, i, seed):
        own = {"loc": loc} if function is BOUND else {"loc": loc, "scale": 0.5}
        options = {"params": {"w": w}, "data": {"x": x, "i": i}, "seed": seed, "backend": "numpy"}
        found = expectation(function, None if function is BOUND else mg.Normal, 50, **own, **options)
        return found["a"].sum() + found["b"] if isinstance(found, dict) else found

    one = LOC, W, X, torch.tensor(1), torch.tensor(4)
    rows = [ROWS.reshape(3, *[1] * x.ndim) * x for x in one[:3]] + [torch.tensor([1, 0, 1]), torch.arange(3)]
    axes = [0 if name in moving.split() else None for name in ("loc", "w", "x", "i", "seed")]
    args = [several if axis == 0 else x for x, several, axis in zip(one, rows, axes, strict=True)]
    of = torch.func.grad_and_value(total, argnums=(0, 1))
    (of_loc, of_w), value = torch.func.vmap(of, in_dims=tuple(axes))(*args)
    right = [of(*[x[row] if axis == 0 else x for x, axis in zip(args, axes, strict=True)]) for row in range(3)]
    torch.testing.assert_close(value, torch.stack([x for _, x in right]))
    torch.testing.assert_close(of_loc, torch.stack([x for (x, _), _ in right]))
    torch.testing.assert_close(of_w, torch.stack([x for (_, x), _ in right]))
    args[:2] = (x.clone().requires_grad_() for x in args[:2])
    (ROWS * torch.func.vmap(total, in_dims=tuple(axes))(*args)).sum().backward()
    weighted = ROWS.reshape(3, 1) * of_loc, ROWS.reshape(3, 1, 1) * of_w
    for x, slope, axis in zip(args[:2], weighted, axes[:2], strict=True):
        torch.testing.assert_close(x.grad, slope if axis == 0 else slope.sum(0))
    assert len(together) == (0 if function is BOUND or moving == "i" else 2)


def test_rows_of_rows():
    """Both axes become one of rows, in one call."""

    def total(loc, w, seed):
        own = {"params": {"w": w}, "loc": loc, "scale": 1.0, "seed": seed, "backend": "numpy"}
        return expectation(lambda z, w: w @ np.sin(z), mg.Normal, 50, **own).sum()

    locs, seeds, slope = LOCS.double(), torch.tensor([5, 6, 7, 8]), torch.func.grad(total)
    inner = torch.func.vmap(slope, in_dims=(None, None, 0))
    found = torch.func.vmap(inner, in_dims=(0, None, None))(locs, W, seeds)
    assert found.shape == (3, 4, 2)
    for i, j in [(0, 0), (2, 3), (1, 2)]:
        torch.testing.assert_close(found[i, j], slope(locs[i], W, seeds[j]))
