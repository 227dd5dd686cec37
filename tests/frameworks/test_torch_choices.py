"""Functions of PyTorch that find, sort, write and slide in `from_torch`: PyTorch's numbers and derivatives."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.program import toposort
from mcgrad.trace.trace import trace
from tests.frameworks.derivatives import computed, slope
from tests.frameworks.of_torch import agrees, joined, torch

F, D, higher = torch.nn.functional, torch.distributions, torch._higher_order_ops

RNG = np.random.default_rng(0)
V = np.array([-1.7, -0.4, 0.3, 0.9, 2.6])
M = RNG.standard_normal((4, 3))
IMAGE = RNG.standard_normal((2, 6, 7))
KNOTS = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
GROUPS = torch.tensor([0, 0, 1, 1, 2])
KERNEL = torch.tensor(RNG.standard_normal((4, 2, 3, 2)))
GROUPED = torch.tensor(RNG.standard_normal((4, 1, 2, 2)))
torch.manual_seed(0)
GRU, LSTM = torch.nn.GRUCell(3, 3).double(), torch.nn.LSTMCell(3, 3).double()


def whole(a):
    return a.abs().long()


def written(a):
    out = torch.zeros(5, dtype=a.dtype)
    out[a.argmax()] = a[0]
    out[whole(a[4])] += 2.0 * a[1]
    out[out == 0.0] = 0.5
    return out * a


def written_among_numbers(a):
    """At keys of one traced number and one that is known, also from the end."""
    out = a.clone()
    out[whole(a[0, 0]) % 4, 1] = 5.0 * a[1, 1]
    out[-1, whole(a[0, 1]) % 3] = 2.0
    out[0, whole(a[0, 2]) % 3] += a[0, 0]
    return out * a


def reduced(a, **options):
    zeros = torch.ones(4, dtype=a.dtype)
    return tuple(zeros.scatter_reduce(0, GROUPS, a, how, **options) for how in ("sum", "prod", "mean", "amax", "amin"))


FUNCTIONS = {
    "sort": (lambda a: (a.sort().values, a.sort(0, descending=True)[0], a.msort()), M),
    "argsort": (lambda a: ((a * a)[a.argsort()], a[torch.argsort(-a, stable=True)]), V),
    "ranks": (lambda a: (a.median(), a.median(1).values, torch.quantile(a, 0.3), a.kthvalue(2, 0).values), M),
    "topk": (lambda a: (a.topk(2).values, a.topk(2, 0, largest=False)[0], (a * a)[0][a[0].topk(2).indices]), M),
    "argmax": (lambda a: ((a * a)[a.argmax()], (a * a)[a.argmin()], (a * a)[a.max(0).indices]), V),
    "rows": (lambda a: (a.gather(1, a.argmax(1, keepdim=True)), a[a.argmin(0)], a.min(1).indices + a[0, 0]), M),
    "one number": (
        lambda a: (a[whole(a[0, 0])], a[:, whole(a[1, 1])], a[..., whole(a[0, 1]), None], a[-1, whole(a[2, 2])]),
        M,
    ),
    "divided": (
        lambda a: a[torch.div(whole(3 * a[:, 0]), 2, rounding_mode="floor") % 4] + a[whole(a[:, 0]) // 2 - 1],
        M,
    ),
    "searchsorted": (lambda a: (torch.searchsorted(KNOTS, a) * a, torch.bucketize(a, KNOTS, right=True) * a), V),
    "set": (written, V),
    "set among numbers": (written_among_numbers, M),
    "copies": (lambda a: (a.index_copy(0, GROUPS[1:5:2], a[:2]), a.index_fill(0, GROUPS[2:3], 0.5)), V),
    "reduced": (reduced, V),
    "reduced alone": (lambda a: reduced(a, include_self=False), V),
    "diagonals": (lambda a: (torch.diag_embed(a, 1), torch.diag(a, -2), a.new_ones(5, 5).diagonal_scatter(a * a)), V),
    "running": (lambda a: (a.logcumsumexp(1), torch.signbit(a) * a, torch.angle(a) * a), M),
    "distances": (
        lambda a: (torch.cdist(a, a * 2 + 1), torch.cdist(a, a[:2] + 3, p=1.0), F.pdist(a), torch.cdist(a, a, p=3.0)),
        M,
    ),
    "cosine": (lambda a: (F.cosine_similarity(a, a.flip(0)), torch.nn.CosineSimilarity(0)(a, a * a)), M),
    "conv1d": (lambda a: F.conv1d(a, KERNEL[:, :, :, 0].repeat(1, 3, 1)[:, :6], padding=1, stride=2), IMAGE),
    "conv2d": (
        lambda a: (
            F.conv2d(a[None], KERNEL, KERNEL[:, 0, 0, 0], padding=(1, 2), dilation=2),
            F.conv2d(a[None], GROUPED, stride=(2, 1), groups=2),
        ),
        IMAGE,
    ),
    "transposed": (
        lambda a: (
            F.conv_transpose2d(a[None], KERNEL[:2], stride=2, padding=1, output_padding=1),
            F.conv_transpose2d(a[None], GROUPED[:2], groups=2, dilation=2, padding=3),
        ),
        IMAGE,
    ),
    "numbers that differ": (lambda a: torch.cdist(a, a[:2], p=0.0) * a[0, 0], M),
    "pools": (
        lambda a: (
            F.max_pool2d(a, (2, 3), stride=(2, 1), padding=1),
            F.max_pool1d(a, 3, dilation=2),
            F.avg_pool2d(a, 2, padding=1),
            F.avg_pool2d(a, 2, padding=1, count_include_pad=False),
            F.avg_pool2d(a, 2, padding=1, count_include_pad=False, divisor_override=3),
            F.avg_pool1d(a, 3),
            F.adaptive_avg_pool2d(a, 3),
        ),
        IMAGE,
    ),
    "places of pools": (lambda a: F.max_pool2d(a, 3, stride=2, return_indices=True)[1] * a[0, 0, 0], IMAGE),
    "cells": (lambda a: (GRU(a, a * 2), *LSTM(a, (a * 2, a + 1))), M),
    "widths": (lambda a: D.Uniform(a - 1, a + 2).log_prob(a) + D.Kumaraswamy(a * a, 2.0).log_prob(a.sigmoid()), V),
    "jacobian": (lambda a: torch.func.jacrev(torch.sin)(a), V),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_are_those_of_torch(name):
    agrees(*FUNCTIONS[name], (1e-11, 1e-12), (1e-8, 1e-9))


def in_turn(a):
    found = [a[0]]
    for x in a:
        found.append(found[-1] * 0.5 + x.sin())
    return found[-1], torch.stack(found[:-1]) * a


LOOPS = {  # and the same without operators that take functions, which PyTorch would compile
    "cond": (
        lambda a: torch.cond(a[0] > 0, torch.sin, torch.cos, (a,)),
        lambda a: torch.where(a[0] > 0, a.sin(), a.cos()),
    ),
    "cond of a constant": (lambda a: torch.cond(True, torch.sin, torch.cos, (a,)), torch.sin),
    "scan": (lambda a: tuple(higher.scan(lambda c, x: (c * 0.5 + x.sin(), c * x), a[0], a)), in_turn),
    "while_loop": (
        lambda a: higher.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x.sin() * i), (torch.tensor(1), a))[1],
        lambda a: a.sin().sin() * 2,
    ),
    "associative_scan": (
        lambda a: higher.associative_scan(torch.mul, a, 0, combine_mode="generic"),
        lambda a: a.cumprod(0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_operators_that_take_functions(name):
    f, plain = (mg.from_torch(joined(each)) for each in LOOPS[name])
    weights = np.cos(np.arange(computed(plain, V).size))
    np.testing.assert_allclose(computed(f, V), computed(plain, V), rtol=1e-12)
    ours, right = (slope(lambda a, f=each: np.sum(weights * f(a)), V) for each in (f, plain))
    np.testing.assert_allclose(ours, right, rtol=1e-12)


def test_a_scan_stays_a_loop():
    def f(z):
        return higher.scan(lambda c, x: (torch.tanh(c + x), c.clone()), z[0], z)[0]

    found = list(toposort([trace(mg.from_torch(f), (build.input_("z", (300,)),), {})]))
    assert any(var.op == "loop" and var.attrs.length == 300 for var in found)
    assert len(found) < 12


def test_a_loop_that_a_draw_ends_is_refused():
    def f(z):
        return higher.while_loop(lambda x: x < 3, lambda x: (x + 1,), (z,))[0]  # this line

    with pytest.raises(mg.TraceError, match=r"while_loop with a traced condition.*mg\.while_loop") as caught:
        mg.estimate(mg.from_torch(f), mg.Normal(0.0, 1.0), 100)
    assert caught.value.lineno == f.__code__.co_firstlineno + 1


@pytest.mark.parametrize(("key", "said"), [
    (lambda k: (k, 7), "index 7 is out of bounds for dimension 1 with size 2"),
    (lambda k: (k, 1, 1), "too many indices"),
])  # fmt: skip
def test_keys_that_do_not_fit_are_refused_as_by_torch(key, said):
    def f(a):
        out = a.clone()
        out[key(whole(a[0, 0]) % 2)] = 1.0
        return out.sum()

    with pytest.raises(IndexError, match=said):
        mg.estimate(mg.from_torch(f), mg.Normal(np.zeros((2, 2)), 1.0), 10)
