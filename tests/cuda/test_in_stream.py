"""Estimates that stay on a device, in a stream of the caller's: on the stand-in for CuPy, where nothing waits."""

import re

import numpy as np
import pytest
from numba import types

import mcgrad as mg
from mcgrad.backends.cuda import conditions, driver
from mcgrad.backends.cuda.stream_run import Key, Places
from mcgrad.backends.finishing import Interval
from mcgrad.codegen.cuda.choose import emit
from mcgrad.codegen.cuda.key_in_memory import with_key_in_memory
from mcgrad.distributions import constraints
from mcgrad.ir.spaces import param
from mcgrad.kernels import in_stream as kernels
from mcgrad.toolchain import ptx
from tests.cuda import machines
from tests.cuda.test_backend import CASES, build, machine as machine

STREAM = 7


@pytest.fixture(autouse=True)
def stream(machine):
    machine.streams[STREAM] = machine.streams[0].__class__()
    return machine


class Results:
    """Memory for the results on the device."""

    def __init__(self, machine, components, dtype, errors=True):
        self.means = machine.cupy.asarray(np.zeros(len(components), dtype))
        self.errors = machine.cupy.asarray(np.zeros(len(components), dtype))
        self.nonfinite = machine.cupy.asarray(np.zeros((), np.int64))
        k = components.values.stop
        more = (self.errors.data.ptr, self.nonfinite.data.ptr) if errors else ()
        first = self.means.data.ptr
        self.places = Places(first, first + k * self.means.itemsize if len(components) > k else 0, *more)


def there(machine, estimator, **changes):
    """Values of the parameters on the device, by their inputs."""
    own = {**estimator.q.flat_params, **estimator.inputs.params}
    return {param(path): machine.cupy.asarray(np.array(changes.get(path, x))) for path, x in own.items()}


def put(machine, estimator, n=1000, seed=5, first=0, values=None, errors=True, **changes):
    results = Results(machine, estimator.derived.components, estimator.dtype, errors)
    values = there(machine, estimator, **changes) if values is None else values
    assert estimator.in_streams.obstacle() is None
    estimator.in_streams.put(values, n, seed, results.places, estimator.wrt, 0, STREAM, first)
    return results


def vectors(estimate):
    m = estimate.moments
    return m.estimate, m.stderr


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, "float64") for name in CASES if name != "joint"] + [("wave", "float32")]
)
def test_results_are_those_of_a_call(machine, name, dtype):
    estimator = build(name, dtype=dtype)
    tolerance = 1e-10 if dtype == "float64" else 3e-6
    for n, first in ((2, 0), (63, 1), (5001, 2**40 + 1)):
        expected = vectors(estimator(n, seed=2**63 + 9, first=first))
        found = put(machine, estimator, n, 2**63 + 9, first)
        machine.synchronize(STREAM)
        for mine, theirs in zip((found.means.get(), found.errors.get()), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def test_a_call_waits_for_nothing_and_allocates_in_the_callers_way(machine):
    """From the second call on: one piece of memory, launches and copies on the device, all in one stream."""
    estimator = build("blocks", data={"X": machine.cupy.asarray(CASES["blocks"][2]["data"]["X"])})
    put(machine, estimator)
    machine.synchronize(STREAM)
    values, results = there(machine, estimator), Results(machine, estimator.derived.components, "float64")
    machine.launches.clear()
    machine.waits = machine.transfers = machine.allocations = 0
    pieces = []

    def allocate(nbytes):
        pieces.append(nbytes)
        return machine.alloc(nbytes)

    with machine.cupy.cuda.using_allocator(allocate):
        estimator.in_streams.put(values, 1000, 5, results.places, estimator.wrt, 0, STREAM)
    assert (machine.waits, machine.transfers) == (0, 0)
    assert 1 <= len(pieces) <= 3  # for the run, and for matrices whose starts are no place to read vectors at
    assert machine.allocations == len(pieces) + 1  # an array of CuPy's, whose allocator the stand-in does not ask
    assert not machine.streams[0]
    slabs = len(list(estimator._kernel.chunks(0, 1000)))
    assert len(machine.launches) >= 3 + slabs  # key, pilot, shift, slabs and what adds up their partials, results
    assert np.isnan(results.means.get()).sum() == 0
    assert not results.means.get().any()  # nothing has run yet
    machine.synchronize(STREAM)
    np.testing.assert_allclose(results.means.get(), vectors(estimator(1000, seed=5))[0], rtol=1e-10, atol=1e-12)


def test_without_errors_no_draw_is_looked_at(machine):
    estimator = build("wave")
    found = put(machine, estimator, errors=False)
    machine.synchronize(STREAM)
    np.testing.assert_allclose(found.means.get(), vectors(estimator(1000, seed=5))[0], rtol=1e-10)
    assert not found.errors.get().any()
    assert [checked for _, checked, _ in estimator.in_streams._runs] == [False]


def pole(z, a):
    return np.where(z > 1.5, np.nan, a * z) + 1e9


@pytest.mark.parametrize("policy", ["propagate", "omit"])
def test_draws_that_are_not_finite_and_means_far_from_zero(machine, policy):
    options = {"params": {"a": 2.0}, "nonfinite": policy}
    estimator = mg.Estimator(pole, mg.Normal(0.1, 1.0), backend="cuda", **options)
    expected = estimator(3000, seed=5)
    found = put(machine, estimator, 3000)
    machine.synchronize(STREAM)
    assert found.nonfinite.get() == expected.nonfinite > 0
    for mine, theirs in zip((found.means.get(), found.errors.get()), vectors(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8)


FINISHED = {  # constants, factors, fixed entries, and those that are not finite
    "constant": (lambda z, a: a**2 + 0.0 * np.sum(z), {"a": 3.0}),
    "factor": (lambda z, a: a * np.sum(z[0] * z), {"a": 1e3}),
    "infinite": (lambda z, a: a * np.sum(z[0] * z), {"a": 1e308}),
}


@pytest.mark.parametrize("policy", ["propagate", "omit"])
@pytest.mark.parametrize("name", FINISHED)
def test_results_are_finished_as_on_the_host(machine, name, policy):
    f, params = FINISHED[name]
    tril = np.array([[3.0, 0.0], [0.5, 9.0]]) * (1e3 if name == "infinite" else 1.0)
    estimator = mg.Estimator(
        f, mg.MultivariateNormal(np.ones(2), tril), params=params, backend="cuda", nonfinite=policy
    )
    with np.errstate(all="ignore"):
        expected = estimator(500, seed=5)
        found = put(machine, estimator, 500)
        machine.synchronize(STREAM)
    assert found.nonfinite.get() == expected.nonfinite
    for mine, theirs in zip((found.means.get(), found.errors.get()), vectors(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_jacobians_follow_their_own_number(machine):
    def f(z, a):
        return np.stack([a * z, np.where(z > 2.0, np.inf, z) * 2.0, z**2])

    estimator = mg.Estimator(f, mg.Normal(0.3, 1.0), params={"a": 1.5}, backend="cuda")
    expected = vectors(estimator(2000, seed=5))
    found = put(machine, estimator, 2000)
    machine.synchronize(STREAM)
    assert 0 < np.isnan(expected[0]).sum() < len(expected[0]) - 3
    np.testing.assert_allclose(found.means.get(), expected[0], rtol=1e-9)
    np.testing.assert_allclose(found.errors.get(), expected[1], rtol=1e-9)


def test_squares_beyond_the_range_of_sums_are_no_standard_errors(machine):
    """A call computes them again by powers of two; here they are NaN, not 0 or infinite. Means are right."""
    estimator = mg.Estimator(lambda z, a: a * np.tanh(z), mg.Normal(0.1, 1.0), params={"a": 1e-25}, dtype="float32",
                             backend="cuda", wrt="loc")  # fmt: skip
    found, expected = put(machine, estimator, 1000), estimator(1000, seed=5)
    machine.synchronize(STREAM)
    np.testing.assert_allclose(found.means.get()[0], expected.value, rtol=1e-4)
    assert expected.stderr > 0
    assert found.errors.get()[0] == pytest.approx(expected.stderr, rel=1e-4) or np.isnan(found.errors.get()[0])


@pytest.mark.parametrize("changes", [{"scale": -1.0}, {"loc": np.nan}, {"c": np.inf}])
def test_values_on_the_device_that_are_not_accepted_make_all_results_nan(machine, changes):
    estimator = build("wave")
    put(machine, estimator)
    machine.synchronize(STREAM)
    full = {name: np.full(np.shape(estimator.q.flat_params.get(name, 0.0)), x) for name, x in changes.items()}
    with np.errstate(all="ignore"):
        found = put(machine, estimator, **full)
        machine.synchronize(STREAM)
    assert np.isnan(found.means.get()).all()
    assert np.isnan(found.errors.get()).all()


def test_values_of_the_host_are_refused_or_copied_once(machine):
    estimator = build("wave")
    values = there(machine, estimator)
    with pytest.raises(mg.ParameterError, match=r"scale: given -1"):
        put(machine, estimator, values={**values, param("scale"): np.full(3, -1.0)})
    with pytest.raises(mg.ParameterError, match=r"c: given inf"):
        put(machine, estimator, values={**values, param("c"): np.array(np.inf)})
    for c, copies in ((0.25, 1), (0.25, 0), (0.75, 1)):
        before = machine.allocations
        found = put(machine, estimator, values={**values, param("c"): np.array(c)})
        copied = next(iter(estimator.in_streams._runs.values()))._copies.all()
        assert len(copied) == 1
        machine.synchronize(STREAM)
        np.testing.assert_allclose(found.means.get()[0], estimator(1000, seed=5, c=c).value, rtol=1e-10)
        assert before + copies <= machine.allocations


def test_a_graph_draws_anew_where_its_seed_changes(machine):
    """The seed lies on the device, and so do parameters: a replay reads what is there then."""
    estimator = build("wave")
    seed = machine.cupy.asarray(np.array([9, 0], np.uint32))  # low, high
    key = Key(seed.data.ptr, seed.data.ptr + 4)
    values, results = there(machine, estimator), Results(machine, estimator.derived.components, "float64")

    def once():
        estimator.in_streams.put(values, 1000, tuple(key), results.places, estimator.wrt, 0, STREAM)

    machine.capturing[STREAM] = graph = []
    with pytest.raises(mg.BackendError, match="first run of an expectation"):
        once()
    del machine.capturing[STREAM]
    graph.clear()
    once()
    machine.synchronize(STREAM)
    machine.capturing[STREAM] = graph
    once()
    del machine.capturing[STREAM]
    for number, loc in ((3, 0.5), (2**33 + 1, -0.25)):
        seed._host[:] = number & 0xFFFFFFFF, number >> 32
        values[param("loc")]._host[...] = loc
        machine.replay(graph)
        expected = estimator(1000, seed=number, loc=np.full(3, loc))
        np.testing.assert_allclose(results.means.get(), vectors(expected)[0], rtol=1e-10)


def test_a_value_of_the_host_that_is_new_in_a_graph_is_refused(machine):
    estimator = build("wave")
    values = {**there(machine, estimator), param("c"): np.array(0.5)}
    put(machine, estimator, values=values)
    machine.synchronize(STREAM)
    machine.capturing[STREAM] = []
    put(machine, estimator, values=values)
    with pytest.raises(mg.BackendError, match=r"c: a value in host memory"):
        put(machine, estimator, values={**values, param("c"): np.array(0.75)})


RELATED = {
    "uniform": (lambda loc: mg.Uniform(loc, 2.0), "low", 0.25, 3.0),
    "triangular": (lambda loc: mg.Triangular(0.0, 3.0, loc), "peak", 1.25, 4.0),
    "truncated": (lambda loc: mg.TruncatedNormal(0.0, 1.0, low=loc, high=2.0), "low", -0.25, 2.5),
    "joint": (lambda loc: mg.Joint(a=mg.Normal(), b=mg.Uniform(loc, 2.0)), "b.low", 0.25, 3.0),
    "exponential": (lambda loc: mg.Uniform(loc, 2.0).transformed(np.exp), "low", 0.25, 3.0),
}


@pytest.mark.parametrize("name", RELATED)
def test_parameters_that_limit_one_another(machine, name):
    make, path, good, bad = RELATED[name]
    estimator = mg.Estimator(total, make(0.0 if name != "triangular" else 1.0), backend="cuda")
    expected = mg.Estimator(total, make(good), backend="numpy")(1000, seed=5)
    put(machine, estimator)
    machine.synchronize(STREAM)
    for value in (good, bad):
        with np.errstate(all="ignore"):
            found = put(machine, estimator, **{path: value})
            machine.synchronize(STREAM)
        if value == good:
            np.testing.assert_allclose(found.means.get(), vectors(expected)[0], rtol=1e-9)
        else:
            assert np.isnan(found.means.get()).all()


def total(z):
    return sum(np.sum(x**2) for x in mg.tree.flatten({"z": z}).values())


class Checked(mg.Uniform):
    """A family with a check of its own."""

    def check(self, flat):
        super().check(flat)


OBSTACLES = {
    "pilot": (mg.Normal(0.0, 1.0), {"method": "score", "baseline": "optimal"}, "pilot of method"),
    "raise": (mg.Normal(0.0, 1.0), {"nonfinite": "raise"}, "nonfinite"),
    "check": (Checked(0.0, 1.0), {}, "parameters of Checked are checked on the host"),
    "common noise": (mg.Normal(np.zeros(2), 1.0, batch_ndim=1), {"common_noise": True}, "rows with common noise"),
    "backend": (mg.Normal(0.0, 1.0), {"backend": "numpy"}, "'numpy'"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_stays_on_the_host_says_why(machine, name):
    q, options, message = OBSTACLES[name]
    estimator = mg.Estimator(lambda z: z**2, q, **{"backend": "cuda", **options})
    assert message in estimator.in_streams.obstacle()


def test_kernels_compile():
    """Those of kernels/in_stream.py, and an emitted one whose arguments are as wide as a launch makes them."""
    codes = [
        ptx.function_ptx(kernels.key, kernels.KEY, (8, 0)),
        ptx.function_ptx(kernels.row_ids, kernels.ROW_IDS, (8, 0)),
    ]
    codes.append(ptx.function_ptx(kernels.bounds, kernels.bounds_signature(types.uint8), (8, 0)))
    codes.append(ptx.function_ptx(kernels.shift, kernels.shift_signature(types.float32), (8, 0)))
    codes.append(ptx.function_ptx(kernels.results, kernels.results_signature(types.float32, types.float32), (8, 0)))
    program = mg.Estimator(lambda z: z**2, mg.Normal(), backend="numpy", dtype="float32").program
    emitted = with_key_in_memory(emit(program, True, by_value=False))
    codes.append(ptx.ptx(emitted.source, "kernel", (8, 0), []))
    widths = {"u64": 8, "u32": 4, "f64": 8, "f32": 4, "u8": 1, "b8": 1}
    found = [[widths[kind] for kind in re.findall(r"\.param \.(\w+)", code.text)] for code in codes]
    assert found[0] == [4, 4, 8]
    assert found[1] == [8, 8, 4, 8]
    assert found[2] == [8] * 5
    assert found[-1] == [8, 8, 8, 8, 8, 4, 1, 8, 8, 8]
    for name, of in zip(("key", "shift", "results"), (found[0], *found[3:5]), strict=True):
        assert of == [8 if kind.startswith("pointer") else int(kind[-2:]) // 8 for kind in machines.IN_STREAM[name]]


def test_ends_that_are_accepted(machine):
    """0 is a probability, in float32 too, on the device as on the host."""
    array = machine.cupy.asarray(np.array([0.0, 1.0], np.float32))
    assert constraints.unit_interval.check(array)
    assert constraints.nonnegative.check(array)
    held = driver.devices()[0]
    for below, above, holds in ((*constraints.bounds_of(constraints.unit_interval), 1), (0.0, 2.0, 0)):
        with held.current():
            found = conditions.accepted([Interval(array, below, above)], held, STREAM)
        machine.synchronize(STREAM)
        assert found.get() == holds
