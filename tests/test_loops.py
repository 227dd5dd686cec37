"""Integrands with `mg.scan`: values and gradients are those of the unrolled loop, by every method and backend."""

import pickle
import warnings
from itertools import product

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.numpy import LOOP_BYTES, NumpyKernel
from mcgrad.codegen.cpu import chunk
from mcgrad.codegen.cuda import choose
from mcgrad.ir.program import Program
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.emit.test_plain import agree

T = 5
Q = mg.Normal(np.linspace(-0.2, 0.3, T), 0.8)


def unrolled(step, init, xs=None, length=None, reverse=False, reduce=None):
    """`mg.scan` as a Python loop over traced values, for steps with one output."""
    n = len(xs) if length is None else length
    ys, c = [None] * n, init
    for t in range(n)[::-1] if reverse else range(n):
        c, ys[t] = step(c, None if xs is None else xs[t])
    if reduce == "max":
        top = ys[0]
        for y in ys[1:]:
            top = np.maximum(top, y)
        return c, top
    return c, np.stack(ys) if reduce is None else sum(ys) / (1 if reduce == "sum" else n)


def asian(scan):
    def f(z, s0, vol, strike):
        def step(s, x):
            s = s * np.exp(vol * x - 0.5 * vol**2)
            return s, s

        _, mean = scan(step, s0, z, reduce="mean")
        return np.maximum(mean - strike, 0.0)

    return f, {"s0": 1.1, "vol": 0.3, "strike": 1.0}


def queue(scan):
    """Lindley's recursion: the mean wait of customers, with kinks in each step."""

    def f(z, rate):
        _, mean = scan(lambda w, x: (np.maximum(w + np.exp(x) - rate, 0.0), w), 0.0, z, reduce="mean")
        return mean

    return f, {"rate": 1.4}


def roots(scan):
    """Zero derivatives below branches, times infinite ones."""

    def f(z, a):
        def step(c, x):
            level = np.where(x > 0.0, np.sqrt(np.where(x > 0.0, x, 0.0)) * a, c)
            return np.where(level > 1.0, 1.0 + np.log(np.maximum(level, 1.0)), level), level * c

        c, ys = scan(step, a, z)
        return c + ys[-1] * ys[1]

    return f, {"a": 0.7}


def weights(scan):
    """A vector that each step turns by a matrix, which is a parameter."""

    def f(z, w, b):
        def step(h, x):
            h = np.tanh(w @ h + b * x)
            return h, np.sum(h**2)

        h, ys = scan(step, np.ones(3), z, reverse=True)
        return h[0] + np.sum(ys * np.linspace(0.2, 1.0, len(z)))

    return f, {"w": np.linspace(-0.5, 0.6, 9).reshape(3, 3), "b": np.array([0.1, -0.4, 0.2])}


def before_and_after(scan):
    """What comes from before the loop is read in it and after it; one carry is not read, one ignores what it was."""

    def f(z, a, b):
        early = np.exp(a * z[0])

        def step(carry, x):
            ignores, idle, total = carry
            return (x * early, idle + b, total + ignores * b), ignores

        (ignores, _, total), ys = scan(step, (a * 1.0, b * 1.0, 0.0), z)
        return total * early + ignores + ys[0] * ys[2]

    return f, {"a": 0.4, "b": -0.7}


def nested(scan):
    def f(z, a):
        def step(c, x):
            inner, ys = scan(lambda d, k: (np.sin(d * a) + x * k, d), c, np.array([0.5, 1.0, -0.3]))
            return inner, np.sum(ys)

        c, ys = scan(step, a, z, reduce="sum")
        return c * ys

    return f, {"a": 0.6}


def doubling(scan):
    """No draw changes one carry, nor what a step computes of it."""

    def f(z, growth):
        def step(carry, x):
            time, s = carry
            return (time + growth, s + np.exp(-time) * x), s

        (time, s), top = scan(step, (0.0 * growth, 0.0 * growth), z, reduce="max")
        return s * time + top

    return f, {"growth": 0.3}


PROBLEMS = {f.__name__: f for f in (asian, queue, roots, weights, before_and_after, nested, doubling)}
OTHERS = [{"method": name} for name in ("score", "score+leave_one_out", "measure_valued", "difference")]
CASES = [
    *((name, {"method": "pathwise"}) for name in PROBLEMS),
    *((name, {"method": "pathwise", "antithetic": True}) for name in ("roots", "weights")),
    *((name, options) for name in ("queue", "before_and_after") for options in OTHERS),
]


def estimates(make, q=Q, n=64, backend="numpy", **options):
    found = []
    for scan in (mg.scan, unrolled):
        f, params = make(scan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mg.JumpWarning)
            found.append(mg.estimate(f, q, n, params=params, seed=1, backend=backend, dtype="float64", **options))
    return found


def assert_equal(found, want, rtol=1e-9):
    np.testing.assert_allclose(found.value, want.value, rtol=rtol)
    for name, gradient in want.grad.items():
        size = np.abs(gradient).max()
        np.testing.assert_allclose(found.grad[name], gradient, rtol=0, atol=rtol * max(size, 1.0), err_msg=name)
        np.testing.assert_allclose(found.grad_stderr[name], want.grad_stderr[name], rtol=1e-6, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_it_is_the_unrolled_loop(name, options):
    if options["method"] == "difference":
        options = {"method": dict.fromkeys(PROBLEMS[name](mg.scan)[1], "difference")}
    elif options["method"] not in ("pathwise",):
        options = {"method": {"loc": options["method"], "scale": options["method"]}}
    assert_equal(*estimates(PROBLEMS[name], **options), rtol=1e-6 if "difference" in str(options) else 1e-9)


OPTIONS = [{"sampler": "sobol", "replicates": 8}, {"covariance": True, "antithetic": True}]


@pytest.mark.parametrize(
    ("name", "options"), [*product(("asian", "weights"), OPTIONS), ("asian", {"control": "auto"})], ids=str
)
def test_other_options(name, options):
    assert_equal(*estimates(PROBLEMS[name], method="pathwise", **options))


def test_values_with_many_numbers():
    def make(scan):
        def f(z, a, b):
            def step(c, x):
                c = np.stack([c[0] * a + x, np.cos(c[1] + b * x)])
                return c, c[0] * c[1]

            c, ys = scan(step, np.ones(2), z)
            return {"path": ys, "last": c}

        return f, {"a": 0.4, "b": np.array(0.8)}

    found, want = estimates(make, method="pathwise")
    for path in ("path", "last"):
        np.testing.assert_allclose(found.value[path], want.value[path], rtol=1e-9)
        for name in want.grad:
            np.testing.assert_allclose(found.grad[name][path], want.grad[name][path], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["asian", "before_and_after"])
def test_rows_of_a_batch(name):
    q = mg.Normal(np.linspace(-0.5, 0.5, 3 * T).reshape(3, T), 0.8, batch_ndim=1)
    assert_equal(*estimates(PROBLEMS[name], q, 8, method="pathwise"))
    if name == "asian":
        f, params = asian(mg.scan)
        assert_equal(*(
            mg.estimate(f, q, 8, params=params, seed=1, backend=backend, dtype="float64", method="pathwise")
            for backend in ("cpu", "numpy")
        ))  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_emitted_source(name, plain_backend):  # noqa: F811
    f, params = PROBLEMS[name](mg.scan)
    made = mg.Estimator(f, Q, params=params, backend="numpy", dtype="float64", method="pathwise")
    agree(plain_backend, made.program, made.inputs.values({}), (3, 20))
    again = Program.from_bytes(made.program.to_bytes())
    assert chunk.emit(again).source == chunk.emit(made.program).source


def test_compiled_in_both_modes():
    for make, dtype in ((queue, "float32"), (weights, "float64")):
        f, params = make(mg.scan)
        compiled, reference = (
            mg.estimate(f, Q, 500, params=params, seed=1, backend=backend, dtype=dtype, method="pathwise")
            for backend in ("cpu", "numpy")
        )
        assert_equal(compiled, reference, rtol=1e-5 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("make", [asian, weights])
def test_source_and_memory_by_the_number_of_steps(make):
    sources, rows = [], []
    for steps in (4000, 16_000):
        f, params = make(mg.scan)
        made = mg.Estimator(f, mg.Normal(np.zeros(steps), 1.0), params=params, wrt=list(params), backend="numpy")
        emitted = chunk.emit(made.program)
        sources.append(len(emitted.source.splitlines()))
        rows.append(emitted.rows)
    assert sources[0] == sources[1]
    if make is asian:  # three tangents, which need no memory for each step
        assert rows[0] == rows[1] < 20
    else:  # the output of each step, which f adds up, and the carries of segments of steps
        assert rows[1] < 1.1 * 16_000


def test_a_pickled_estimator():
    f, params = weights(mg.scan)
    made = mg.Estimator(f, Q, params=params, backend="numpy", method="pathwise")
    assert pickle.loads(pickle.dumps(made))(100, seed=2).value == made(100, seed=2).value


@pytest.mark.parametrize("steps", [0, 1])
def test_few_steps(steps):
    def f(z, a):
        c, ys = mg.scan(lambda c, x: (c * x, c), a * z[0], z[1 : 1 + steps])
        return c * a + (ys[0] * z[0] if steps else 0.0)

    def same(z, a):
        c = a * z[0]
        return c * z[1] * a + c * z[0] if steps else c * a

    found, want = (
        mg.estimate(g, mg.Normal(np.ones(2), 1.0), 50, params={"a": 0.5}, seed=1, backend="numpy") for g in (f, same)
    )
    assert_equal(found, want)


def jumping(z, k):
    def step(carry, x):
        s, alive = carry
        s = s + x
        alive = np.where(s > k, 0.0, alive)  # the barrier
        return (s, alive), None

    (s, alive), _ = mg.scan(step, (0.0, 1.0), z)
    return alive * s * k


def bending(z, k):
    def step(s, x):
        s = s + x
        return np.where(s > k, 0.5 * (s + k), s), None

    s, _ = mg.scan(step, 0.0, z)
    return s * k


def test_jumps_in_a_step_are_found():
    with pytest.warns(mg.JumpWarning, match=r"leaves a jump out in k, .*alive = np\.where\(s > k, 0\.0"):
        mg.estimate(jumping, Q, 100, params={"k": 0.3}, method="pathwise", backend="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error", mg.JumpWarning)
        mg.estimate(bending, Q, 100, params={"k": 0.3}, method="pathwise", backend="numpy")
    with pytest.raises(mg.ParameterError, match=r"^k: given a parameter that the integrand follows in jumps alone"):
        mg.estimate(
            lambda z, *, k: mg.scan(lambda c, x: (c + (x > k), None), 0.0, z)[0],
            Q, 100, params={"k": 0.3}, method="pathwise", backend="numpy",
        )  # fmt: skip


def late(z, k):
    """A barrier that only the last of 20 steps have."""

    def step(carry, x):
        s, n, alive = carry
        s = s + x
        alive = np.where((s > k) & (n > 15.0), 0.0, alive)
        return (s, n + 1.0, alive), None

    (s, _, alive), _ = mg.scan(step, (0.0, 0.0, 1.0), np.tile(z, 4))
    return alive * s * k


def jumping_inside(z, k):
    def step(s, x):
        s, _ = mg.scan(lambda s, w: (s + np.where(s > k, w * x, x), None), s, np.array([0.2, 0.5]))
        return s, None

    s, _ = mg.scan(step, 0.0, z)
    return s * k


def bending_inside(z, k):
    def step(s, x):
        s, _ = mg.scan(lambda s, w: (s + np.where(s > k, s - k, w * 0.0) + x, None), s, np.array([0.2, 0.5]))
        return s, None

    s, _ = mg.scan(step, 0.0, z)
    return s * k


@pytest.mark.parametrize("f", [late, jumping_inside, bending_inside])
def test_jumps_of_late_steps_and_of_inner_loops(f):
    made = lambda: mg.estimate(f, Q, 100, params={"k": 0.3}, method="pathwise", backend="numpy")  # noqa: E731
    if f is bending_inside:
        with warnings.catch_warnings():
            warnings.simplefilter("error", mg.JumpWarning)
            made()
    else:
        with pytest.warns(mg.JumpWarning, match=r"leaves a jump out in k, .*np\.where\(.*s > k"):
            made()


BRANCHES = {
    "a root before": lambda scan, z, a: scan(
        lambda c, x: (c + np.where(z[0] > 0, np.sqrt(a * z[0]) * x, a * x), None), 0.0, z
    )[0],
    "a root that is given": lambda scan, z, a: (
        lambda r: scan(lambda c, x: (c + np.where(z[0] > 0, r * x, a * x), None), 0.0, z)[0]
    )(np.sqrt(a * z[0])),
    "a root by step": lambda scan, z, a: scan(
        lambda c, x: (c + np.where(x[1] > 0, x[0], a * x[1]), None), 0.0, np.stack([np.sqrt(a * z), z], 1)
    )[0],
    "a root that is carried": lambda scan, z, a: scan(
        lambda c, x: ((np.where(x > 0, np.sqrt(c[0] * x), a * c[0]), c[1] + np.log(c[0])), c[0]), (1.0, a), z
    )[0][1],
    "a root after": lambda scan, z, a: np.sqrt(scan(lambda c, x: (np.where(x > 9, c + a * x, 0.0), None), a, z)[0]),
    "in a loop in a loop": lambda scan, z, a: scan(
        lambda c, x: (scan(lambda d, y: (d + np.where(x > 0, np.sqrt(a * x) * y, y), None), c, z[:2])[0], None), a, z
    )[0],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("wrt", ["a", "loc"])
def test_zeros_of_branches_not_taken_stay_zero(name, wrt):
    found, want = (
        mg.estimate(
            lambda z, a, scan=scan: BRANCHES[name](scan, z, a) + 0.0 * z[0],
            Q, 50, params={"a": 0.7}, wrt=[wrt], method="pathwise", backend="numpy", seed=3,
        )
        for scan in (mg.scan, unrolled)
    )  # fmt: skip
    assert np.all(np.isfinite(want.grad[wrt]))
    np.testing.assert_allclose(found.grad[wrt], want.grad[wrt], rtol=1e-9, atol=1e-12)


def test_guards_of_zeros_are_below_branches_alone():
    """A branch between constants asks for none in the reverse pass."""

    def equations(f):
        made = mg.Estimator(f, mg.Normal(np.zeros(50), 1.0), params={"a": 0.1}, wrt=["loc"], backend="numpy")
        (back,) = (var for var in made.program.equations() if var.op == "loop" and var.attrs.reverse)
        return sum(var.op == "equal" for var in back.attrs.body.equations)

    def growing(weight):
        def f(z, *, a):
            def step(carry, x):
                s, total = carry
                s = s * np.exp(a * x) + np.sqrt(s * s + 1.0) * 0.1
                return (s, total + weight(s) * np.log(1.0 + s * s)), None

            return mg.scan(step, (1.0, 0.0), z)[0][1]

        return f

    assert equations(growing(lambda s: np.where(s > 2.0, 1.0, 3.0))) == equations(growing(lambda s: 2.0))


def test_steps_of_differences_are_those_of_the_unrolled_loop():
    """Chosen by what is compared in all steps, of loops in loops, too."""

    def barrier(scan):
        def f(z, k):
            def inner(carry, w):
                s, alive = carry
                return (s + w, np.where(s > 3.0 * k, 0.0, alive)), None

            def step(carry, x):
                return scan(inner, carry, x * np.array([1.0, 0.5]))[0], x

            (s, alive), _ = scan(step, (0.0, 1.0), z)
            return alive * s

        return f

    given = {"params": {"k": 0.3}, "wrt": ["k"], "method": "difference", "backend": "numpy", "seed": 1}
    ours, theirs = (mg.estimate(barrier(scan), Q, 400, **given) for scan in (mg.scan, unrolled))
    assert ours.grad["k"] == pytest.approx(theirs.grad["k"], rel=1e-9)
    assert theirs.grad["k"] != 0.0


def chained(scan):
    """Loops that read what another gives, step by step; the last one needs where the first has ended."""

    def f(z, a):
        s, ys = scan(lambda s, x: (np.sin(s * a + x), s * x), 0.3 * a, z)
        t, ws = scan(lambda t, y: (0.5 * t + np.exp(y), t), 0.1, 2.0 * ys)
        _, vs = scan(lambda v, w: (v + w * a, v * w), s, ws)
        return t + scan(lambda u, x: (u * a + x, u), 0.0, ys * vs)[0]

    return f, {"a": 0.4}


@pytest.mark.parametrize("wrt", [["a"], ["a", "loc"]])
def test_loops_that_read_each_other_step_by_step_are_one(wrt, plain_backend):  # noqa: F811
    assert_equal(*estimates(chained, wrt=wrt, method="pathwise"))
    f, params = chained(mg.scan)
    made = mg.Estimator(f, Q, params=params, wrt=wrt, backend="numpy", dtype="float64", method="pathwise")
    agree(plain_backend, made.program, made.inputs.values({}), (3, 20))
    forward = [var for var in made.program.body() if var.op == "loop" and not var.attrs.reverse]
    assert len(forward) == 2  # of four
    if wrt == ["a"]:  # nothing of all steps is kept, but what the second loop reads: three values, with their tangents
        long = mg.Estimator(f, mg.Normal(np.zeros(1000), 1.0), params=params, wrt=wrt, backend="numpy")
        assert chunk.emit(long.program).rows < 7 * 1000


def test_the_source_for_a_gpu_is_as_long_for_any_number_of_steps():
    f, params = asian(mg.scan)
    few, many = (
        choose.emit(mg.Estimator(f, mg.Normal(np.zeros(steps), 1.0), params=params, backend="numpy").program).source
        for steps in (8000, 16000)  # in segments
    )
    assert few.count("\n") == many.count("\n")


def test_many_draws_at_once_are_interpreted_in_long_loops():
    """A step takes as long for few; a pilot of some hundred draws is then a few turns of 10,000 steps."""
    f, params = queue(mg.scan)
    made = mg.Estimator(f, mg.Normal(np.zeros(10_000), 1.0), params=params, wrt=["rate"], backend="numpy")
    kernel = NumpyKernel(made.program)
    assert kernel.block > 512
    assert kernel.block * max(var.size for var in made.program.body()) * 8 <= LOOP_BYTES


def pendulum(scan):
    """A state that is carried whole, of which each step also gives an element."""

    def f(z, *, w):
        def step(state, x):
            angle, speed = state[0], state[1]
            state = np.stack([angle + 0.1 * speed, speed - 0.1 * w[0] * np.sin(angle) + 0.1 * x * np.sum(w[1:])])
            return state, state[0]

        state, angles = scan(step, w[2:4], z)
        return np.sum(angles * np.arange(7)) + state[1]

    return f, {"w": np.linspace(0.5, 1.5, 12)}


def test_results_of_which_other_results_read_elements():
    """On the way back all elements of a result have a derivative, whatever else in the step reads of it."""
    assert_equal(*estimates(pendulum, mg.Normal(np.linspace(-0.3, 0.4, 7), 0.8), n=8))
