"""Random Programs of parameters from 1e-30 to 1e30 are simplified: they stay as near to the exact value as they were.

In float64 from 1e-150 to 1e150. What is exact is the Program as it was built, interpreted in a wider format.
"""

import numpy as np
import pytest

from mcgrad.differentiate.elementwise import DERIVATIVES
from mcgrad.differentiate.modes import gradient
from mcgrad.ir.build import apply, input_, noise, reduce, scan
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource
from mcgrad.simplify.fixed_point import simplify

DRAWS, SIZE, STEPS = 64, 40, 5
WIDER = {"float32": "float64", "float64": "longdouble"}
DECADES = {"float32": 30, "float64": 150}
RESERVE = {
    "float32": 1e31,
    "float64": 1e295,
}  # what the user's own intermediate values stay below, and their reciprocals
OPS_AT_EXTREMES = ["reciprocal", "sqrt", "cbrt", "log", "arcsinh", "arccosh", "arctan2", "hypot", "multiply", "divide"]
BINARY = ["add", "subtract", "multiply", "divide"]


class Writer:
    """Builds random expressions of scalars and vectors whose sizes are known, so that sums and products make sense."""

    def __init__(self, rng, dtype):
        self.rng, self.inputs, self.most = rng, {}, DECADES[dtype]
        self.vectors = [(noise(0, "normal", (SIZE,)), 0.0), (noise(1, "uniform", (SIZE,)), 0.0)]
        self.scalars = []
        for i in range(6):
            shape, decade = ((), (SIZE,))[i % 2], float(rng.integers(-self.most, self.most + 1))
            var = input_(f"p{i}", shape)
            values = rng.uniform(0.5, 2, shape) if rng.random() < 0.6 else rng.uniform(1, 1 + 1e-4, shape)
            self.inputs[var] = values * 10.0**decade * rng.choice([-1, 1])
            (self.vectors if shape else self.scalars).append((var, decade))

    def parameter(self, decade, shape=()):
        """Give a new input of some size."""
        var = input_(f"p{len(self.inputs)}", shape)
        self.inputs[var] = 10.0**decade * self.rng.uniform(0.5, 2, shape)
        return var

    def near(self, decade):
        """Give a value of some size, so that its sum or difference with another of that size says something."""
        choices = [y for y, other in self.vectors if abs(other - decade) < 2]
        if choices and self.rng.random() < 0.5:
            return choices[self.rng.integers(len(choices))]
        size = self.parameter(decade)
        return apply("multiply", size, self.vectors[self.rng.integers(2)][0]) if self.rng.random() < 0.6 else size

    def step(self):
        """Add vectors made of earlier ones."""
        rng = self.rng
        x, decade = self.vectors[rng.integers(len(self.vectors)) if rng.random() < 0.5 else -1]
        y, other = [*self.vectors, *self.scalars][rng.integers(len(self.vectors) + len(self.scalars))]
        choice = rng.integers(11)
        if choice < 2:
            found = apply(BINARY[choice], x, self.near(decade)), decade
        elif choice < 4:
            found = apply("multiply", x, y), decade + other
        elif choice < 6:
            found = apply("divide", x, y), decade - other
        elif choice == 6:
            found = apply("power", x, float(rng.choice([2, 3, -1, -2]))), decade * 2
        elif choice == 7:
            found = scan("cumsum", x, 0, bool(rng.integers(2))), decade
        elif choice == 8:
            found = apply("multiply", x, float(rng.choice([-1, 0.5, -0.1, 3]))), decade
        else:  # what is far from zero, less what is near it: (x - a) - b with a close to -b
            far, close = (self.parameter(decade, (SIZE,)) for _ in range(2))
            base = 10.0 ** (decade + rng.integers(2, 5))
            self.inputs[far], self.inputs[close] = self.inputs[far] + base, self.inputs[close] + base
            x = apply("subtract", x, far) if choice == 9 else apply("multiply", apply("subtract", x, far), -1.0)
            found = apply("add" if choice == 9 else "subtract", x, close), decade
        var, decade = found
        if abs(decade) <= self.most:
            self.vectors.append((var, decade))

    def value(self):
        """Return a scalar of the last vectors, brought to ordinary size."""
        total = None
        for x, decade in self.vectors[-2:]:
            part = reduce("sum", x, (0,)) if self.rng.random() < 0.6 else reduce("max", x, (0,))
            part = apply("divide", part, self.parameter(decade))
            total = part if total is None else apply("add", total, part)
        return apply("multiply", total, total) if self.rng.random() < 0.5 else total


def leaves_of(writer, dtype):
    """Draws and parameters, rounded to the dtype."""
    leaves = {var: np.asarray(x)[..., None].astype(dtype) for var, x in writer.inputs.items()}
    components = np.arange(SIZE)
    return leaves | {
        writer.vectors[0][0]: numbers(NoiseSource(0, "normal"), 5, components, 0, DRAWS, np.float32).astype(dtype),
        writer.vectors[1][0]: numbers(NoiseSource(1, "uniform"), 5, components, 0, DRAWS, np.float32).astype(dtype),
    }


def evaluated(program, leaves, dtype):
    roots = [out.var if out.scale is None else apply("multiply", out.var, out.scale) for out in program.outputs]
    leaves = {var: x.astype(dtype) for var, x in leaves.items()}
    return [np.broadcast_to(x, (*x.shape[:-1], DRAWS)) for x in interpret(roots, leaves, dtype)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(150))
def test_simplified_programs_are_as_near_to_the_exact_value(seed, dtype):
    writer = Writer(np.random.default_rng(seed), dtype)
    for _ in range(STEPS):
        writer.step()
    value = writer.value()
    wrt = list(writer.inputs)
    program = Program(
        (Output("value", value), *(Output(var.attrs, g) for var, g in zip(wrt, gradient(value, wrt), strict=True))),
        dtype,
    )
    simpler, leaves = simplify(program), leaves_of(writer, dtype)
    ordinary = np.ones(DRAWS, bool)
    for x in interpret(list(toposort(program.roots())), leaves, dtype):
        if x.dtype.kind == "f":
            size = np.abs(x.reshape(-1, x.shape[-1]))
            ordinary &= ((size == 0) | ((size < RESERVE[dtype]) & (size > 1 / RESERVE[dtype]))).all(0)
    before, after, exact = (
        evaluated(*case)
        for case in ((program, leaves, dtype), (simpler, leaves, dtype), (program, leaves, WIDER[dtype]))
    )
    unit = np.finfo(dtype).eps
    for out, old, new, right in zip(program.outputs, before, after, exact, strict=True):
        old, new, right = (x[..., ordinary].astype(WIDER[dtype]) for x in (old, new, right))
        assert np.isfinite(new[np.isfinite(old)]).all(), out.path
        if not right.size or not np.isfinite(right).all():
            continue
        error, allowed = (np.abs(x - right).max(-1) for x in (new, old))
        allowed = 32 * allowed + 32 * unit * np.abs(right).max(-1)
        assert (error <= allowed).all(), (out.path, (error / allowed).max())


@pytest.mark.parametrize("op", OPS_AT_EXTREMES)
def test_derivatives_at_large_and_small_arguments(op):
    """In float32, from 1e-24 to 1e24, as in float64; a cotangent of a size that the result has again."""
    x = np.ldexp(1.25, np.arange(-80, 81, 8)) if op != "arccosh" else np.ldexp(1.25, np.arange(1, 81, 8))
    at = [x] if len(DERIVATIVES[op]) == 1 else [x, np.roll(x, 1)] if op in ("multiply", "divide") else [x, 1.5 * x]
    t, *args = (input_(name, x.shape) for name in "tab"[: len(at) + 1])
    y = apply(op, *args)
    for rule in DERIVATIVES[op]:
        root = rule(t, y, *args)
        (size,) = interpret([root], {t: np.ones((x.size, 1)), **{a: v[:, None] for a, v in zip(args, at, strict=True)}},
                            "float64")  # fmt: skip
        for weight in (np.ones_like(x), np.exp2(np.clip(-np.round(np.log2(np.abs(size[:, 0]))), -80, 80))):
            leaves = {t: weight[:, None], **{a: v[:, None] for a, v in zip(args, at, strict=True)}}
            (want,) = interpret([root], leaves, "float64")
            (found,) = interpret([root], {var: v.astype(np.float32) for var, v in leaves.items()}, "float32")
            ordinary = (np.abs(want) > 1e-36) & (np.abs(want) < 1e36)
            np.testing.assert_allclose(found[ordinary], want[ordinary], rtol=1e-5)
