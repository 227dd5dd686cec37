"""Few draws of wide events: loops over elements give the moments of the reference, for any Program that has them."""

import re

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk, suited
from mcgrad.backends.cpu import CpuBackend, CpuKernel
from mcgrad.backends.cpu_few import ByElement
from mcgrad.backends.registry import find
from mcgrad.codegen.cpu import by_element
from tests.emit.plain import low_thresholds, plain_backend  # noqa: F401 - fixtures
from tests.emit.test_fuse import FUSED, OTHERS, Q
from tests.emit.test_tiles import INTEGRANDS

RNG = np.random.default_rng(3)
X = RNG.standard_normal((50, 20))
VECTOR = mg.Normal(np.linspace(-0.5, 0.5, 4), 0.6)
WIDE = mg.Normal(RNG.standard_normal((30, 20)), np.full((30, 20), 0.3))
W = RNG.standard_normal((20, 24))
MACHINE = {
    "logistic": (lambda z: np.sum(np.logaddexp(0, X @ z)), mg.Normal(np.zeros(20), 0.7)),
    "layers": (lambda z, *, w: np.sum(np.tanh(z @ w) ** 2), WIDE),
    "gamma": (lambda z: np.sum(np.sin(z)), mg.Gamma(np.linspace(0.5, 3, 40), 1.0)),
    "columns": (lambda z: np.sum(np.log(np.cosh(z)) * z), mg.Normal(np.linspace(-1, 1, 80).reshape(20, 4), 0.5)),
    "uniform": (lambda z: np.max(z) + np.sum(np.where(z > 0.5, z * z, z[::-1])), mg.Uniform(np.zeros(64), 1.5)),
}


def agrees(kernel, program, inputs, first, stop, digits):
    found = one_chunk(kernel.bind(inputs), 7, first, stop, False)
    right = one_chunk(find("numpy").compile(program).bind(inputs), 7, first, stop, False)
    size = np.hypot(right.moments.mean, right.moments.norm)
    size += 0.01 * size.max()  # what single components lose where terms cancel
    for name in ("mean", "norm"):
        gap = np.abs(getattr(found.moments, name) - getattr(right.moments, name)) / size
        assert gap.max(initial=0.0) < 10.0**-digits
    assert (found.moments.count, found.nonfinite) == (right.moments.count, right.nonfinite)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUSED | OTHERS | INTEGRANDS)
@pytest.mark.usefixtures("low_thresholds")
def test_any_program_in_plain_python(plain_backend, monkeypatch, name, dtype):  # noqa: F811
    monkeypatch.setattr(by_element, "SLOWEST", np.inf)
    f, q = (INTEGRANDS[name], VECTOR) if name in INTEGRANDS else ((FUSED | OTHERS)[name], Q)
    made = mg.Estimator(f, q, backend="numpy", dtype=dtype)
    kernel = plain_backend.compile(made.program).by_element
    assert isinstance(kernel, ByElement)
    agrees(kernel, made.program, made.inputs.values({}), 3, 21, 4 if dtype == "float32" else 10)


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float32") for name in MACHINE), ("uniform", "float64")])
def test_machine_code(monkeypatch, name, dtype):
    monkeypatch.setattr(by_element, "SLOWEST", np.inf)
    f, q = MACHINE[name]
    made = mg.Estimator(f, q, params={"w": W} if name == "layers" else None, backend="numpy", dtype=dtype)
    kernel = suited(CpuBackend().compile(made.program), 5)
    assert isinstance(kernel, ByElement)
    for first, n in ((0, 1), (2, 2), (13, 20), (2**33, 3)):
        agrees(kernel, made.program, made.inputs.values({}), first, first + n, 4 if dtype == "float32" else 11)


def test_which_kernel_it_is_depends_on_the_program_and_the_number_of_draws():
    wide = CpuBackend().compile(mg.Estimator(*MACHINE["logistic"], backend="numpy").program)
    narrow = CpuBackend().compile(mg.Estimator(lambda z: np.sum(z**2), VECTOR, backend="numpy").program)
    scan = CpuBackend().compile(mg.Estimator(lambda z: np.sum(np.cumsum(z) ** 2), WIDE, backend="numpy").program)
    assert isinstance(wide.for_draws(wide.block // 4 + 4), ByElement)  # more than blocks of few lanes are for
    assert (wide.for_draws(10**6), suited(find("numpy"), 2)) == (wide, find("numpy"))
    assert narrow.for_draws(narrow.block // 4) is narrow.few_lanes
    assert narrow.for_draws(narrow.block // 4 + 1) is narrow
    assert isinstance(scan.for_draws(2), CpuKernel)


@pytest.mark.parametrize(
    ("f", "shape", "extents"),
    [
        (lambda z: np.sum(np.sin(z) ** 2), (40, 2, 2), [160]),
        (lambda z: np.sum(np.sin(z[1:]) * z[:-1]), (40, 4), [160, 156, 160]),
        (lambda z: np.sum(np.tanh(np.sum(np.cos(z), axis=0))), (40, 4), [40, 4, 4, 40, 4]),  # sums have one axis
        (lambda z: np.sum(np.cumsum(z, axis=0) ** 2), (40, 4), [40, 4, 40, 4]),
    ],
)
def test_neighbouring_axes_are_one_loop(monkeypatch, f, shape, extents):
    monkeypatch.setattr(by_element, "SLOWEST", np.inf)
    program = mg.Estimator(f, mg.Normal(np.zeros(shape), 1.0), wrt="loc", backend="numpy").program
    emitted = by_element.emit_by_element(program)
    loops = re.findall(r"for i\d in range\(at_constant\(t, (\d+)\)", emitted.source)
    assert [emitted.tables[int(place)] for place in loops] == extents


def test_the_same_bits_for_any_threads_and_for_merged_parts_to_rounding():
    f, q = MACHINE["layers"]
    one, two = (mg.Estimator(f, q, params={"w": W}, backend="cpu", threads=threads) for threads in (1, 2))
    assert one(30).to_dict()["moments"] == two(30).to_dict()["moments"]
    merged = one(14).merge(one(16, first=14))
    np.testing.assert_allclose(merged.moments.norm, one(30).moments.norm, rtol=1e-12)


@pytest.mark.parametrize("nonfinite", ["propagate", "omit"])
def test_draws_that_are_not_finite(nonfinite):
    f = lambda z: np.sum(np.log(z + 1.2))  # noqa: E731
    q = mg.Normal(np.zeros(20), 0.5)
    right, found = (mg.Estimator(f, q, backend=name, nonfinite=nonfinite)(12) for name in ("numpy", "cpu"))
    assert 0 < found.nonfinite == right.nonfinite < 12
    np.testing.assert_allclose(found.moments.mean, right.moments.mean, rtol=1e-10)
    np.testing.assert_allclose(found.moments.norm, right.moments.norm, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_squares_beyond_the_range_of_float64(scale):
    f, q = lambda z: np.sum(z**2) * scale, mg.Normal(np.zeros(20), 0.5)
    right, found = (mg.Estimator(f, q, backend=name)(6) for name in ("numpy", "cpu"))
    np.testing.assert_allclose(found.moments.stderr, right.moments.stderr, rtol=1e-10)
