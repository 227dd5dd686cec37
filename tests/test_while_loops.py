"""Integrands with `mg.while_loop`: each draw stops by itself, and what has not stopped is counted."""

import math
import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu import chunk
from mcgrad.errors import TraceError
from mcgrad.ir import interpret
from mcgrad.ir.program import Program
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.emit.test_plain import agree


def in_python(cond, body, init, max_steps=None, xs=None):
    """The meaning, on one draw of plain arrays."""
    n = len(xs) if max_steps is None else max_steps
    for t in range(n + 1):
        if not cond(init):
            return init
        if t < n:
            init = body(init) if xs is None else body(init, xs[t])
    return np.nan * np.asarray(init)


def masked(cond, body, init, max_steps=None, xs=None):
    """The same, of traced values: unrolled."""
    n = len(xs) if max_steps is None else max_steps
    state = init
    for t in range(n):
        after = body(state) if xs is None else body(state, xs[t])
        if isinstance(state, tuple):
            state = tuple(np.where(cond(state), new, old) for new, old in zip(after, state, strict=True))
        else:
            state = np.where(cond(state), after, state)
    return state


def rejection(loop):
    """A half normal from exponentials: an exponent that is accepted with probability exp(-(e - 1)^2 / 2)."""

    def f(z, scale):
        def body(carry, x):
            e = -np.log1p(-x[0])
            return e, x[1] > np.exp(-0.5 * (e - 1.0) ** 2)

        e, _ = loop(lambda carry: carry[1], body, (0.0, True), xs=z)
        return scale * e

    return f, {"scale": 1.3}


def newton(loop):
    def f(z, a):
        t = a * np.exp(0.1 * z[0])
        return loop(lambda x: np.abs(x * x - t) > 1e-8 * t, lambda x: 0.5 * (x + t / x), t * 1.0, 12)

    return f, {"a": 2.0}


def roots(loop):
    """Steps that have no value, and infinite derivatives, where a draw has stopped."""

    def f(z, a):
        left = loop(lambda c: c > 1.0, lambda c, x: c - np.sqrt(c - 1.0) * a - 0.05 * np.exp(x), 2.0 + a, xs=z)
        return left * a

    return f, {"a": 0.8}


def adaptive(loop):
    """Euler's method with steps that the slope chooses, up to a time."""

    def f(z, rate):
        def body(carry):
            t, y = carry
            h = np.minimum(0.3 / (1.0 + np.abs(rate * y)), 1.0 - t)
            return t + h, y - h * rate * y

        return loop(lambda carry: carry[0] < 1.0, body, (0.0, 1.0 + 0.1 * z[0]), 9)[1]

    return f, {"rate": 0.9}


def nested(loop):
    """In a scan, with a vector in the carry and in a loop inside, and a constant that both read."""

    def f(z, a, b):
        early = np.exp(0.1 * a * z[0])

        def step(total, x):
            def body(carry):
                v, n = carry
                inner = loop(lambda c: np.sum(c) < 2.0, lambda c: c * 1.5 + 0.1 * early, np.abs(v) + 0.1, 6)
                return v * a + 0.05 * x * b, n + inner[0]

            v, n = loop(lambda carry: np.sum(carry[0] ** 2) > 0.3, body, (b * 1.0, 0.0), 4)
            return total + v[0] + n, None

        return mg.scan(step, 0.0, z[:3])[0] * early

    return f, {"a": 0.6, "b": np.array([0.9, -0.7])}


def before_and_after(loop):
    """What comes from before the loop is read in it and after it; one carry is not read, one ignores what it was."""

    def f(z, a, b):
        early = np.exp(a * z[0])

        def body(carry, x):
            ignores, idle, total = carry
            return x * early, idle + b, total + 0.5 + ignores**2 * b**2

        ignores, _, total = loop(lambda carry: carry[2] < 2.0, body, (a * 1.0, b * 1.0, 0.0), xs=z)
        return total * early + ignores * b

    return f, {"a": 0.4, "b": -0.7}


def kinks(loop):
    """A maximum, and a branch whose root has no derivative where it is not taken, in each step."""

    def f(z, a):
        def body(carry, x):
            s, n = carry
            s = np.maximum(0.6 * s, a * x) + np.where(x > 0.0, np.sqrt(np.where(x > 0.0, a * x, 0.0)), 0.1 * a)
            return s, n + 1.0

        return loop(lambda carry: (carry[1] < 4.0) | (carry[0] > 1.2), body, (a, 0.0), xs=np.tile(z, 4))[0] * a

    return f, {"a": 0.7}


Q = mg.Normal(np.linspace(-0.2, 0.3, 9), 0.8)
PAIRS = mg.Uniform(np.zeros((40, 2)), 1.0)
PROBLEMS = {f.__name__: f for f in (rejection, newton, roots, adaptive, nested, before_and_after, kinks)}


def q_of(name):
    return PAIRS if name == "rejection" else Q


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("name", PROBLEMS)
def test_it_is_the_unrolled_loop_with_masks(name, antithetic):
    wrt = [*PROBLEMS[name](masked)[1], *(() if name == "rejection" else ("loc",))]
    found, want = (
        mg.estimate(f, q_of(name), 50, params=params, wrt=wrt, seed=1, backend="numpy", method="pathwise",
                    antithetic=antithetic)
        for f, params in map(PROBLEMS[name], (mg.while_loop, masked))
    )  # fmt: skip
    assert found.nonfinite == 0
    np.testing.assert_allclose(found.value, want.value, rtol=1e-12)
    for path in wrt:
        assert np.all(np.isfinite(want.grad[path]))
        np.testing.assert_allclose(found.grad[path], want.grad[path], rtol=1e-9, atol=1e-12, err_msg=path)


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("options", [{"sampler": "sobol", "replicates": 8}, {"covariance": True}, {"dtype": "float32"}])
def test_other_options(options):
    found, want = (
        mg.estimate(f, Q, 64, params=params, seed=1, backend="numpy", method="pathwise", **options)
        for f, params in map(before_and_after, (mg.while_loop, masked))
    )
    rtol = 1e-4 if "dtype" in options else 1e-9
    np.testing.assert_allclose(found.value, want.value, rtol=rtol)
    for path in ("a", "b", "loc"):
        np.testing.assert_allclose(found.grad[path], want.grad[path], rtol=rtol, atol=rtol, err_msg=path)


@pytest.mark.parametrize("name", PROBLEMS)
def test_plain_arrays(name):
    rng = np.random.default_rng(1)
    z = rng.uniform(size=(40, 2)) if name == "rejection" else rng.normal(size=9)
    (ours, params), (theirs, _) = (PROBLEMS[name](loop) for loop in (mg.while_loop, in_python))
    assert ours(z, **params) == theirs(z, **params)


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("name", PROBLEMS)
def test_emitted_source(name, plain_backend):  # noqa: F811
    f, params = PROBLEMS[name](mg.while_loop)
    given = {"params": params, "wrt": list(params), "method": "pathwise", "backend": "numpy", "dtype": "float64"}
    made = mg.Estimator(f, q_of(name), **given)
    agree(plain_backend, made.program, made.inputs.values({}), (3, 20))
    again = Program.from_bytes(made.program.to_bytes())
    assert chunk.emit(again).source == chunk.emit(made.program).source


def test_rejection_sampling_has_the_moments_of_the_half_normal():
    f, params = rejection(mg.while_loop)
    est = mg.estimate(f, PAIRS, 20_000, params=params, wrt=["scale"], seed=1, backend="numpy")
    assert abs(est.value - 1.3 * math.sqrt(2 / math.pi)) < 4.5 * est.stderr
    assert abs(est.grad["scale"] - math.sqrt(2 / math.pi)) < 4.5 * est.grad_stderr["scale"]


def walk(z, *, drift, barrier):
    """The step in which a random walk first passes a barrier: of +1 and -1, so that it is there exactly."""

    def body(carry, u):
        s, n = carry
        return s + np.where(u < 0.5 * (1.0 + drift), 1.0, -1.0), n + 1.0

    return mg.while_loop(lambda carry: carry[0] < barrier, body, (0.0, 0.0), xs=z)[1]


def test_first_passage_of_a_random_walk():
    q = mg.Uniform(np.zeros(160), 1.0)
    given = {"params": {"drift": 0.6, "barrier": 2.5}, "wrt": ["drift"], "method": "difference", "backend": "numpy"}
    est = mg.estimate(walk, q, 8_000, seed=1, **given)  # barrier / drift, and the derivative, for 3 steps up
    assert est.nonfinite == 0
    assert abs(est.value - 3 / 0.6) < 4.5 * est.stderr
    assert abs(est.grad["drift"] + 3 / 0.6**2) < 4.5 * est.grad_stderr["drift"]


def test_first_passage_by_scores_and_by_differences():
    """Of a walk whose steps are normal: in the mean of the steps, by both methods."""

    def steps(z, shift):
        return mg.while_loop(lambda c: c[0] < 2.0, lambda c, x: (c[0] + x + shift, c[1] + 1.0), (0.0, 0.0), xs=z)[1]

    q = mg.Normal(np.full(30, 1.0), np.full(30, 0.7))
    given = {"params": {"shift": 0.0}, "seed": 1, "backend": "numpy"}
    score = mg.estimate(steps, q, 8_000, method={"loc": "score+leave_one_out"}, wrt=["loc"], **given)
    moved = mg.estimate(steps, q, 8_000, method={"shift": "difference"}, wrt=["shift"], **given)
    total, stderr = np.sum(score.grad["loc"]), np.sqrt(np.sum(score.grad_stderr["loc"] ** 2))  # nearly uncorrelated
    assert moved.grad["shift"] < -5 * moved.grad_stderr["shift"]
    assert abs(total - moved.grad["shift"]) < 4.5 * np.hypot(stderr, moved.grad_stderr["shift"])


def test_numbers_of_steps_have_no_pathwise_derivative():
    q = mg.Uniform(np.zeros(20), 1.0)
    params = {"drift": 0.6, "barrier": 2.5}
    with pytest.raises(mg.ParameterError, match=r"^drift: given a parameter that the integrand follows in jumps alone"):
        mg.estimate(walk, q, 10, params=params, method="pathwise", backend="numpy")

    def place(z, barrier):
        return mg.while_loop(lambda s: s < barrier, lambda s, x: s + np.exp(x), 0.0 * barrier, xs=z) * barrier

    with pytest.warns(mg.JumpWarning, match=r"leaves a jump out in barrier, .*lambda s: s < barrier"):
        mg.estimate(place, Q, 50, params={"barrier": 2.5}, method="pathwise", backend="numpy")


def test_loops_that_converge_do_not_jump():
    f, params = newton(mg.while_loop)
    with warnings.catch_warnings():
        warnings.simplefilter("error", mg.JumpWarning)
        est = mg.estimate(f, Q, 400, params=params, seed=1, backend="numpy", dtype="float64")
    exact = mg.estimate(lambda z, a: np.sqrt(a * np.exp(0.1 * z[0])), Q, 400, params=params, seed=1, backend="numpy")
    assert est.method == exact.method
    assert est.grad["a"] == pytest.approx(exact.grad["a"], rel=1e-6)  # the implicit derivative
    np.testing.assert_allclose(est.grad["loc"], exact.grad["loc"], rtol=1e-6, atol=1e-12)

    def in_steps(z, a):
        def root(x):
            return mg.while_loop(lambda y: np.abs(y * y - x) > 1e-9 * x, lambda y: 0.5 * (y + x / y), 1.0, 40)

        return mg.scan(lambda total, x: (total + root(a * np.exp(0.1 * x)), None), 0.0, z)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error", mg.JumpWarning)
        mg.estimate(in_steps, Q, 50, params={"a": 0.5}, method="pathwise", backend="numpy")

    def coarse(z, a):
        return mg.while_loop(lambda x: np.abs(x - a) > 0.1, lambda x: 0.5 * (x + a), z[0] + 2.0 * a, 30)

    with pytest.warns(mg.JumpWarning, match="leaves a jump out in a"):
        mg.estimate(coarse, Q, 50, params={"a": 0.5}, method="pathwise", backend="numpy")


def test_loops_end_with_the_last_draw(plain_backend, monkeypatch):  # noqa: F811
    f, params = roots(mg.while_loop)
    q = mg.Normal(np.zeros(5000), 0.5)
    given = {"params": params, "wrt": ["a"], "method": "pathwise", "backend": "numpy", "dtype": "float64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        made = mg.Estimator(f, q, **given)
    (loop,) = (var for var in made.program.body() if var.op == "loop")
    assert loop.attrs.running is not None
    steps = []
    whole = interpret.Interpreter.step

    def counting(self, leaves):
        steps.append(self.roots == list(loop.attrs.body.results))
        return whole(self, leaves)

    monkeypatch.setattr(interpret.Interpreter, "step", counting)
    made(50, seed=1)
    assert 2 < sum(steps) < 50  # of 5,000
    assert "break" in chunk.emit(made.program).source
    agree(plain_backend, made.program, made.inputs.values({}), (3, 20))


def test_equal_loops_are_one_and_others_run_on():
    def f(z, a):
        step = lambda c, x: c + np.exp(a * x)  # noqa: E731
        first, same, other = (mg.while_loop(lambda c, top=top: c < top, step, 0.0, xs=z) for top in (2.0, 2.0, 3.0))
        return first * same + other

    q = mg.Normal(np.zeros(30), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        made = mg.Estimator(f, q, params={"a": 0.5}, wrt=["a"], backend="numpy", method="pathwise")
        want = mg.estimate(lambda z, a: 0.0 * z[0] + masked_sum(z, a), q, 50, params={"a": 0.5}, wrt=["a"], seed=1,
                           backend="numpy", method="pathwise")  # fmt: skip
    (loop,) = (var for var in made.program.body() if var.op == "loop")
    assert loop.attrs.running is None
    found = made(50, seed=1)
    assert found.value == pytest.approx(want.value)
    assert found.grad["a"] == pytest.approx(want.grad["a"])


def masked_sum(z, a):
    sums = [masked(lambda c, top=top: c < top, lambda c, x: c + np.exp(a * x), 0.0, xs=z) for top in (2.0, 3.0)]
    return sums[0] ** 2 + sums[1]


def slow(z, a):
    return mg.while_loop(lambda s: s < 3.0, lambda s, x: s + np.exp(a * x), 0.0, xs=z)


def hidden(z, a):
    """What f returns does not say that the loop has not ended."""
    s = slow(z, a)
    return a * z[0] + np.where(s > 3.0, 1.0, 0.0) * 0.0


def in_steps(z, a):
    return mg.scan(lambda c, x: (c + x + 0.0 * slow(z, a), None), 0.0, z)[0] * a


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("f", [slow, hidden, in_steps])
def test_overruns_are_counted(f):
    q = mg.Normal(np.zeros(3), 1.0)
    given = {"params": {"a": 0.7}, "seed": 1, "backend": "numpy", "method": "pathwise"}
    said = r"in 61 mg\.while_loop has not ended after max_steps = 3 steps \(File .*test_while_loops.*np\.exp\(a \* x\)"
    with pytest.warns(mg.OverrunWarning, match=f"61 draws are not finite: of 200 draws that were looked at, {said}"):
        est = mg.estimate(f, q, 200, **given)
    assert est.nonfinite == sum(np.exp(0.7 * q.sample(200, seed=1)).sum(1) < 3.0) == 61
    assert np.isnan(est.value)
    assert np.isnan(est.grad["a"])
    made = mg.Estimator(f, q, nonfinite="omit", **{name: x for name, x in given.items() if name != "seed"})
    with pytest.warns(mg.OverrunWarning, match=r"left out.*the estimate is of draws that end in time"):
        left = made(200, seed=1)
    assert left.nonfinite == est.nonfinite
    assert np.isfinite(left.value)
    made(200, seed=1)  # it is said once
    with pytest.raises(mg.NonFiniteError, match=said):
        mg.estimate(f, q, 200, nonfinite="raise", **given)


def test_overruns_of_rows():
    q = mg.Normal([[-1.0, 0.0, 0.0], [9.0, 0.0, 0.0]], 1.0, batch_ndim=1)
    given = {"params": {"a": 0.7}, "wrt": ["scale"], "seed": 1, "backend": "numpy", "method": "pathwise"}
    with pytest.warns(mg.OverrunWarning, match="those are not finite, too, in which mg.while_loop has not ended"):
        est = mg.estimate(slow, q, 50, **given)
    assert est.nonfinite[0] > est.nonfinite[1] == 0


def test_loops_that_draws_do_not_need():
    """The condition says so; a branch that is not taken does not."""

    def f(z, a, asked):
        s = mg.while_loop(lambda s: (s < 3.0) & asked(z), lambda s, x: s + np.exp(a * x), 0.0, xs=z)
        return np.where(z[0] > 5.0, s, a * z[0])

    q = mg.Normal(np.zeros(3), 1.0)
    given = {"params": {"a": 0.7}, "wrt": ["scale"], "seed": 1, "backend": "numpy", "method": "pathwise"}
    assert mg.estimate(lambda z, a: f(z, a, lambda z: z[0] > 5.0), q, 50, **given).nonfinite == 0
    with pytest.warns(mg.OverrunWarning):
        assert mg.estimate(lambda z, a: f(z, a, lambda z: z[0] > -50.0), q, 50, **given).nonfinite > 0


def test_overruns_of_plain_arrays_are_nan_with_a_warning():
    with pytest.warns(RuntimeWarning, match="still holds after max_steps = 3 steps"):
        n, done = mg.while_loop(lambda c: ~c[1], lambda c: (c[0] + 1.0, c[1]), (0.0, False), 3)
    assert np.isnan(n)
    assert not done


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning", "ignore::mcgrad.OverrunWarning")
@pytest.mark.parametrize("steps", [0, 1])
def test_few_steps(steps):
    def f(z, a):
        s = mg.while_loop(lambda s: s < 0.0, lambda s: s * a + 9.0, a * z[0], steps)
        return s * z[1] * a

    def same(z, a):
        s = a * z[0]
        ended = np.where(s < 0.0, s * a + 9.0, s) if steps else np.where(s < 0.0, np.nan, 1.0) * s
        return ended * z[1] * a

    found, want = (
        mg.estimate(g, mg.Normal(np.zeros(2), 1.0), 50, params={"a": 0.5}, seed=1, backend="numpy", nonfinite="omit")
        for g in (f, same)
    )
    assert found.nonfinite == want.nonfinite
    assert (found.nonfinite > 0) == (steps == 0)
    for path in ("a", "loc", "scale"):
        np.testing.assert_allclose(found.grad[path], want.grad[path], rtol=1e-9)


def test_rows_of_a_batch():
    q = mg.Normal(np.linspace(-0.5, 0.5, 27).reshape(3, 9), 0.8, batch_ndim=1)
    f, params = roots(mg.while_loop)
    given = {"params": params, "seed": 1, "method": "pathwise", "dtype": "float64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        rows, cpu = (mg.estimate(f, q, 20, backend=backend, **given) for backend in ("numpy", "cpu"))
    np.testing.assert_allclose(cpu.value, rows.value, rtol=1e-12)
    np.testing.assert_allclose(cpu.grad["loc"], rows.grad["loc"], rtol=1e-9, atol=1e-12)
    assert np.all(np.isfinite(rows.grad["a"]))


REFUSED = {
    "an array of shape": (lambda s: s < 1.0, lambda s: s + 1.0, np.zeros(2)),
    "is a number; return a comparison": (lambda s: s + 1.0, lambda s: s + 1.0, 0.0),
    "a carry keeps its shape": (lambda s: s < 1.0, lambda s: s + np.ones(2), 0.0),
    "is made of booleans in init and of numbers": (lambda s: s, lambda s: 1.0, True),
    "has to stay nested": (lambda s: s < 1.0, lambda s: (s, s), 0.0),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_the_line(text):
    cond, body, init = REFUSED[text]
    for run in (
        lambda: mg.while_loop(cond, body, init, 4),
        lambda: mg.Estimator(
            lambda z: np.sum(z + mg.while_loop(cond, body, np.where(z > 9, init, init), 4)),
            mg.Normal(np.zeros(2) if np.shape(init) else 0.0, 1.0),
        ),
    ):
        with pytest.raises(TraceError, match=text) as error:
            run()
        assert error.value.filename == __file__


def test_the_number_of_steps_has_to_be_given():
    with pytest.raises(mg.ParameterError, match=r"^max_steps: given neither max_steps nor xs"):
        mg.while_loop(lambda s: s < 1.0, lambda s: s + 1.0, 0.0)
    with pytest.raises(mg.ParameterError, match=r"^xs: given an array of shape \(3,\); accepted: 4 elements, as max_s"):
        mg.while_loop(lambda s: s < 1.0, lambda s, x: s + x, 0.0, 4, np.ones(3))


def test_what_runs_in_a_loop_is_a_function():
    with pytest.raises(mg.ParameterError, match=r"^cond: given True; accepted: cond\(carry\)"):
        mg.while_loop(True, lambda s: s + 1.0, 0.0, 4)
    with pytest.raises(mg.ParameterError, match=r"^body: given 1.0; accepted: body\(carry\)"):
        mg.while_loop(lambda s: s < 1.0, 1.0, 0.0, 4)
    with pytest.raises(mg.ParameterError, match=r"^step: given 0.0; accepted: step\(carry, x\)"):
        mg.scan(0.0, lambda s, x: (s, None), length=4)
