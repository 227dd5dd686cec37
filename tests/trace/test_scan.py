"""`mg.scan` means what its loop means, on plain arrays and traced, and refuses what has no meaning as a loop."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir.build import const, input_
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

Z = np.random.default_rng(0).normal(size=(4, 3))


def walk(z):
    def step(s, x):
        s = s * np.exp(0.1 * x)
        return s, np.sum(s)

    last, ys = mg.scan(step, np.ones(3), z)
    return np.concatenate([last, ys])


def nested_carry(z):
    def step(carry, x):
        up = carry["pair"][0] + x[0]
        return {"n": carry["n"] + 1.0, "pair": (np.tanh(up) * carry["n"], carry["pair"][1] * x)}, {
            "a": up,
            "b": (x[1],),
        }

    carry, ys = mg.scan(step, {"pair": (0.5, np.ones(3)), "n": 0}, z)
    return np.concatenate([[carry["n"], carry["pair"][0]], carry["pair"][1], ys["a"], ys["b"][0]])


def backwards(z):
    last, ys = mg.scan(lambda c, x: (c * 0.5 + x["u"], c * x["v"]), 1.0, {"u": z[:, 0], "v": z[:, 1]}, reverse=True)
    return np.append(ys, last)


def reduced(z):
    def step(c, x):
        return c + x[0], {"total": c * x, "mean": c, "top": x, "end": c, "all": c}

    how = {"total": "sum", "mean": "mean", "top": "max", "end": "last", "all": None}
    last, ys = mg.scan(step, 1.0, z, reduce=how)
    return np.concatenate([ys["total"], [ys["mean"]], ys["top"], [ys["end"]], ys["all"], [last]])


def reduced_alike(z):
    return np.stack([np.sum(mg.scan(lambda c, x: (c, x * c), 2.0, z, reduce=how)[1]) for how in ("sum", "mean", "max")])


def reduced_booleans(z):
    ended, reached = (mg.scan(lambda c, x: (c + x[0], c > 0.3), 0.0, z, reduce=how)[1] for how in ("last", "max"))
    return np.where(ended & ~(z > 0.0), z, 1.0) + np.where(~reached, 5.0 * z, np.mean(reached))


def nothing_stacked(z):
    c, (none, ys) = mg.scan(lambda c, x: (c * x[0], (x[:0] * c, c)), 2.0, z)
    return np.append(ys, c) + np.sum(none) + none.size


def alive(z):
    def step(carry, x):
        s, is_alive = carry
        s = s + x[0]
        is_alive = is_alive & (s > -0.5)
        return (s, is_alive), is_alive

    (s, is_alive), ys = mg.scan(step, (0.0, True), z)
    return np.where(is_alive, s, 0.0) + np.sum(ys)


def inside_out(z):
    weights, offset = z[0], 2.0 * z[1, 1]

    def step(c, x):
        inner, _ = mg.scan(lambda d, w: (np.sin(d * w) + np.sum(x * weights), None), c, x)
        return inner + offset, inner * np.sum(z)

    c, ys = mg.scan(step, z[2, 2], z)
    return np.append(ys, c)


def counted(z):
    c, ys = mg.scan(lambda c, _: (c * z[0], c[1]), z[1], length=3)
    return np.append(c, ys)


def reads_nothing(z):
    c, ys = mg.scan(lambda c, _: (c + 1.0, c), 0.0, length=4)
    return ys * z[:, 0] + c


def traced_by_its_step(z):  # neither init nor xs is traced
    c, ys = mg.scan(lambda c, t: (c + z[0] * t, c), np.zeros(3), np.arange(3.0))
    return np.append(c, np.sum(ys))


FUNCTIONS = [
    walk, nested_carry, backwards, reduced, reduced_alike, reduced_booleans, alive, inside_out, counted, reads_nothing,
    traced_by_its_step, nothing_stacked,
]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("f", FUNCTIONS)
def test_traced_is_plain(f, steps):
    z = input_("z", (steps, 3)) if f in (walk, nested_carry, backwards, reduced, reduced_alike, alive) else None
    at = Z[:steps]
    if z is None:
        z, at = input_("z", Z.shape), Z
    (got,) = interpret([trace(f, (z,), {})], {z: at[..., None]}, "float64")
    np.testing.assert_allclose(got[..., 0], f(at), rtol=1e-14)


def test_a_loop_in_python_is_what_it_says():
    c, total, ys = 1.0, 0.0, []
    for x in Z:
        ys.append(c)
        total, c = total + c * x, c + x[0]
    want = [*total, np.mean(ys), *np.max(Z, axis=0), ys[-1], *ys, c]
    np.testing.assert_allclose(reduced(Z), want, rtol=1e-14)


@pytest.mark.parametrize("traced", [False, True])
def test_no_steps(traced):
    z = input_("z", (0, 2))
    function = lambda z: mg.scan(lambda c, x: (c + x, {"y": x * c, "n": np.sum(x)}), np.ones(2), z)  # noqa: E731
    if traced:
        c, ys = trace(function, (z,), {})
        c, ys = interpret([c], {}, "float64")[0][..., 0], {name: np.zeros(y.shape) for name, y in ys.items()}
    else:
        c, ys = function(np.zeros((0, 2)))
        c, ys = np.asarray(c), {name: np.asarray(y) for name, y in ys.items()}
    np.testing.assert_array_equal(c, np.ones(2))
    assert {name: y.shape for name, y in ys.items()} == {"y": (0, 2), "n": (0,)}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda z: mg.scan(lambda c, x: (c, c), 0.0), mg.ParameterError, "^length: given neither length nor xs"),
        (
            lambda z: mg.scan(lambda c, x: (c, c), 0.0, z, 5),
            mg.ParameterError,
            r"^xs: given an array of shape \(4, 3\)",
        ),
        (lambda z: mg.scan(lambda c, x: (c, c), 0.0, (z, 1.0)), mg.ParameterError, r"^xs\[1\]: given an array without"),
        (lambda z: mg.scan(lambda c, x: (c, c), 0.0, (z, z[1:])), mg.ParameterError, r"^xs\[1\]: .* as the others"),
        (lambda z: mg.scan(lambda c, x: (c, c), 0.0, z, reduce="min"), mg.ParameterError, "^reduce: given 'min'"),
        (
            lambda z: mg.scan(lambda c, x: (c, c), 0.0, z, reduce=("sum",)),
            mg.ParameterError,
            "^reduce: given names for",
        ),
        (lambda z: mg.scan(lambda c, x: c, 0.0, z), mg.TraceError, "a step returns .*; return carry, y"),
        (lambda z: mg.scan(lambda c, x: (c + x, c), 0.0, z), mg.TraceError, r"carry has shape \(\) in init and \(3,\)"),
        (lambda z: mg.scan(lambda c, x: ((c, c), c), 0.0, z), mg.TraceError, r"the carry is \[0\], \[1\] after a step"),
        (
            lambda z: mg.scan(lambda c, x: ({"a": c["a"] > 0}, 0.0), {"a": 1.0}, z),
            mg.TraceError,
            r"carry\['a'\] is made",
        ),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_refusals(call, error, match, traced):
    with pytest.raises(error, match=match) as caught:
        trace(call, (input_("z", Z.shape),), {}) if traced else call(Z)
    if error is mg.TraceError:
        assert caught.value.filename == __file__


def test_a_value_of_a_step_is_refused_outside_of_it():
    kept = []

    def leaks(z):
        mg.scan(lambda c, x: (kept.append(c) or c + x, None), z[0], z)
        return kept[-1] * 2.0

    with pytest.raises(mg.TraceError, match=r"leaks reads a value of a step of mg\.scan outside of the step"):
        trace(leaks, (input_("z", (4,)),), {})


def written_carry(z):
    def step(c, x):
        c += np.sin(x)
        return c, c

    init = 2.0 * z[0]
    last, ys = mg.scan(step, init, z)
    return np.concatenate([last, ys, init, z], axis=None)


def written_elements(z):
    def step(c, x):
        x[1:] *= c[0]
        c[0] = x[2]
        return c, x

    last, ys = mg.scan(step, z[1], z)
    return np.concatenate([last, ys, z], axis=None)


def written_zeros(z):
    init = np.zeros(3)

    def step(c, x):
        c += z[0]
        y = np.zeros(2)
        y[0] = c[1]
        return c, y

    last, ys = mg.scan(step, init, np.ones((3, 1)))
    return np.concatenate([last, ys, init], axis=None)


def written_in_some_draws(z):
    def body(c, x):
        c -= x
        return c

    init = z[0] + 5.0
    return np.concatenate([mg.while_loop(lambda c: c[0] > 5.0, body, init, 4, xs=np.ones((4, 3))), init])


@pytest.mark.parametrize("f", [written_carry, written_elements, written_zeros, written_in_some_draws])
def test_a_step_writes_to_arrays_of_its_own(f):
    """As in JAX's loops: neither what the loop began with nor the outputs of other steps follow."""
    leaf, ours = input_("z", Z.shape), Z.copy()
    plain = f(ours)
    np.testing.assert_array_equal(ours, Z)
    found = interpret([trace(f, (leaf,), {})], {leaf: Z[..., None]}, "float64")[0][..., 0]
    np.testing.assert_allclose(found, plain, rtol=1e-14)


@pytest.mark.parametrize("outside", [lambda z: 2.0 * z[0], lambda z: np.zeros(3)], ids=["traced", "zeros"])
@pytest.mark.parametrize("write", ["v += 1.0", "v[0] += c", "v[0] = 2.0", "v[1:] -= 1.0", "w = v; w *= x[0]"])
def test_a_step_does_not_write_to_arrays_from_outside(outside, write):
    """It is traced once, and NumPy writes in each step."""
    scope = {"mg": mg, "np": np, "outside": outside}
    exec(f"""def f(z):
    v = outside(z)
    def step(c, x):
        nonlocal v
        {write}
        return c + x[0] * v[0], None
    return mg.scan(step, 0.0, z)[0] + v[1]""", scope)  # fmt: skip
    with pytest.raises(mg.errors.TraceError, match="a write in a step of a loop to an array from outside"):
        trace(scope["f"], (input_("z", Z.shape),), {})


def test_a_loop_of_literals_is_a_literal():
    z = input_("z", (3,))
    found = trace(lambda z: z[0] * mg.scan(lambda c, t: (c + t, c), 0.0, z[:0] * 0.0 + 1.0)[0], (z,), {})
    assert found is not None
    assert trace(lambda z: mg.scan(lambda c, t: (c + t, c), const_of(z), np.arange(3.0))[0], (z,), {}).is_const


def const_of(z):
    return z * 0.0 if isinstance(z, np.ndarray) else type(z)(const(0.0))
