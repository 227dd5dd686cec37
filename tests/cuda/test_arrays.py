"""What draw-independent values are computed with answers to CuPy's arrays: the stand-in's, and CuPy by its names."""

import importlib

import numpy as np
import pytest

from mcgrad import arrays
from mcgrad.errors import BackendError, ParameterError
from mcgrad.ir.interpret import interpret
from mcgrad.ir.ops import OPS
from tests.cuda.fake_cupy import Machine, install
from tests.ops.problems import OP_SAMPLES
from tests.ops.test_meaning_and_derivative import leaves_of


@pytest.fixture
def machine(monkeypatch):
    return install(Machine(), monkeypatch)


def test_every_op_is_computed_on_the_device(machine):
    for sample in OP_SAMPLES:
        at = leaves_of(sample)
        root = sample.build(*at)
        (host,) = interpret([root], at, "float64")
        machine.transfers = 0
        (there,) = interpret([root], {var: machine.cupy.asarray(x) for var, x in at.items()}, "float64")
        # which CuPy has not, or with other rules for matrices without a result: a way through the host
        lacking = sample.id.startswith(("ndtri_exp", "gamma_")) or OPS[root.op].category == "matrices"
        assert (machine.transfers > 0) == lacking, sample.id
        np.testing.assert_array_equal(there.get(), host, err_msg=sample.id)
    assert len(machine.asked) > 50


def test_cupy_has_the_functions_that_are_asked_for(monkeypatch):
    cupy = pytest.importorskip("cupy")
    special = importlib.import_module("cupyx.scipy.special")
    made = install(Machine(), monkeypatch)
    for sample in OP_SAMPLES:
        at = leaves_of(sample)
        interpret([sample.build(*at)], {var: made.cupy.asarray(x) for var, x in at.items()}, "float64")
    assert [name for name in made.asked if not hasattr(cupy, name) and not hasattr(special, name)] == []


def test_what_counts_as_an_array_on_a_device(machine):
    class Elsewhere:  # as a tensor of PyTorch on the CPU
        @property
        def __cuda_array_interface__(self):
            raise AttributeError

        def __dlpack_device__(self):
            return (1, 0)

    values = [1.0, np.ones(2), np.float32(1), [1.0], None, "x", Elsewhere()]
    assert [arrays.on_device(value) for value in values] == [False] * len(values)
    assert arrays.on_device(machine.cupy.asarray(1.0))


def test_what_cupy_does_not_take_over_is_refused(machine):
    class NeedsGradient:
        def __dlpack_device__(self):
            return (2, 0)

        def __dlpack__(self, **options):
            raise BufferError("it requires a gradient; detach it")

    def refuse(value):
        return value.__dlpack__()

    machine.cupy.from_dlpack = refuse
    with pytest.raises(ParameterError, match=r"loc: given .*detach"):
        arrays.as_cupy("loc", NeedsGradient())


def test_without_cupy_the_remedy_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r'pip install "cupy-cuda1[23]x'):
        arrays.cupy()
