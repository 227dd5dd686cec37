"""The CUDA backend on a stand-in for CuPy: launches, slabs, devices, shifts, draws that are not finite."""

from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import kernel as cuda_kernel
from tests.cuda.problems import CASES, agree, build, identical, machine as machine, two as two


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(machine, name):
    ours, theirs = build(name), build(name, "numpy")
    for n, first in ((2, 0), (63, 1), (64, 64), (1000, 77), (5001, 2**40 + 1)):
        agree(ours(n, seed=5, first=first), theirs(n, seed=5, first=first), 1e-10)
    assert ours(1000).backend == "cuda"


def test_float32(machine):
    agree(build("wave", dtype="float32")(3000), build("wave", "numpy", "float32")(3000), 2e-6)


def test_a_little_is_one_launch_and_no_copy(machine):
    estimator = build("wave")
    estimator(10)
    machine.launches.clear()
    estimator(60, loc=np.zeros(3))
    assert machine.launches == [(0, 1)]  # one chunk, straight into the host's memory
    machine.launches.clear()
    estimator(300)
    assert len(machine.launches) == 2  # chunks, and what adds them up
    assert machine.copies == []


def test_slabs_cover_the_range_and_depend_on_it_alone(two):
    kernel = build("wave")._kernel
    for first, n in ((0, 2), (3, 100), (64, 10**6), (2**40 + 1, 10**9)):
        slabs = list(kernel.chunks(first, n))
        assert slabs[0][0] == first
        assert slabs[-1][1] == first + n
        assert all(a[1] == b[0] and a[1] % kernel.block == 0 for a, b in pairwise(slabs))
        assert slabs == list(kernel.on([1]).chunks(first, n))


def test_partials_fit_in_memory_whatever_the_number_of_outputs(machine, monkeypatch):
    kernel = build("wave")._kernel
    monkeypatch.setattr(kernel, "rows", 20_000)
    sizes = {-(-(stop - start) // kernel.block) for start, stop in kernel.chunks(0, 10**9)}
    assert max(sizes) * 20_000 * 8 <= cuda_kernel.MOST_PARTIALS


def test_two_devices_give_the_same_bits_as_one(two):
    estimators = [build("wave", devices=devices) for devices in (None, [0], [1], (1, 0))]
    estimates = [estimator(20_000, seed=3) for estimator in estimators]
    for estimate in estimates[1:]:
        identical(estimates[0], estimate)
    assert {device for device, _ in two.launches} == {0, 1}
    two.launches.clear()
    estimators[2](20_000)
    assert {device for device, _ in two.launches} == {1}


@pytest.mark.parametrize("devices", [[2], [0, 0], [], [-1], ["a"], 0])
def test_devices_that_are_not_there(two, devices):
    with pytest.raises(mg.ParameterError, match=r"devices: given .*0 \(Fake GPU\), 1 \(Fake GPU\)"):
        build("wave", devices=devices)


def test_devices_of_a_backend_without(two):
    with pytest.raises(mg.ParameterError, match=r"devices: given .*'cpu'"):
        build("wave", "cpu", devices=[0])


def test_parts_merge_to_the_whole(machine):
    estimator = build("regression")
    whole, parts = estimator(3000), [estimator(1000), estimator(2000, first=1000)]
    agree(whole, parts[0].merge(parts[1]))


def test_progress(machine):
    seen = []
    build("wave")(20_000, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 20_000
    assert len(seen) > 3


# Shifts, and draws that are not finite


def test_a_mean_far_from_zero_is_averaged_again(machine):
    f, q = (lambda z: z + 1e6), mg.Normal(0.0, 1e-2)
    ours, theirs = (mg.estimate(f, q, 5000, backend=backend) for backend in ("cuda", "numpy"))
    assert abs(ours.stderr / theirs.stderr - 1) < 1e-6


@pytest.mark.parametrize("policy", ["propagate", "omit"])
def test_draws_that_are_not_finite(machine, policy):
    def pole(z):
        return np.where(z > 1.5, np.nan, z)

    q = mg.Normal(0.0, 1.0)
    ours, theirs = (mg.estimate(pole, q, 3000, backend=b, nonfinite=policy) for b in ("cuda", "numpy"))
    assert ours.nonfinite == theirs.nonfinite > 0
    agree(ours, theirs)
    with pytest.raises(mg.NonFiniteError):
        mg.estimate(pole, q, 3000, backend="cuda", nonfinite="raise")


def test_launches_are_shared_out_evenly_whatever_their_number():
    """Also where there are more at once than streams, and after that."""
    turns = cuda_kernel.Turns(["a", "b"])
    for _ in range(3):
        assert in_use(turns, 7) == ["a", "b", "a", "b", "a", "b", "a"]
        assert [in_use(turns, 1) for _ in range(3)] == [["a"]] * 3
    with pytest.raises(KeyError), turns.next():
        raise KeyError
    assert in_use(turns, 2) == ["a", "b"]


def in_use(turns, number):
    """Return which devices have launches at once."""
    with ExitStack() as stack:
        return [stack.enter_context(turns.next()) for _ in range(number)]
