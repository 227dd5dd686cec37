"""Nests that run in one loop, with rings of rows, give the same bits as nests one after the other with all rows."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.special as sc

import mcgrad as mg
import mcgrad.codegen.loops.fuse
from mcgrad.backends.cpu import CpuBackend
from mcgrad.codegen.cpu import chunk
from mcgrad.codegen.loops.allocate import allocate
from mcgrad.codegen.loops.build import build
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.fuse import APART, fuse
from mcgrad.codegen.loops.loop_tree import Loop, Stage, touched, walk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import schedule
from mcgrad.codegen.loops.show import show
from tests.emit.plain import low_thresholds, plain_backend  # noqa: F401 - fixtures

SIZE = 41
RNG = np.random.default_rng(4)
X, ORDER, Y = RNG.standard_normal((SIZE, SIZE)), RNG.permutation(SIZE), RNG.standard_normal((SIZE, 5))
Q = mg.Normal(np.linspace(0.2, 0.6, SIZE), 0.4)


def rosenbrock(z):
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


FUSED = {
    "chain": rosenbrock,
    "far neighbours": lambda z: np.sum(np.sin(z[7:] * z[:-7])),
    "neighbours at several distances": lambda z: np.sum(np.tanh(z[3:] - z[1:-2] * z[:-3])) + np.sum(z[1:] * z[:-1]),
    "neighbours of neighbours": lambda z: np.sum(np.diff(np.tanh(np.diff(np.sin(z)))) ** 2),
    "zeros at both ends": lambda z: np.sum(np.diff(np.pad(np.sin(z), (2, 3))) ** 2 * np.pad(z, (1, 3))),
    "running products": lambda z: np.cumprod(1 + 0.1 * np.tanh(z[1:] * z[:-1]))[-1],
    "branches": lambda z: np.sum(np.where(z[1:] > z[:-1], z[1:] ** 2, np.exp(z[:-1]))),
    "two chains": lambda z: rosenbrock(z) + rosenbrock(np.sin(z)),
    "a chain of the softmax": lambda z: rosenbrock(sc.softmax(z)),
    "a chain and a product": lambda z: rosenbrock(z) * np.sum(np.tanh(X @ z)),
}
OTHERS = {
    "sums backwards": lambda z: np.sum(np.sin(np.cumsum(z[1:] * z[:-1]))),
    "too far neighbours": lambda z: np.sum(np.sin(z[20:] * z[:-20])),
    "reversed": lambda z: np.sum(np.sin(z) * np.tanh(z[::-1])),
    "in another order": lambda z: np.sum(np.sin(np.exp(z))[ORDER] * z),
    "every second": lambda z: np.sum(np.sin(z[::2]) * np.cos(z[::2] + z[1])),
    "one element for all": lambda z: np.sum(np.sin(z[0] * z)),
    "sums that elements need": lambda z: sc.logsumexp(z) + np.sum((z - np.mean(z)) ** 3),
    "largest": lambda z: np.max(z * z) + np.min(np.sin(z)),
    "joined": lambda z: np.sum(np.tanh(np.concatenate([z[1:], [1.0], np.sin(z)])) ** 2),
    "turned around": lambda z: np.sum(np.sin(np.roll(z, 1) * z)),
    "rows and columns": lambda z: np.sum(np.tanh(np.outer(z, z[:5]) * Y), axis=0) @ z[5:10],
    "gaps": lambda z: np.sum(np.repeat(np.sin(z), 2)[1:] * np.repeat(z, 2)[:-1]),
}


def never(kernel, dtype, lanes):
    return kernel, allocate(kernel, dtype, lanes)


def always(kernel, dtype, lanes):
    fused = fuse(kernel)
    return fused, replace(allocate(fused, dtype, lanes), lanes=allocate(kernel, dtype, lanes).lanes)


def compiled(backend, monkeypatch, f, fused, dtype="float64", q=Q, checked=False):
    monkeypatch.setattr(chunk, "_in_cache", always if fused else never)
    estimator = mg.Estimator(f, q, backend="numpy", dtype=dtype)
    kernel = backend.compile(estimator.program)
    assert not checked or kernel.checked  # is made when first asked for
    return kernel.bind(estimator.inputs.values({}))


def sums(bound, start, stop, checked=False):
    """Sums, squares and counts of the chunk function itself."""
    shift = np.zeros(bound.kernel.fast.components, bound.kernel.fast.dtype)
    found = bound.sums(7, start, stop, shift, checked, checked)
    return [found.sums, found.squares, found.used, found.nonfinite]


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name", FUSED | OTHERS)
@pytest.mark.usefixtures("low_thresholds")
def test_same_bits(plain_backend, monkeypatch, name, checked):  # noqa: F811
    f = (FUSED | OTHERS)[name]
    spoiled = (lambda z: f(z) + np.log(z[0])) if checked else f
    separate, together = (
        compiled(plain_backend, monkeypatch, spoiled, fused, checked=checked) for fused in (False, True)
    )
    with np.errstate(all="ignore"):
        for got, want in zip(sums(together, 3, 21, checked), sums(separate, 3, 21, checked), strict=True):
            np.testing.assert_array_equal(got, want)
    assert not checked or sums(together, 3, 21, True)[3] > 0
    if name in FUSED and not checked:
        assert re.search(r"\bfor k in ", together.kernel.source())
        assert together.kernel.fast.emitted.rows < separate.kernel.fast.emitted.rows
    assert "for k in " not in separate.kernel.source()


@pytest.mark.parametrize("apart", [0, 3])
def test_any_delay_above_the_least_will_do(plain_backend, monkeypatch, apart):  # noqa: F811
    for f in FUSED.values():
        separate = compiled(plain_backend, monkeypatch, f, fused=False)
        monkeypatch.setattr(mcgrad.codegen.loops.fuse, "APART", apart)
        together = compiled(plain_backend, monkeypatch, f, fused=True)
        for got, want in zip(sums(together, 3, 21), sums(separate, 3, 21), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_machine_code_of_a_long_chain(monkeypatch, dtype):
    q = mg.Normal(np.linspace(-0.5, 0.5, 700), np.linspace(0.3, 0.8, 700))
    separate, together = (compiled(CpuBackend(), monkeypatch, rosenbrock, fused, dtype, q) for fused in (False, True))
    assert (separate.kernel.block, together.kernel.fast.emitted.rows < 30) == (together.kernel.block, True)
    for start, stop in ((0, 4096), (5, 1000)):
        for got, want in zip(sums(together, start, stop), sums(separate, start, stop), strict=True):
            np.testing.assert_array_equal(got, want)


def test_chains_are_fused_only_beyond_the_cache(monkeypatch):
    def rows(size):
        program = mg.Estimator(rosenbrock, mg.Normal(np.zeros(size), 1.0), backend="numpy").program
        return CpuBackend().compile(program).fast.emitted.rows

    monkeypatch.setattr("mcgrad.backends.cpu_compiled.load", lambda *args: None)
    assert rows(400) > 1600
    assert rows(4000) == rows(2000) < 30


def test_delays_of_a_chain():
    """The second nest reads an element after its own, and the third what the second has made of it and one before."""
    program = lower(mg.Estimator(rosenbrock, Q, backend="numpy").program)
    kernel = build(schedule(program))
    fused = fuse(kernel)
    (loop,) = (node for node in fused.block if isinstance(node, Loop) and node.axis == "k")
    stages = [node for node in loop.body if isinstance(node, Stage)]
    assert [stage.delay for stage in stages] == [0, 1 + APART, 1 + 2 * APART]
    assert loop.extent == SIZE + 1 + 2 * APART
    rings = {buffer for node in walk(fused.block) for buffer in touched(node) if buffer.ring}
    assert {buffer.ring for buffer in rings} == {2, 4}
    assert not any(Buffer("value", buffer.var) in set(touched(node)) for buffer in rings for node in walk(fused.block))
    assert f"if 0 <= i0 = k - {1 + APART} < {SIZE - 1}" in show(fused.block, fused.names)
    assert "ring of 4 of" in show(fused.block, fused.names)
