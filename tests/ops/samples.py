"""One or more samples of every op: how to build it, where to sample its arguments, what it means in NumPy or SciPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import mpmath as mp
import numpy as np
import scipy.special as sc

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.trace import trace
from mcgrad.trace.tracer import unwrap, wrap

Domain = tuple[float, float]
POSITIVE, UNIT, ANY, WIDE = (0.3, 2.0), (-0.9, 0.9), (-2.0, 2.0), (-30.0, 30.0)


@dataclass(frozen=True)
class Sample:
    """`build` makes a Var from Vars of `shapes`, `meaning` an array from arrays; elements lie in `domains`."""

    id: str
    build: Callable[..., Var]
    meaning: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    domains: tuple[Domain, ...]
    smooth: bool = True


SAMPLES: dict[str, list[Sample]] = {}


def sample(op: str, build: Callable[..., Var], meaning: Callable[..., Any], *args: Any, smooth: bool = True) -> None:
    """List a sample; `args` are shapes, each followed by its domain."""
    listed = SAMPLES.setdefault(op, [])
    listed.append(Sample(f"{op}-{len(listed)}", build, meaning, args[::2], args[1::2], smooth))


def elementwise(op: str, *domains: Domain, meaning: Callable[..., Any] | None = None, smooth: bool = True) -> None:
    args = [arg for domain in domains for arg in ((3, 2), domain)]
    sample(op, partial(build.apply, op), meaning or getattr(np, op, None) or getattr(sc, op), *args, smooth=smooth)


def positive(*args: Var) -> list[Var]:
    return [build.apply("less", 0.0, x) for x in args]


def gamma_slope_e(a: Any, e: Any) -> Any:
    z = sc.gammaincinv(a, sc.ndtr(e))
    return np.exp(-0.5 * e * e - a * np.log(z) + z + sc.gammaln(a)) / np.sqrt(2 * np.pi)


@np.vectorize
def gamma_slope_a(a: float, e: float) -> float:
    z = mp.mpf(float(sc.gammaincinv(a, sc.ndtr(e))))
    slope = mp.diff(lambda a: mp.gammainc(a, 0, z, regularized=True), a)
    return float(-slope * mp.gamma(a) * mp.exp(z) * z**-a)


# --- elementwise -----------------------------------------------------------------------------------------------------
for op in ["add", "subtract", "multiply"]:
    elementwise(op, ANY, ANY)
for op in ["divide", "hypot", "power"]:
    elementwise(op, POSITIVE, POSITIVE)
for op in ["arctan2", "logaddexp"]:
    elementwise(op, ANY, POSITIVE)
elementwise("arctan2", (-2.0, -0.5), (-2.0, -0.5))
elementwise("logaddexp", WIDE, WIDE)
elementwise("power", POSITIVE, (-9.0, 9.0))
for op in ["minimum", "maximum"]:
    elementwise(op, (0.0, 1.0), (1.1, 2.0))
    elementwise(op, (1.1, 2.0), (0.0, 1.0))
for op in ["negative", "exp", "exp2", "expm1", "sin", "cos", "arctan", "sinh", "cosh", "tanh", "arcsinh"]:
    elementwise(op, ANY)
for op in ["sin", "cos", "tan", "tanh", "arctan", "arcsinh"]:
    elementwise(op, (100.0, 100.5))
for op in ["reciprocal", "sqrt", "cbrt", "log", "log2", "log10", "log1p"]:
    elementwise(op, POSITIVE)
for op in ["tan", "arcsin", "arccos", "arctanh"]:
    elementwise(op, UNIT)
elementwise("arccosh", (1.2, 3.0))
for op in ["absolute", "sign", "cbrt"]:
    elementwise(op, (-2.0, -0.5))
    elementwise(op, (0.5, 2.0))
for op in ["floor", "ceil"]:
    elementwise(op, (-1.9, -1.1))
    elementwise(op, (1.1, 1.9))
for op in ["expit", "erf", "erfc", "erfcx", "ndtr", "log_ndtr"]:
    elementwise(op, ANY)
elementwise("expit", WIDE)
elementwise("log_ndtr", (-30.0, -5.0))
elementwise("erfcx", (2.0, 50.0))
elementwise("ndtri", (0.1, 0.9))
elementwise("ndtri_exp", (-2.0, -0.1))
elementwise("ndtri_exp", (-900.0, -10.0))
elementwise("softplus", ANY, meaning=lambda x: np.logaddexp(0, x))
elementwise("softplus", WIDE, meaning=lambda x: np.logaddexp(0, x))
elementwise("log_cosh", ANY, meaning=lambda x: np.log(np.cosh(x)))
elementwise("log_cosh", WIDE, meaning=lambda x: np.log(np.cosh(x)))
elementwise("gammaln", POSITIVE)
elementwise("digamma", POSITIVE)
elementwise("gamma_log_ratio", POSITIVE, ANY, meaning=lambda a, e: np.log(sc.gammaincinv(a, sc.ndtr(e)) / (1 + a)))
elementwise("gamma_log_ratio", (20.0, 30.0), ANY, meaning=lambda a, e: np.log(sc.gammaincinv(a, sc.ndtr(e)) / (1 + a)))
elementwise("gamma_slope_e", POSITIVE, ANY, meaning=gamma_slope_e, smooth=False)
elementwise("gamma_slope_a", POSITIVE, ANY, meaning=gamma_slope_a, smooth=False)
elementwise("nextafter", ANY, POSITIVE)
elementwise("trigamma", POSITIVE, meaning=lambda x: sc.polygamma(1, x), smooth=False)
for op in ["less", "less_equal", "equal", "not_equal"]:
    elementwise(op, ANY, ANY, smooth=False)
for op in ["isfinite", "isnan"]:
    sample(op, lambda x, f=op: build.apply(f, build.apply("log", x)),
           lambda x, f=op: getattr(np, f)(np.log(x)), (4, 3), ANY, smooth=False)  # fmt: skip
for op in ["logical_and", "logical_or", "logical_xor"]:
    sample(op, lambda x, y, f=op: build.apply(f, *positive(x, y)),
           lambda x, y, f=op: getattr(np, f)(x > 0, y > 0), (8,), ANY, (8,), ANY, smooth=False)  # fmt: skip
sample("logical_not", lambda x: build.apply("logical_not", *positive(x)), lambda x: ~(x > 0), (8,), ANY, smooth=False)
sample("float", lambda x: build.apply("float", *positive(x)), lambda x: 1.0 * (x > 0), (8,), ANY, smooth=False)
sample("float", lambda x, y: build.apply("multiply", *positive(x), y), lambda x, y: (x > 0) * y,
       (4,), (0.1, 1.0), (4,), ANY)  # fmt: skip
sample("where", lambda x, y: build.apply("where", *positive(x), x, y), lambda x, y: np.where(x > 0, x, y),
       (8,), ANY, (8,), ANY)  # fmt: skip
sample("where", lambda x: build.apply("where", *positive(x), build.apply("less", x, 1.0), True),
       lambda x: np.where(x > 0, x < 1, True), (8,), ANY, smooth=False)  # fmt: skip
elementwise("stop", ANY, meaning=lambda x: x, smooth=False)  # their derivatives are not those of what they mean
elementwise("vibrato_step", ANY, ANY, meaning=lambda x, eps: x, smooth=False)
elementwise("vibrato_mean", ANY, ANY, meaning=lambda y, steps: y)
elementwise("implicit", ANY, ANY, POSITIVE, meaning=lambda z, cdf, density: z, smooth=False)
sample("copy", build.copy, lambda x: x, (3, 2), ANY)

# --- structural ------------------------------------------------------------------------------------------------------
GRID = np.array([[5, 0, 0], [3, 3, 1]])
sample("reshape", lambda x: build.reshape(x, (3, 2)), lambda x: x.reshape(3, 2), (2, 3), ANY)
sample("reshape", lambda x: build.reshape(build.transpose(x, (1, 0)), (6,)), lambda x: x.T.ravel(), (2, 3), ANY)
sample("transpose", lambda x: build.transpose(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1), (2, 3, 4), ANY)
sample("broadcast", lambda x: build.broadcast(x, (4, 3, 2)), lambda x: np.broadcast_to(x, (4, 3, 2)), (3, 1), ANY)
sample("slice", lambda x: build.slice_(x, [(1, 5, 2), (0, 2, 1)]), lambda x: x[1:5:2, :2], (5, 3), ANY)
sample("slice", lambda x: build.slice_(x, [(0, 7, 3)]), lambda x: x[:7:3], (8,), ANY)
sample("flip", lambda x: build.flip(x, (0, 2)), lambda x: x[::-1, :, ::-1], (2, 3, 2), ANY)
sample("pad", lambda x: build.pad(x, [(1, 2, 0), (0, 1, 0)]), lambda x: np.pad(x, [(1, 2), (0, 1)]), (2, 3), ANY)
sample("pad", lambda x: build.pad(x, [(1, 0, 2)]), lambda x: x @ np.eye(8)[1::3], (3,), ANY)
sample("take", lambda x: build.take(x, GRID), lambda x: x.ravel()[GRID], (3, 2), ANY)
sample("concatenate", lambda x, y: build.concatenate([x, y, x], 1), lambda x, y: np.hstack([x, y, x]),
       (2, 3), ANY, (2, 1), ANY)  # fmt: skip
sample("concatenate", lambda x: build.concatenate([x, build.const([1.0, 2.0])], 0), lambda x: np.append(x, [1.0, 2.0]),
       (3,), ANY)  # fmt: skip

# --- reductions, scans, contractions ---------------------------------------------------------------------------------


def elements(x: Any, k: Any, batch: int) -> Any:
    """Elements along the axis after the first `batch`, at numbers cut to whole ones; NaN beyond the ends."""
    x, k = np.asarray(x), np.asarray(k)
    inside = (k >= 0) & (k < x.shape[batch])
    flat, rows = x.reshape(-1, *x.shape[batch:]), np.where(inside, k, 0).astype(int)
    rows = rows.reshape(len(flat), -1)
    found = np.stack([values[row] for values, row in zip(flat, rows, strict=True)])
    found = found.reshape(*k.shape, *x.shape[batch + 1 :])
    return np.where(inside.reshape(*k.shape, *(1,) * (found.ndim - k.ndim)), found, np.nan)


def gathers(shape: tuple[int, ...], k: Any, batch: int = 0, smooth: bool = True, of: Any = np.exp) -> None:
    """Gather what is computed from an array, at whole numbers and some more."""
    k = np.asarray(k, float)
    sample("gather", lambda x, u: build.gather(unwrap(of(wrap(x))), build.apply("add", u, k), batch),
           lambda x, u: elements(of(x), u + k, batch), shape, ANY, k.shape, (0.2, 0.8), smooth=smooth)  # fmt: skip


for shape in ((20,), (20, 3), (4, 2)):  # more elements than are compared, and fewer
    gathers(shape, np.minimum([[3, 0], [19, 7]], shape[0] - 1))
gathers((2, 20, 3), [[19, 0], [4, 4]], batch=1)
gathers((2, 2, 18), [[17, 0], [4, 3]], batch=2)
gathers((2, 17), [[[16, 0]], [[4, 3]]], batch=1)
gathers((2, 5), [4, 0], batch=1)
gathers((3, 24), [0, 13, 23], of=lambda x: np.cumsum(x, 0).T)
gathers((24, 3), [0, 13, 23], of=lambda x: np.sum(x, 1))
gathers((24,), [0, 13, 23], of=lambda x: np.concatenate([x, np.sin(x)])[::-1])
for shape in ((20,), (4, 2)):
    gathers(shape, [-2, -1, 0, shape[0] - 1, shape[0], np.nan, np.inf, -np.inf], smooth=False)


def summed(x: Any, k: Any, size: int) -> Any:
    """Elements added up at numbers cut to whole ones; those at none are left out."""
    x, k = np.ravel(x), np.ravel(k)
    inside = (k >= 0) & (k < size)
    return np.bincount(k[inside].astype(int), x[inside], size)


for places in ([3, 0, 3, 19, 7, 0], [[2, 1], [2, 5], [0, 0]]):  # with fractions, and elements at one place
    k = np.asarray(places, float)
    sample("scatter", lambda x, u, k=k: build.scatter(x, build.apply("add", u, k), 20),
           lambda x, u, k=k: summed(x, u + k, 20), k.shape, ANY, k.shape, (0.2, 0.8))  # fmt: skip
K = np.array([-2, -1, 0, 19, 20, np.nan, np.inf, -np.inf])
sample("scatter", lambda x, u: build.scatter(x, build.apply("add", u, K), 20), lambda x, u: summed(x, u + K, 20),
       K.shape, ANY, K.shape, (0.2, 0.8), smooth=False)  # fmt: skip
sample("scatter_add", lambda x: build.scatter_add(x, GRID, (7,)),
       lambda x: np.bincount(GRID.ravel(), x.ravel(), 7), (2, 3), ANY)  # fmt: skip
for op in ["sum", "prod", "max", "min"]:
    for axes in ((0,), (1,), (0, 2), (0, 1, 2)):
        sample(op, lambda x, f=op, a=axes: build.reduce(f, x, a), lambda x, f=op, a=axes: getattr(np, f)(x, axis=a),
               (3, 2, 4), (0.5, 1.5))  # fmt: skip
sample("prod", lambda x: build.reduce("prod", build.apply("multiply", x, [1.0, 0.0, 1.0]), (0,)),
       lambda x: 0.0 * x[1], (3,), POSITIVE)  # fmt: skip
for op in ["cumsum", "cumprod"]:
    for shape, axis in (((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 2), 1)):
        for reverse in (False, True):
            sample(op, lambda x, f=op, a=axis, r=reverse: build.scan(f, x, a, r),
                   lambda x, f=op, a=axis, r=reverse: (
                       np.flip(getattr(np, f)(np.flip(x, a), a), a) if r else getattr(np, f)(x, a)),
                   shape, (0.5, 1.5))  # fmt: skip


def recurrence(a: Any, b: Any, reverse: bool) -> Any:
    """A lower bidiagonal system, solved."""
    n = len(a)
    steps = slice(None, None, -1 if reverse else 1)
    system = np.eye(n) - np.diag(a[steps][1:], -1)
    return np.linalg.solve(system, b[steps])[steps]


for reverse in (False, True):
    sample("linear_recurrence", lambda a, b, r=reverse: build.linear_recurrence(a, b, 0, r),
           lambda a, b, r=reverse: recurrence(a, b, r), (5,), ANY, (5,), ANY)  # fmt: skip
    sample("linear_recurrence", lambda a, b, r=reverse: build.linear_recurrence(a, b, 1, r),
           lambda a, b, r=reverse: np.stack([recurrence(*row, r) for row in zip(a, b, strict=True)]),
           (2, 4), ANY, (2, 4), ANY)  # fmt: skip
for subscripts, *shapes in [
    ("ij,j->i", (4, 3), (3,)),
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("bij,bjk->bik", (2, 3, 2), (2, 2, 3)),
    ("ji,j->i", (3, 4), (3,)),
    ("i,j->ij", (3,), (4,)),
    ("i,i->", (5,), (5,)),
    ("ijk,kj->i", (2, 3, 2), (2, 3)),
    ("i,j->i", (3,), (4,)),
    ("ij->i", (3, 4)),
    ("ij->ji", (3, 4)),
]:
    args = [arg for shape in shapes for arg in (shape, ANY)]
    sample("einsum", partial(build.einsum, subscripts), partial(np.einsum, subscripts), *args)

LONG = np.linspace(0.4, 1.6, 17)
ARRAY = np.linspace(-1.0, 1.0, 24 * 20).reshape(24, 20)
for subscripts, fixed, shape in [  # one operand fixed, large enough for BLAS in the kernels
    ("ij,j->i", ARRAY, (20,)),
    ("ji,j->i", ARRAY, (24,)),
    ("ij,jk->ik", ARRAY[:5], (20, 3)),
    ("ij,kj->ki", ARRAY[:5], (3, 20)),
    ("bij,bj->bi", ARRAY.reshape(4, 6, 20), (4, 20)),
    ("bij,jb->ib", ARRAY.reshape(4, 6, 20), (20, 4)),
    ("ijk,kj->i", ARRAY.reshape(6, 4, 20), (20, 4)),
]:
    sample("einsum", lambda x, s=subscripts, f=fixed: build.einsum(s, build.const(f), x),
           lambda x, s=subscripts, f=fixed: np.einsum(s, f, x), shape, ANY)  # fmt: skip


# --- matrices --------------------------------------------------------------------------------------------------------
GRAM = np.linspace(3.0, 4.0, 5)  # added to a diagonal


def definite(x: Any) -> Any:
    """A positive definite matrix, and above its diagonal numbers that nothing reads."""
    n = x.shape[-1]
    return np.matmul(x, np.matrix_transpose(x)) + np.diag(GRAM[:n]) + np.triu(x, 1)


def as_read(a: Any) -> Any:
    return np.tril(a) + np.matrix_transpose(np.tril(a, -1))


def with_sign(v: Any) -> Any:
    """Eigenvectors of which the first element that is larger than half of the largest is positive."""
    signs = [np.sign(next(x for x in column if abs(x) > 0.5 * max(abs(column)))) for column in v.T]
    return v * signs


def of_definite(op: str, meaning: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    def build_it(x: Var) -> Var:
        return build.matrices(op, trace(definite, (x,), {}))

    def each(x: Any) -> Any:
        a = as_read(definite(x))
        found = [meaning(m) for m in a.reshape(-1, *a.shape[-2:])]
        return np.reshape(found, (*a.shape[:-2], *np.shape(found[0])))

    for shape in shapes:
        sample(op, build_it, each, shape, UNIT)


def far_from_singular(x: Any, sign: float = 1.0) -> Any:
    return x + sign * np.diag(GRAM[: x.shape[-1]])


of_definite("cholesky", np.linalg.cholesky, (2, 2), (4, 4))
of_definite("eigvalsh", np.linalg.eigvalsh, (2, 2), (3, 3))
of_definite("eigenvectors", lambda a: with_sign(np.linalg.eigh(a)[1]), (2, 2), (3, 3))
sample("det", partial(build.matrices, "det"), np.linalg.det, (4, 4), (0.5, 1.5))
sample("cofactors", partial(build.matrices, "cofactors"),
       lambda x: np.linalg.det(x)[..., None, None] * np.matrix_transpose(np.linalg.inv(x)),
       (3, 3), (0.5, 1.5))  # fmt: skip
for shape in ((2, 2, 2), (4, 4)):
    sample("slogdet", lambda x: build.matrices("slogdet", trace(far_from_singular, (x, -1.0), {})),
           lambda x: np.stack(np.linalg.slogdet(far_from_singular(x, -1.0)), -1), shape, UNIT)  # fmt: skip
for transposed in (False, True):
    for shape in ((2, 2, 2), (4, 4)):
        sample("solve",
               lambda x, b, t=transposed: build.solve("solve", trace(far_from_singular, (x,), {}), b, t),
               lambda x, b, t=transposed: np.linalg.solve(
                   np.matrix_transpose(far_from_singular(x)) if t else far_from_singular(x), b),
               shape, UNIT, (*shape[:-1], 2), ANY)  # fmt: skip
    for shape in ((2, 2, 2), (5, 5)):
        sample("solve_triangular",
               lambda x, b, t=transposed: build.solve("solve_triangular", trace(far_from_singular, (x,), {}), b, t),
               lambda x, b, t=transposed: np.linalg.solve(
                   np.matrix_transpose(np.tril(far_from_singular(x))) if t else np.tril(far_from_singular(x)), b),
               shape, UNIT, (*shape[:-1], 1), ANY)  # fmt: skip


# --- loops -----------------------------------------------------------------------------------------------------------
def in_turn(
    step: Callable[..., Any], init: Sequence[Any], xs: Sequence[Any], same: Sequence[Any], length: int, reverse: bool
) -> Any:
    """What a loop means, in Python: `step(carries, elements, same)` gives the next carries, and what is stacked."""
    rows = []
    for t in reversed(range(length)) if reverse else range(length):
        init, stacked = step(init, [x[t] for x in xs], same)
        rows.append(stacked)
    return [*init, *map(np.stack, zip(*rows[:: -1 if reverse else 1], strict=True))]


def loop_of(
    step: Callable[..., Any], init: Sequence[Var], xs: Sequence[Var], same: Sequence[Var], length: int, reverse: bool
) -> list[Var]:
    """The same as a loop."""
    shapes = [*(x.shape for x in init), *(x.shape[1:] for x in xs), *(x.shape for x in same)]
    params = [build.argument(i, shape) for i, shape in enumerate(shapes)]
    m, n = len(init), len(init) + len(xs)
    carried, stacked = trace(step, (tuple(params[:m]), tuple(params[m:n]), tuple(params[n:])), {})
    loop = build.loop(params, [*carried, *stacked], [*init, *xs, *same], (m, len(xs), length, reverse))
    shapes = [*(x.shape for x in init), *((length, *y.shape) for y in stacked)]
    starts = np.cumsum([0, *(int(np.prod(shape, dtype=int)) for shape in shapes)])
    return [build.part(loop, int(start), shape) for start, shape in zip(starts, shapes, strict=False)]


def joined(results: Sequence[Any]) -> Any:
    """All numbers of some results, in one vector."""
    if isinstance(results[0], Var):
        return build.concatenate([build.reshape(x, (x.size,)) for x in results], 0)
    return np.concatenate([np.ravel(x) for x in results])


def lengthened(x: Any) -> Any:
    """More numbers than a gather compares, along a new last axis."""
    return unwrap(wrap(x)[..., None] * LONG) if isinstance(x, Var) else x[..., None] * LONG


def turns(
    step: Callable[..., Any],
    groups: tuple[int, int],
    length: int,
    *args: Any,
    smooth: bool = True,
    reverse: bool = False,
    long: Sequence[int] = (),
) -> None:
    """List a sample of a loop whose first arguments are carries, whose next ones by step, and whose others the same.

    Arguments whose places are in `long` have an axis of many numbers more in the loop.
    """
    m, n = groups[0], sum(groups)

    def run(how: Callable[..., Any]) -> Callable[..., Any]:
        def result(*xs: Any) -> Any:
            xs = tuple(lengthened(x) if i in long else x for i, x in enumerate(xs))
            return joined(how(step, xs[:m], xs[m:n], xs[n:], length, reverse))

        return result

    sample("loop", run(loop_of), run(in_turn), *args)


def regression(carries: Any, xs: Any, same: Any) -> Any:
    return [np.tanh(0.9 * carries[0] + np.sum(xs[0] * same[0]))], [xs[0] * carries[0]]


def exchange(carries: Any, xs: Any, same: Any) -> Any:
    a, b = carries
    return [b, 0.5 * a + np.sin(b)[::-1]], [a[1]]


def mixing(carries: Any, xs: Any, same: Any) -> Any:
    (c,) = carries
    return [np.matmul(ARRAY[:20, :20], c) / 4 + same[0]], []


def kinked(carries: Any, xs: Any, same: Any) -> Any:
    low, total = carries
    level = np.where(xs[0] > 0.2, np.sqrt(np.abs(xs[0])), low * same[0])
    return [np.minimum(low, level), total + np.maximum(level, 0.1)], []


def gathered(carries: Any, xs: Any, same: Any) -> Any:
    (c,) = carries
    return [c.ravel()[np.array([[3, 0], [0, 1]])] * xs[0][::-1] + c.T], [np.cumsum(c[0])]


def looked_up(carries: Any, xs: Any, same: Any) -> Any:
    """Elements of a carry, of what a step has for itself, and of what is the same in all, where the step says."""
    (c,), (y, u) = carries, xs
    k, i = (np.floor(u + start).astype(int) for start in (np.array([3.0, 16.0]), np.array([0.0, 1.0])))
    found = c[k] * y[k[::-1]] + same[0][k] * same[1][i]
    return [c * np.mean(found)], [found]


def ignoring(carries: Any, xs: Any, same: Any) -> Any:
    unread, before = carries
    return [0.5 * unread + 1.0, xs[0] * same[0]], [before]


def nested(carries: Any, xs: Any, same: Any) -> Any:
    (c,) = carries
    how = loop_of if isinstance(unwrap(c), Var) else in_turn
    args = [unwrap(x) for x in (c, xs[0], same[0])]
    inner, stacked = how(lambda cs, ys, same: ([cs[0] * same[0] + ys[0]], [np.exp(0.1 * cs[0])]),
                         [args[0]], [args[1]], [args[2]], 3, True)  # fmt: skip
    inner, stacked = wrap(inner), wrap(stacked)
    return [np.sin(inner) + c], [stacked * xs[0]]


for reverse in (False, True):
    turns(regression, (1, 1), 4, (), ANY, (4, 2), ANY, (2,), ANY, reverse=reverse)
    turns(exchange, (2, 0), 3, (2,), ANY, (2,), ANY, reverse=reverse)
    turns(kinked, (2, 1), 3, (), ANY, (), ANY, (3,), (0.3, 2.0), (), ANY, reverse=reverse)
    turns(ignoring, (2, 1), 3, (), ANY, (), ANY, (3,), ANY, (), ANY, reverse=reverse)
    turns(nested, (1, 1), 4, (), ANY, (4, 3), ANY, (), UNIT, reverse=reverse)
turns(looked_up, (1, 2), 3, (), ANY, (3,), ANY, (3, 2), (0.2, 0.8), (), ANY, (2,), ANY, long=(0, 1, 3))
turns(mixing, (1, 0), 3, (20,), ANY, (20,), ANY)
turns(gathered, (1, 1), 2, (2, 2), ANY, (2, 2), ANY)
turns(regression, (1, 1), 1, (), ANY, (1, 2), ANY, (2,), ANY)
sample("part", lambda x: build.part(build.concatenate([x, build.const([1.0])], 0), 1, (2, 2)),
       lambda x: np.append(x, 1.0)[1:].reshape(2, 2), (4,), ANY)  # fmt: skip
sample("part", lambda x: build.part(build.scan("cumsum", x, 0), 1, (2, 1)), lambda x: np.cumsum(x)[1:3, None],
       (4,), ANY)  # fmt: skip
