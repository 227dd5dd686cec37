"""Expectations of tensors on a CUDA device, with stand-ins for the device, for CuPy, and for tensors there.

A tensor that stands for one on the device is one of the CPU that says otherwise; its memory is the stand-in's.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.system.recent import Recent
from tests.cuda import row_machines
from tests.cuda.test_backend import machine as machine

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from mcgrad.torch import on_cuda, operator, problems, seeds  # noqa: E402  they need torch
from mcgrad.torch.api import _prepared  # noqa: E402

STREAM = 11


class There(torch.Tensor):
    """A tensor that says that it is on a CUDA device."""

    is_cuda, is_cpu, device = True, False, torch.device("cuda", 0)
    __torch_function__ = torch._C._disabled_torch_function_impl

    def detach(self):
        return self

    @property
    def on_the_device(self):
        return torch.Tensor.detach(self).as_subclass(torch.Tensor).numpy()


@pytest.fixture
def device(machine, monkeypatch):
    """A machine as PyTorch's device, whose current stream is `STREAM`."""
    return prepare(machine, monkeypatch)


def prepare(machine, monkeypatch):
    machine.streams[STREAM] = machine.streams[0].__class__()
    machine.torch_memory = []
    empty = torch.empty

    def allocate(*shape, device=None, **options):
        made = empty(*shape, **options)
        if device is not None:
            there(machine, made)
            machine.torch_memory.append(made.nbytes)
        return made

    monkeypatch.setattr(torch, "empty", allocate)
    monkeypatch.setattr(problems, "_recent", Recent(8))  # those of another machine are not for this one
    stream = SimpleNamespace(cuda_stream=STREAM)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: STREAM in machine.capturing)
    return machine


def there(machine, x):
    """Register the memory of a tensor with the stand-in."""
    memory = x.detach().numpy().reshape(-1).view(np.uint8)
    machine.blocks[x.data_ptr()] = (memory, 0)
    return x


def f(z, w, x):
    return np.sum(np.square(z - w) * x)


LOC, SCALE, W, X = np.array([0.3, -0.2]), np.array([1.0, 0.5]), np.array([0.5, 0.1]), np.array([1.0, 2.0])


class Case:
    """One call at tensors on the device: scale before loc, so that gradients change places."""

    def __init__(self, machine, n=1000, errors=True, q=mg.Normal, function=f, data=None, **options):
        own = {name: torch.tensor(x, requires_grad=True) for name, x in (("scale", SCALE), ("loc", LOC))}
        params, data = {"w": torch.tensor(W, requires_grad=True)}, {"x": torch.tensor(X)} if data is None else data
        given = {"method": "pathwise", "baseline": None, "k": 16, "backend": "cuda", "threads": None}
        given |= {"nonfinite": "propagate", "batched_params": (), "batched_data": (), **options}
        self.call, found, self.problem = _prepared(
            function, q, n, params, data, None, tuple(given.items()), None, own, errors
        )
        self.tensors = [there(machine, x.detach()).as_subclass(There) for x in found.tensors]
        self.machine = machine

    def __call__(self, seed):
        """Return what the operator returns."""
        return operator.solve(self.tensors, seed, *self.call)

    def there(self, seed):
        """Return what is estimated on the device, or None where it goes by way of the host."""
        call, known = self.call, self.problem.known
        arrays = [x.on_the_device if leaf.is_fixed else x for leaf, x in zip(known, self.tensors, strict=True)]
        return on_cuda.outputs(
            self.problem, self.tensors, arrays, call.n, seed, call.dtype, call.errors, (), 6, There.device
        )


def right(n=1000, seed=5):
    return mg.Estimator(f, mg.Normal(LOC, SCALE), params={"w": W}, data={"x": X}, backend="numpy")(n, seed)


ORDER = ("scale", "loc", "w")


def check(outputs, est):
    value, grad, stderr, nonfinite = outputs
    np.testing.assert_allclose(value, est.value, rtol=1e-12)
    np.testing.assert_allclose(grad, np.concatenate([est.grad[name] for name in ORDER]), rtol=1e-12)
    errors = [[est.stderr], *(est.grad_stderr[name] for name in ORDER)]
    np.testing.assert_allclose(stderr, np.concatenate(errors), rtol=1e-12)
    assert nonfinite == est.nonfinite


def test_results_are_those_of_an_estimate_and_nothing_waits(device):
    case = Case(device)
    case(5)
    device.synchronize(STREAM)
    device.waits = device.transfers = 0
    device.torch_memory.clear()
    outputs = case(6)
    assert (device.waits, device.transfers) == (0, 0)
    assert not device.streams[0]
    assert device.torch_memory[:4] == [8, 6 * 8, 7 * 8, 8]  # the results; then what CuPy was given
    assert len(device.torch_memory) > 4
    device.synchronize(STREAM)
    check(outputs, right(seed=6))


def test_a_seed_on_the_device_is_read_there(device):
    case = Case(device)
    for seed in (7, 2**63 + 5):
        tensor = there(device, torch.tensor(seed - (1 << 64) if seed >> 63 else seed)).as_subclass(There)
        outputs = case(tensor)
        device.synchronize(STREAM)
        check(outputs, right(seed=seed))


def test_a_captured_call_reads_tensors_and_seed_again(device):
    case, seed = Case(device), there(device, torch.tensor(3)).as_subclass(There)
    device.capturing[STREAM] = graph = []
    with pytest.raises(mg.BackendError, match=r"not called before, which compiles it; call it once"):
        case(seed)
    del device.capturing[STREAM]
    case(seed)
    device.synchronize(STREAM)
    device.capturing[STREAM] = graph
    outputs = case(seed)
    del device.capturing[STREAM]
    for number in (3, 4):
        seed.on_the_device[...] = number
        device.replay(graph)
        check(outputs, right(seed=number))


@pytest.mark.parametrize(("options", "message"), [
    ({"nonfinite": "raise"}, "nonfinite"),
    ({"method": "score", "baseline": "optimal"}, "pilot of method"),
    ({"backend": "cpu"}, "the backend is 'cpu'"),
    ({"data": {"x": torch.tensor([1, 2])}}, "x holds integers or booleans"),
])  # fmt: skip
def test_what_goes_by_way_of_the_host(device, options, message):
    """It is estimated there; but a graph, which cannot have it, is refused by name."""
    case = Case(device, **options)
    assert case.there(5) is None
    device.capturing[STREAM] = []
    with pytest.raises(mg.BackendError, match=f"a CUDA graph cannot capture this expectation: .*{message}"):
        case.there(5)


def test_tensors_of_two_devices_are_refused(device, monkeypatch):
    case = Case(device)
    monkeypatch.setattr(There, "device", property(lambda self: torch.device("cuda", self.numel() - 1)))
    case.tensors[0] = case.tensors[0][:1].as_subclass(There)
    with pytest.raises(mg.ParameterError, match=r"loc: given a tensor on cuda:1, beside others on cuda:0"):
        case(5)


def test_seeds_of_a_captured_call_are_drawn_on_the_device(device, monkeypatch):
    """So each replay draws another; elsewhere they are drawn on the host, whatever the device."""
    asked = []
    monkeypatch.setattr(torch, "randint", lambda *args, **options: asked.append(options) or torch.tensor(1))
    like = Case(device).tensors
    assert seeds.seed_number(None, None, like) == 1
    device.capturing[STREAM] = []
    seeds.seed_number(None, None, like)
    assert [str(options["device"]) for options in asked] == ["cpu", "cuda:0"]
    assert seeds.seed_number(4, None, like) == 4


def by_row(z, w, x):
    return np.sum(np.square(z - x) * w)


@pytest.mark.parametrize("reduce", [None, "sum"])
def test_batches_stay_on_the_device(monkeypatch, reduce):
    """The stand-in's streams work at once here, as what is computed of moments on a device does not wait for them."""
    machine = row_machines.machine(monkeypatch)
    prepare(machine, monkeypatch)
    machine.eager = True
    loc, x = np.arange(6.0).reshape(3, 2) / 10, np.arange(6.0).reshape(3, 2)
    own = {"loc": torch.tensor(loc, requires_grad=True), "scale": torch.tensor(0.5, requires_grad=True)}
    options = {"method": "pathwise", "baseline": None, "k": 16, "backend": "cuda", "threads": None}
    options |= {"nonfinite": "propagate", "batched_params": (), "batched_data": "x"}
    params, data = {"w": torch.tensor(W, requires_grad=True)}, {"x": torch.tensor(x)}
    static = {**own, "batch_ndim": 1}
    call, found, kept = _prepared(
        by_row, mg.Normal, 200, params, data, None, tuple(options.items()), reduce, static, True
    )
    assert kept
    tensors = [there(machine, x.detach()).as_subclass(There) for x in found.tensors]
    operator.solve(tensors, 5, *call)
    machine.waits = machine.transfers = 0
    value, grad, stderr, nonfinite = operator.solve(tensors, 6, *call)
    assert (machine.waits, machine.transfers) == (0, 0)
    est = mg.Estimator(by_row, mg.Normal(loc, 0.5, batch_ndim=1), params={"w": W}, data={"x": x}, batched_data="x",
                       backend="numpy", reduce=reduce or "none")(200, 6)  # fmt: skip
    np.testing.assert_allclose(value, est.value, rtol=1e-9)
    np.testing.assert_allclose(grad, np.concatenate([np.ravel(est.grad[n]) for n in ("loc", "scale", "w")]), rtol=1e-9)
    errors = [est.stderr, *(est.grad_stderr[n] for n in ("loc", "scale", "w"))]
    np.testing.assert_allclose(stderr, np.concatenate([np.ravel(x) for x in errors]), rtol=1e-9)
    assert nonfinite == 0
