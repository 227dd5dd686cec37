"""What "auto" chooses among fake backends, what it says of it, and what becomes of a backend that fails."""

import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import rates, registry
from mcgrad.backends.base import NEVER, Cost
from mcgrad.backends.numpy import NumpyBackend, NumpyKernel
from mcgrad.engine import dispatch

Q = mg.Normal(0.3, 1.2)
PROGRAM = mg.Estimator(np.sin, Q, backend="numpy").program
MISSING = 'CuPy is not installed: pip install "cupy-cuda12x"'


class Fake:
    """Runs on NumPy; its cost is a parameter, and it fails where a test sets that."""

    def __init__(self, name, compile=0.0, start=0.0, draw=0.0, missing=None):
        self.name, self.missing = name, missing
        self.compile_seconds, self.start, self.draw = compile, start, draw
        self.asked = []
        self.compile_error = self.run_error = None

    def unavailable(self):
        self.asked.append("unavailable")
        return self.missing

    def cost(self, program, draws, threads):
        self.asked.append("cost")
        return Cost(self.compile_seconds, self.start, self.draw * draws)

    def compile(self, program):
        self.asked.append("compile")
        if self.compile_error:
            raise mg.BackendError(self.compile_error)
        right = NumpyKernel(program)
        shared = {name: getattr(right, name) for name in ("block", "chunks", "workers", "limits", "source")}
        return SimpleNamespace(**shared, bind=lambda inputs: self.bind(right, inputs))

    def bind(self, right, inputs):
        bound = right.bind(inputs)

        def failing(work):
            def call(*args):
                if self.run_error:
                    raise mg.BackendError(self.run_error)
                return work(*args)

            return call

        return SimpleNamespace(shift=failing(bound.shift), partial=failing(bound.partial))


@pytest.fixture
def fakes(monkeypatch):
    """Stand in for all backends: slow to draw; slow to compile; slow to compile and to start, and fast."""
    made = SimpleNamespace(
        numpy=Fake("numpy", draw=1e-6),
        cpu=Fake("cpu", compile=2.0, draw=1e-8),
        cuda=Fake("cuda", compile=3.0, start=1e-3, draw=1e-10),
    )
    monkeypatch.setattr(registry, "BACKENDS", vars(made).copy())
    monkeypatch.setattr(registry, "_discover", lambda: None)
    monkeypatch.setattr(dispatch, "_warned", set())
    return made


def chosen(draws, name="auto"):
    return dispatch.choose(name, PROGRAM, draws, threads=2).backend.name


def test_a_call_of_many_rows_starts_once_for_each_where_the_backend_takes_one(fakes):
    fakes.numpy.start, fakes.cpu.averages_rows = 1e-3, True
    made = {rows: dispatch.choose("auto", PROGRAM, 1000, 2, rows=rows) for rows in (None, 1, 1000, 10_000)}
    assert [choice.backend.name for choice in made.values()] == ["numpy", "numpy", "numpy", "cpu"]
    assert made[10_000].costs["numpy"].start == 10.0
    assert made[10_000].costs["cpu"].start == fakes.cpu.start


def test_replicates_of_points_count_as_rows(fakes):
    fakes.numpy.start, fakes.cpu.averages_rows, fakes.cuda.missing = 1e-3, True, MISSING
    rows = mg.Normal(np.zeros(100), 1.0, batch_ndim=1)
    for q, replicates, backend in ((Q, 16, "numpy"), (Q, 4096, "cpu"), (rows, 4, "numpy"), (rows, 32, "cpu")):
        n = 2 * replicates
        assert mg.Estimator(np.sin, q, draws=n, sampler="sobol", replicates=replicates).backend == backend


def estimator(backend="auto", draws=10**10):
    return mg.Estimator(np.sin, Q, backend=backend, draws=draws)


def warned(action):
    """Return what an action returns, and the BackendWarnings it gives."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        result = action()
    assert all(warning.category is mg.BackendWarning for warning in record)
    return result, [str(warning.message) for warning in record]


@pytest.mark.parametrize(
    ("draws", "compiled", "expected"),
    [
        (100, (), "numpy"),
        (100, ("cpu", "cuda"), "numpy"),
        (10**6, (), "numpy"),  # 1 s against 2 s of compiling
        (10**6, ("cpu",), "cpu"),
        (10**6, ("cuda",), "cuda"),
        (10**7, (), "cpu"),
        (10**7, ("cpu", "cuda"), "cuda"),
        (10**9, (), "cuda"),  # 3.1 s against 12 s
        (None, (), "cuda"),  # 1.1 ms a call against 10 ms
    ],
)
def test_the_least_estimate_wins(fakes, draws, compiled, expected):
    for name in compiled:
        getattr(fakes, name).compile_seconds = 0.0
    assert chosen(draws) == expected


@pytest.mark.parametrize("start", [1e-3, 0.1])
def test_many_calls_are_compared_by_the_call(fakes, start):
    fakes.cpu.compile_seconds, fakes.cuda.compile_seconds, fakes.cuda.start = 0.0, 1e6, start
    assert chosen(None) == ("cuda" if start == 1e-3 else "cpu")


def test_a_small_job_asks_no_other_backend(fakes):
    assert chosen(100) == "numpy"
    assert fakes.cpu.asked == fakes.cuda.asked == []


def test_a_small_job_whose_backend_is_not_there(fakes):
    fakes.numpy.missing = "it is broken"
    made, messages = warned(lambda: estimator(draws=100))
    assert made.backend == "cpu"
    assert len(messages) == 1


def test_only_a_backend_that_would_win_is_loaded(fakes):
    assert chosen(10**7) == "cpu"
    assert "unavailable" not in fakes.cuda.asked


def test_equals_go_to_the_first_registered(fakes):
    fakes.cpu.compile_seconds = fakes.cuda.compile_seconds = fakes.cuda.start = fakes.cuda.draw = fakes.cpu.draw = 0.1
    fakes.numpy.draw = 1.0
    fakes.cuda.start = 0.0
    assert {chosen(10**6) for _ in range(5)} == {"cpu"}


def test_what_a_backend_finds_out_when_loaded_counts(fakes, monkeypatch):
    def slower():
        fakes.cuda.draw = 1e-6

    monkeypatch.setattr(fakes.cuda, "unavailable", slower)
    assert chosen(10**9) == "cpu"


def test_a_named_backend_is_taken_whatever_it_costs(fakes):
    assert chosen(2, "cuda") == "cuda"
    assert estimator("cuda").explain().startswith("backend: cuda (as asked for)")


def test_a_named_backend_that_is_not_there_names_the_remedy(fakes):
    fakes.cuda.missing = MISSING
    with pytest.raises(mg.BackendError) as caught:
        estimator("cuda")
    assert str(caught.value) == f'backend "cuda" is not available: {MISSING}'


def test_a_backend_that_would_have_won_and_is_not_there_warns_once(fakes):
    fakes.cuda.missing = MISSING
    both, messages = warned(lambda: (estimator(), estimator()))
    assert [made.backend for made in both] == ["cpu", "cpu"]
    assert messages == [f'backend "cuda" is not available: {MISSING}. "auto" runs on "cpu" instead.']
    assert f"cuda is not available: {MISSING}" in both[0].explain().splitlines()[0]


def test_no_warning_of_a_backend_that_would_not_have_been_chosen_or_has_no_device(fakes, monkeypatch):
    fakes.cuda.missing = MISSING
    assert estimator(draws=10**7).backend == "cpu"
    fakes.cuda.missing = "there is no CUDA device"
    monkeypatch.setattr(fakes.cuda, "cost", lambda *args: NEVER)
    for draws in (10**10, None):
        made = estimator(draws=draws)
        assert made.backend == "cpu"
        assert "cuda is not available: there is no CUDA device" in made.explain()


def test_the_warning_points_at_the_users_line(fakes):
    fakes.cuda.missing = MISSING
    with pytest.warns(mg.BackendWarning) as record:
        mg.Estimator(np.sin, Q, draws=10**10)
    assert record[0].filename == __file__


def test_explain_says_what_was_estimated(fakes):
    first = estimator(draws=10**7).explain().splitlines()[0]
    assert first == (
        "backend: cpu (2.1 s estimated: 2 s to load or compile, 100 ms for the draws; numpy 10 s; cuda 3 s)"
    )
    fakes.cpu.compile_seconds = 0.01
    assert "cpu (110 ms estimated: compiled already, 100 ms for the draws;" in estimator(draws=10**7).explain()
    assert "numpy (100 us estimated: 100 us for the draws; cpu 10 ms; cuda 3 s)" in estimator(draws=100).explain()
    assert "cuda (1.1 ms estimated: a call of 1,000,000 draws, compiling aside;" in estimator(draws=None).explain()


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_explain_says_whether_rates_were_measured(backend):
    reason = mg.Estimator(np.sin, Q, draws=100 if backend == "numpy" else 10**10).explain().splitlines()[0]
    assert reason.startswith(f"backend: {backend} (")
    assert reason.endswith("by default rates, `mcgrad tune` measures this machine's)")


def test_a_backend_that_fails_to_compile_is_passed_over_with_one_warning(fakes):
    def make():
        fakes.cuda.compile_error = f"out of device memory: {len(fakes.cuda.asked)} bytes wanted"
        return estimator()

    (one, two), messages = warned(lambda: (make(), make()))
    assert (one.backend, two.backend) == ("cpu", "cpu")
    assert len(messages) == 1
    assert messages[0].startswith('backend "cuda" failed: out of device memory')
    assert "cuda failed: out of device memory" in one.explain()


def test_another_reason_is_another_warning(fakes):
    fakes.cuda.compile_error = "out of device memory"
    _, first = warned(estimator)
    fakes.cuda.compile_error = "the driver is too old"
    _, second = warned(estimator)
    assert (len(first), len(second)) == (1, 1)


def test_a_named_backend_that_fails_raises(fakes):
    fakes.cuda.compile_error = "out of device memory"
    with pytest.raises(mg.BackendError, match=r"^out of device memory$"):
        estimator("cuda")
    fakes.cuda.compile_error, fakes.cuda.run_error = None, "the device was lost"
    with pytest.raises(mg.BackendError, match=r"^the device was lost$"):
        estimator("cuda")(1000)


def test_a_run_that_fails_is_repeated_on_the_next_best(fakes):
    made = estimator()
    before = made(50_000, 7)
    fakes.cuda.run_error = "the device was lost"
    (after, again), messages = warned(lambda: (made(50_000, 7), made(50_000, 7)))
    assert (before.backend, after.backend, again.backend, made.backend) == ("cuda", "cpu", "cpu", "cpu")
    assert before.grad == after.grad == again.grad
    assert messages == ['backend "cuda" failed: the device was lost. "auto" runs on "cpu" instead.']
    assert fakes.cuda.asked.count("compile") == 1
    assert "cuda failed: the device was lost" in made.explain()


def test_a_failure_in_the_middle_of_a_run(fakes):
    """Progress starts again; nothing of the part that was done is counted twice."""
    made, seen = estimator(), []

    def progress(done):
        seen.append(done)
        if len(seen) == 2:
            fakes.cuda.run_error = "the device was lost"

    n = 2_000_000
    after, _ = warned(lambda: made(n, progress=progress))
    assert (after.n, after.grad) == (n, estimator("numpy")(n).grad)
    assert seen[-1] == n
    assert sorted(seen) != seen


def test_threads_that_fail_together_fall_back_once(fakes):
    made, both = estimator(), threading.Barrier(2)

    def fails(*args):
        both.wait(10)
        raise mg.BackendError("the device was lost")

    fakes.cuda.bind = lambda *args: SimpleNamespace(shift=fails)
    made = estimator()
    threads = [threading.Thread(target=made, args=(1000,)) for _ in range(2)]

    def run():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    _, messages = warned(run)
    assert made.backend == "cpu"
    assert len(messages) == 1


def test_when_every_backend_fails(fakes):
    for fake in vars(fakes).values():
        fake.compile_error = f"{fake.name} is broken"
    with pytest.raises(mg.BackendError) as caught:
        estimator()
    assert str(caught.value).startswith("no backend is left: cuda failed: cuda is broken; cpu failed")


def test_a_registered_backend_takes_part_in_everything(fakes):
    registry.BACKENDS["numpy"] = NumpyBackend()  # verify's reference
    mg.register_backend(Fake("theirs", draw=1e-12))
    assert chosen(10**8) == "theirs"
    assert mg.estimate(np.sin, Q, 1000, backend="theirs").backend == "theirs"
    assert "theirs" in [check.backend for check in mg.verify(np.sin, Q, 2000).backends]
    with pytest.raises(mg.ParameterError, match="'auto' or 'numpy' or 'cpu' or 'cuda' or 'theirs'"):
        estimator("mine")


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Fake("auto"), "backend.name: given 'auto'; accepted: a name that is not taken"),
        (Fake("cpu"), "taken are 'auto', 'numpy', 'cpu', 'cuda'"),
        (Fake, "given the class Fake; accepted: an object"),
        (SimpleNamespace(name="x", compile=print), "without unavailable, cost; accepted: what mcgrad.backends.base"),
        (SimpleNamespace(unavailable=print, compile=print, cost=print), "without name;"),
        (Fake(3), "without name;"),
        ("theirs", "without name, unavailable, cost, compile"),
    ],
)
def test_registration_is_refused(fakes, backend, message):
    with pytest.raises(mg.ParameterError) as caught:
        mg.register_backend(backend)
    assert message in str(caught.value)
    assert list(registry.BACKENDS) == ["numpy", "cpu", "cuda"]


def test_installed_packages_offer_backends(fakes, monkeypatch):
    def entry(name, load):
        return SimpleNamespace(name=name, value=f"package:{name}", load=load)

    def fails():
        raise ImportError("no such module")

    class Theirs(Fake):
        def __init__(self):
            super().__init__("of-a-class")

    offered = [
        entry("instance", lambda: Fake("an-object")),
        entry("broken", fails),
        entry("class", lambda: Theirs),
        entry("again", lambda: Fake("cpu")),
    ]
    monkeypatch.undo()
    monkeypatch.setattr(registry, "BACKENDS", dict(registry.BACKENDS))
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: offered if group == registry.GROUP else [])
    registry._discover.cache_clear()
    try:
        names, messages = warned(lambda: list(registry.backends()))
        assert names[:2] == ["numpy", "cpu"]
        assert names[-2:] == ["of-a-class", "an-object"]
        assert [message.partition(" gives ")[0] for message in messages] == [
            "the entry point again = package:again",
            "the entry point broken = package:broken",
        ]
        assert "no such module" in messages[1]
        assert warned(lambda: list(registry.backends())) == (names, [])
        assert mg.estimate(np.sin, Q, 1000, backend="an-object").backend == "an-object"
    finally:
        monkeypatch.undo()
        registry._discover.cache_clear()


def test_estimates_come_from_the_rates():
    made = rates.Rates("x", float32=2e9, float64=1e9, call=0.5, load=3.0, compile=1.0, equation=0.1, gigabyte=1e9)
    equations, work = len(PROGRAM.body()), PROGRAM.work()
    assert made.cost(PROGRAM, 10) == Cost(0.0, 0.5 + 16.0, 10 * work / 1e9)  # two parameters of eight bytes
    later = made.cost(PROGRAM, 10, workers=4, load=True, compile=True)
    assert later == Cost(4.0 + 0.1 * equations, 16.5, 10 * work / 4e9)
    narrow = mg.Estimator(np.sin, Q, dtype="float32", backend="numpy").program
    assert made.cost(narrow, 10) == Cost(0.0, 0.5 + 8.0, 10 * work / 2e9)


def test_our_backends_estimate():
    numpy, cpu = registry.BACKENDS["numpy"], registry.BACKENDS["cpu"]
    assert numpy.cost(PROGRAM, 100, 1) == numpy.cost(PROGRAM, 100, 8)
    one, four, forty = (cpu.cost(PROGRAM, 10**9, threads).draws for threads in (1, 4, 40))
    assert one == pytest.approx(4 * four) == pytest.approx(40 * forty)
    assert cpu.cost(PROGRAM, 1000, 40).draws == cpu.cost(PROGRAM, 1000, 1).draws  # one chunk
    made = mg.Estimator(lambda z: z + np.tanh(z), Q, backend="numpy")
    assert cpu.cost(made.program, 1000, 1).compile > 0.5
    cpu.compile(made.program).for_draws(1000).load()
    assert cpu.cost(made.program, 1000, 1).compile < 0.01
