"""One or more cases for every function that can be traced, as data for any test that takes functions.

A case is plain NumPy code, and where to sample its arguments: away from poles, and from kinks where it is marked
differentiable. All results are one array.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as sc
from scipy import linalg
from scipy.special import logsumexp

Shape = tuple[int, ...]
Domain = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """`function` of arrays of `shapes` with elements in `domains`; `entry` is what it covers."""

    entry: str
    function: Callable[..., Any]
    shapes: tuple[Shape, ...]
    domains: tuple[Domain, ...]
    differentiable: bool
    id: str

    def sample(self, draws: int, seed: int = 0) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        """Arguments with the draws as the last axis."""
        rng = np.random.default_rng(seed)
        pairs = zip(self.shapes, self.domains, strict=True)
        return [rng.uniform(*domain, (*shape, draws)) for shape, domain in pairs]


CASES: list[Case] = []
POSITIVE, UNIT, ANY = (0.3, 2.0), (-0.9, 0.9), (-2.0, 2.0)
A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [-0.5, 1.0, 0.125], [2.0, -1.25, 0.5]])
B = np.linspace(-1.0, 1.0, 6).reshape(2, 3)
C = np.linspace(0.5, 2.0, 24).reshape(2, 3, 4)
MASK = np.array([True, False, True])


def case(entry: str, function: Callable[..., Any], *args: Any, smooth: bool = True) -> None:
    """List a case; `args` are shapes, each followed by its domain unless that is POSITIVE."""
    shapes: list[Shape] = []
    domains: list[Domain] = []
    for arg in args:
        if arg and isinstance(arg[-1], float):
            domains[-1] = arg
        else:
            shapes.append(arg)
            domains.append(POSITIVE)
    number = sum(c.entry == entry for c in CASES)
    CASES.append(Case(entry, function, tuple(shapes), tuple(domains), smooth, f"{entry}-{number}"))


def words(text: str) -> list[str]:
    return text.split()


# --- ufuncs ----------------------------------------------------------------------------------------------------------
for name in [
    "exp",
    "expm1",
    "exp2",
    "sin",
    "cos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "square",
    "positive",
    "deg2rad",
    "rad2deg",
    "degrees",
    "radians",
]:
    case(f"np.{name}", getattr(np, name), (3,), ANY)
for name in words("log log1p log2 log10 sqrt cbrt reciprocal fabs absolute negative conjugate"):
    case(f"np.{name}", getattr(np, name), (3,))
for name in words("arcsin arccos arctanh tan"):
    case(f"np.{name}", getattr(np, name), (2, 2), UNIT)
case("np.arccosh", np.arccosh, (3,), (1.2, 3.0))
for name in words("sign absolute fabs"):
    case(f"np.{name}", getattr(np, name), (3,), (-2.0, -0.5))
for name in words("floor ceil trunc"):
    case(f"np.{name}", getattr(np, name), (3,), (1.1, 1.9))
    case(f"np.{name}", getattr(np, name), (3,), (-1.9, -1.1))
for name in words("add subtract multiply divide power float_power arctan2 hypot logaddexp logaddexp2 fmax fmin"):
    ufunc = getattr(np, name)
    case(f"np.{name}", ufunc, (3,), (2, 1))
for name in words("maximum minimum fmax fmin"):
    case(f"np.{name}", getattr(np, name), (3,), (0.0, 1.0), (3,), (1.1, 2.0))
case("np.power", lambda x: x**3 + x**-2 + x**0.5 + 2.0**x + x**0, (3,))
case("np.power", lambda x: x**2.0, (3,), ANY)
case("np.add", lambda x: 1 + x + np.arange(3) + [1, 2, 3], (3,), ANY)
case("np.add", lambda x: (x > 0) + (x < 1), (3,), ANY, smooth=False)
case("np.subtract", lambda x: 1 - x - np.ones((2, 1)), (3,), ANY)
case("np.multiply", lambda x: 2 * x * np.arange(3), (3,), ANY)
case("np.multiply", lambda x: (x > 0) * (x < 1), (3,), ANY, smooth=False)
case("np.divide", lambda x: 1 / x + x / 4, (3,))
case("np.maximum", lambda x: np.maximum(x > 0, x < -1), (3,), ANY, smooth=False)
case("np.minimum", lambda x: np.minimum(x > 0, x < 1), (3,), ANY, smooth=False)
case("np.floor_divide", lambda x, y: x // y, (3,), (4.2, 4.8), (3,), (2.2, 2.4))
case("np.remainder", lambda x, y: x % y, (3,), (4.2, 4.8), (3,), (2.2, 2.4))
case("np.remainder", lambda x: x % 1, (3,), (-1.8, -1.2))
case("np.floor_divide", lambda x: np.add(*divmod(x, 1)), (3,), (-1.8, -1.2))
case("np.copysign", np.copysign, (3,), (3,), (-2.0, -0.5))
case("np.nextafter", np.nextafter, (3,), (3,), (-2.0, -0.5))
case("np.heaviside", lambda x: np.heaviside(x, 0.5), (3,))
case("np.heaviside", lambda x: np.heaviside(x, 0.5), (3,), (-2.0, -0.5))
for name in words("less less_equal equal not_equal greater greater_equal"):
    case(f"np.{name}", getattr(np, name), (3,), (3,), smooth=False)
for name in words("isfinite isnan isinf"):
    ufunc = getattr(np, name)
    case(f"np.{name}", lambda x, f=ufunc: f(np.log(x)), (8,), ANY, smooth=False)
for name in words("logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor"):
    ufunc = getattr(np, name)
    case(f"np.{name}", lambda x, f=ufunc: f(x > 0, x < 1), (8,), ANY, smooth=False)
case("np.logical_not", lambda x: np.logical_not(x > 0), (8,), ANY, smooth=False)
case("np.invert", lambda x: ~(x > 0) | (x < -1) & (x != 0) ^ (x == 1), (8,), ANY, smooth=False)
case("np.matmul", lambda x: A @ x, (3,), ANY)
case("np.matmul", lambda x: x @ A, (4,), ANY)
case("np.matmul", lambda x: A.T @ x @ B.T, (4, 3), ANY)
case("np.matmul", lambda x, y: x @ y, (3,), ANY, (3,), ANY)
case("np.matmul", lambda x, y: x @ y, (5, 2, 3), (3, 4))
case("np.matmul", lambda x, y: x @ y, (2, 1, 2, 3), (3, 3, 4))
case("np.matmul", lambda x, y: x @ y, (2, 1), (1, 3))
case("np.vecdot", lambda x, y: np.vecdot(x, y), (2, 3), (3,))
if hasattr(np, "matvec"):  # NumPy 2.2
    case("np.matvec", lambda x, y: np.matvec(x, y), (2, 4, 3), (3,))
    case("np.vecmat", lambda x, y: np.vecmat(x, y), (4,), (2, 4, 3))

# --- methods of ufuncs -----------------------------------------------------------------------------------------------
for name in words("add multiply maximum minimum"):
    ufunc = getattr(np, name)
    case(f"np.{name}.reduce", lambda x, f=ufunc: f.reduce(x), (4, 3))
    case(f"np.{name}.reduce", lambda x, f=ufunc: f.reduce(x, axis=(0, 1), keepdims=True), (4, 3))
    case(f"np.{name}.accumulate", lambda x, f=ufunc: f.accumulate(x), (5, 2))
    case(f"np.{name}.accumulate", lambda x, f=ufunc: f.accumulate(x, axis=1), (2, 7))
case("np.logaddexp.reduce", lambda x: np.logaddexp.reduce(x, axis=1), (2, 7))
case("np.logical_and.reduce", lambda x: np.logical_and.reduce(x > 0.4), (2, 7), smooth=False)
case("np.logical_or.reduce", lambda x: np.logical_or.reduce(x > 1.5), (2, 7), smooth=False)
case("np.subtract.outer", lambda x: np.subtract.outer(x, np.arange(2)), (2, 3))

# --- element by element ----------------------------------------------------------------------------------------------
case("np.where", lambda x: np.where(x > 1, x, 0.5 * x**2), (5,))
case("np.where", lambda x: np.where(MASK, x, 0), (2, 3))
case("np.where", lambda x: np.where(x > 1, 1, 0), (5,), smooth=False)
case("np.select", lambda x: np.select([x < 0.5, x < 1], [x, x**2], 3.0), (6,))
case("np.piecewise", lambda x: np.piecewise(x, [x < 0.6, x > 1.4], [np.exp, lambda y: y**2, 3.0]), (6,))
case("np.piecewise", lambda x: np.piecewise(x, x < 1, [lambda y, a: a * y], 2.5), (3,))
case("np.piecewise", lambda x: np.piecewise(x, [x < 1, x[0] < x], [np.exp, np.negative]), (2, 3))
case("np.nan_to_num", lambda x: np.nan_to_num(x) + np.nan_to_num(np.log(x - 1), nan=x[0], neginf=2), (6,), smooth=False)
case("np.clip", lambda x: np.clip(x, 0.5, 1.5), (6,))
case("np.clip", lambda x: np.clip(x, None, np.array([0.5, 1.0, 1.5])) + np.clip(x, 1, None), (3,))
case("np.sinc", np.sinc, (3,), ANY)
case("np.copy", lambda x: np.copy(x) * 2, (3,))
case("np.real", lambda x: np.real(x) * 2, (3,))
case("np.shape", lambda x: x * np.shape(x)[1], (2, 3))
case("np.ndim", lambda x: x * np.ndim(x), (2, 3))
case("np.size", lambda x: x * np.size(x) + np.size(x, 1), (2, 3))
case("np.zeros_like", lambda x: x + np.zeros_like(x), (2, 3))
case("np.empty_like", lambda x: x + np.empty_like(x).shape, (2,))
case("np.ones_like", lambda x: x + np.ones_like(x) + np.ones_like(x, shape=(4, 1, 1)), (2, 3))
case("np.full_like", lambda x: x * np.full_like(x, 2.5) + np.full_like(x, x[0]), (3,))

# --- reductions ------------------------------------------------------------------------------------------------------
for name in words("sum prod max min amax amin mean var std ptp"):
    function = getattr(np, name)
    case(f"np.{name}", function, (4,))
    case(f"np.{name}", lambda x, f=function: f(x, axis=-1), (2, 3))
    case(f"np.{name}", lambda x, f=function: f(x, axis=(0, 2), keepdims=True), (2, 3, 2))
case("np.sum", lambda x: np.sum(x, 1, dtype=float) + np.sum(x > 1), (2, 3), smooth=False)
case("np.var", lambda x: np.var(x, 1, ddof=1), (2, 3))
case("np.std", lambda x: np.std(x, ddof=1), (2, 3))
case("np.average", lambda x: np.average(x) + np.average(x, axis=1, weights=[1, 2, 3]), (2, 3))
case("np.average", lambda x, w: np.average(x, weights=w), (2, 3), (2, 3))
for axis in (-1, 0, None):
    case("np.sort", lambda x, a=axis: np.sort(x, axis=a), (2, 3))
case("np.sort", lambda x: np.sort(x, 0, stable=True)[3:20], (23, 2), smooth=False)
case("np.sort", lambda x: np.sort(x > 1.0) & (np.sort(x[:1]) > 0), (7,), smooth=False)
case("np.partition", lambda x: np.partition(x, 3)[3] * np.partition(x, [1, -1])[-1], (6,))
for axis in (0, -1, None):
    case("np.argmax", lambda x, a=axis: np.argmax(x, a) + np.argmax(x > 1.0, a, keepdims=True), (2, 3), smooth=False)
    case("np.argmin", lambda x, a=axis: np.argmin(x, axis=a, keepdims=True), (2, 3), smooth=False)
    case("np.argsort", lambda x, a=axis: np.argsort(x, a), (4, 3), smooth=False)
for name in words("argmax argmin argsort"):
    case(f".{name}", lambda x, n=name: getattr(x, n)() + getattr(x, n)(axis=-1), (4,), smooth=False)
case("np.argmax", lambda x: x[np.argmax(x * (2.0 - x))] + x[x.argmin()] ** 2, (5,))
case("np.argsort", lambda x: x[np.argsort(np.floor(4 * x), kind="stable")] + (x * x)[x.argsort()], (7,))
for n in (1, 4, 5, 18):
    case("np.median", np.median, (n,))
case("np.median", lambda x: np.median(x, axis=(0, -1), keepdims=True), (3, 2, 4))
for method in words("linear lower higher nearest midpoint"):
    case("np.quantile", lambda x, m=method: np.quantile(x, [[0, 0.1, 0.25], [0.6, 0.8, 1]], method=m), (5,))
case("np.quantile", lambda x: np.quantile(x, 0.3, axis=0), (6, 2))
case("np.percentile", lambda x: np.percentile(x, [10, 50], axis=1, keepdims=True), (2, 9))
for name in words("any all count_nonzero"):
    function = getattr(np, name)
    case(f"np.{name}", lambda x, f=function: f(x > 1.0, axis=0), (3, 8), smooth=False)
    case(f"np.{name}", lambda x, f=function: f(np.floor(x)), (3,), smooth=False)
for name in words("cumsum cumprod"):
    function = getattr(np, name)
    case(f"np.{name}", function, (2, 3))
    case(f"np.{name}", lambda x, f=function: f(x, axis=0), (4, 3))
case("np.diff", np.diff, (5,))
case("np.diff", lambda x: np.diff(x, n=2, axis=0), (4, 3))
case("np.diff", lambda x: np.diff(x, prepend=0.5, append=x[:, :1]), (2, 3))
case("np.diff", lambda x: np.diff(x > 1.0), (8,), smooth=False)
case("np.trapezoid", lambda x: np.trapezoid(x, dx=0.5), (2, 4))
case("np.trapezoid", lambda x: np.trapezoid(x, [0.0, 0.5, 1.5], axis=0), (3, 2))

# --- products --------------------------------------------------------------------------------------------------------
case("np.dot", lambda x: np.dot(A, x) + 3, (3,))
case("np.dot", lambda x, y: np.dot(x, y), (2, 3), (4, 3, 2))
case("np.dot", lambda x: np.dot(x, 3.0), (2, 3))
case("np.vdot", lambda x: np.vdot(x, B), (2, 3))
case("np.inner", lambda x: np.inner(x, A), (2, 3))
case("np.inner", lambda x, y: np.inner(x, y), (3,), (3,))
case("np.outer", lambda x, y: np.outer(x, y), (2, 2), (3,))
case("np.kron", lambda x: np.kron(x, B), (2, 2))
case("np.kron", lambda x: np.kron(x, np.array([1.0, 2.0])), (2, 2))
case("np.cross", np.cross, (3,), (4, 3))
case("np.cross", lambda x, y: np.cross(x, y, axisa=0, axisc=0), (3, 2), (2, 3))
case("np.cross", lambda x: np.cross(x, B, axis=1), (2, 3))
case("np.vander", lambda x: np.vander(x) + np.vander(x, 3, increasing=True), (3,))
case("np.vander", lambda x: np.vander(x, 1), (3,))
for mode in ("full", "same", "valid"):
    case("np.convolve", lambda x, y, m=mode: np.convolve(x, y, m), (3,), (4,))
    case("np.convolve", lambda x, m=mode: np.convolve(x, A[0, :2], m) + np.convolve([2.0], x, m)[0], (5,))
case("np.tensordot", lambda x: np.tensordot(x, C), (5, 2, 3))
case("np.tensordot", lambda x: np.tensordot(x, C, axes=([1, 0], [0, 1])), (3, 2))
case("np.tensordot", lambda x: np.tensordot(x, B, axes=0), (2,))
case("np.tensordot", lambda x: np.tensordot(C, x, axes=(-1, 0)), (4,))
case("np.einsum", lambda x: np.einsum("ij,j->i", A, x), (3,))
case("np.einsum", lambda x: np.einsum("i,ij,j", x, A @ A.T, x), (4,))
case("np.einsum", lambda x, y: np.einsum("bi, ij, bj -> b", x, A[:, :2], y, optimize=True), (3, 4), (3, 2))
case("np.einsum", lambda x: np.einsum("ii", x), (3, 3))
case("np.einsum", lambda x: np.einsum("iji->ji", x), (3, 2, 3))
case("np.einsum", lambda x: np.einsum("ba", x), (3, 2))
case("np.einsum", lambda x: np.einsum("ij->", x), (3, 2))
case("np.einsum", lambda x: np.einsum("...ij,...jk", x, np.ones((3, 2))), (4, 5, 3))
case("np.einsum", lambda x: np.einsum("i...,i...->...", x, C[..., 0]), (2, 3))
case("np.einsum", lambda x, y: np.einsum("ij,kl->jl", x, y), (2, 3), (4, 2))
case("np.einsum", lambda x, y: np.einsum("ij,ij->ji", x, y), (2, 3), (2, 3))
case("np.einsum", lambda x: np.einsum(",i->i", 2.0, x), (3,))
case("np.einsum", lambda x, y: np.einsum("ij,jk->ik", x, y), (2, 3), (1, 4))
case("np.polyval", lambda x: np.polyval([1.0, -2.0, 0.5], x), (3,))
case("np.polyval", lambda p: np.polyval(p, np.array([1.0, 2.0])), (3,))
case("np.trace", lambda x: np.trace(x) + np.trace(x, offset=1), (3, 3))
case("np.trace", lambda x: np.trace(x, axis1=2, axis2=0), (3, 2, 3))
case("np.diagonal", lambda x: np.diagonal(x, 1, 0, 2), (3, 2, 3))
case("np.diag", lambda x: np.diag(x) + np.diag(x[:2], 1) + np.diag(x[:1], -2), (3,))
case("np.diag", lambda x: np.diag(x, -1), (3, 3))
case("np.tril", lambda x: np.tril(x) - np.tril(x, -1), (3, 3))
case("np.triu", lambda x: np.triu(x, 1) - np.triu(x), (2, 3, 4))
for order in (None, 1, 2, 3, 0.5, np.inf, -np.inf):
    case("np.linalg.norm", lambda x, p=order: np.linalg.norm(x, p), (4,))
    case("np.linalg.norm", lambda x, p=order: np.linalg.norm(x, p, axis=0, keepdims=True), (4, 3))
case("np.linalg.norm", lambda x: np.linalg.norm(x, 0), (4,), smooth=False)
for order in ("fro", None, 1, -1, np.inf, -np.inf):
    case("np.linalg.norm", lambda x, p=order: np.linalg.norm(x, p), (4, 3))
    case("np.linalg.norm", lambda x, p=order: np.linalg.norm(x, p, axis=(2, 0), keepdims=True), (4, 2, 3))
case("np.linalg.norm", np.linalg.norm, (4, 2, 3))


# --- found by value --------------------------------------------------------------------------------------------------
for side in ("left", "right"):
    case("np.searchsorted", lambda x, s=side: np.searchsorted([0.5, 1.0, 1.0, 1.5], x, s), (2, 5), smooth=False)
for edges in (np.linspace(-1.0, 1.5, 40), np.linspace(-1.0, 1.5, 33) ** 3):  # even, and not: more than are compared
    case("np.searchsorted", lambda x, e=edges: np.searchsorted(e, x) - np.searchsorted(e, 2 * x, "right"),
         (7,), (-2.0, 2.0), smooth=False)  # fmt: skip
    case("np.interp", lambda x, e=edges: np.interp(x, e, np.cos(e)), (7,), (-2.0, 2.0), smooth=False)
for bins in ([0.5, 1.0, 1.5], [1.5, 1.0, 0.5]):
    case("np.digitize", lambda x, b=bins: np.digitize(x, b) + np.digitize(x, b, right=True), (9,), smooth=False)
case("np.interp", lambda x: np.interp(x, [0.5, 0.75, 1.5], [1.0, -1.0, 2.0]), (8,), smooth=False)
case("np.interp", lambda x: np.interp(x, [0.0, 3.0], [1.0, -1.0]) + np.interp(x, [9.0, 10.0], [0, 1], left=-2), (3,))
case("np.interp", lambda y: np.interp([0.1, 0.4, 9.0], [0.0, 0.25, 1.5], y) + np.interp(1.0, [0.5], y[:1]), (3,))
case("np.take", lambda k, x: np.take(x, np.floor(k).astype(int), axis=1), (2, 2), (0.1, 2.9), (2, 3), smooth=False)
case("np.take_along_axis", lambda x: np.take_along_axis(x, np.array([[2, 0], [-1, 1]]), 1), (2, 3))
case("np.take_along_axis", lambda x: np.take_along_axis(x, np.array([5, 0]), None), (2, 3))
case("np.take", lambda k, x: np.take(x, k.astype(int), mode="clip") * np.take(x, k.astype(int), mode="wrap"),
     (4,), (-9.0, 9.0), (3, 2), smooth=False)  # fmt: skip
case("np.choose", lambda k, x, y: np.choose(k.astype(int), [x, y, 1.0]) * np.choose(k.astype(int), [x, y, x + y]),
     (4,), (0.1, 2.9), (4,), (4,), smooth=False)  # fmt: skip
case("np.choose", lambda k, x: np.choose(k.astype(int), x, mode="clip"), (2,), (-4.0, 9.0), (3, 2), smooth=False)
for axis, shape in ((0, (4, 3)), (1, (2, 5)), (-1, (1, 2))):
    case("np.take_along_axis", lambda k, x, a=axis: np.take_along_axis(x, k.astype(int), a),
         shape, (-1.9, 1.9), (2, 3), smooth=False)  # fmt: skip
case("indexing", lambda k, x: x[k.astype(int)], (4,), (-2.9, 2.9), (3, 2), smooth=False)
case("indexing", lambda k, x: x[..., k.astype(int), 1:] + x[0, k.astype(int), :1],
     (4,), (-2.9, 2.9), (2, 3, 3), smooth=False)  # fmt: skip
case("indexing", lambda k, j, x: x[k.astype(int), :, j.astype(int)] + x[k[0].astype(int), j.astype(int), [[0], [1]]],
     (2,), (-2.9, 2.9), (2,), (-1.9, 1.9), (3, 2, 2), smooth=False)  # fmt: skip
case(".astype", lambda x: x.astype(int), (8,), ANY, smooth=False)


# --- matrices --------------------------------------------------------------------------------------------------------
def definite(x: Any) -> Any:
    """A positive definite matrix for each of a batch."""
    return x @ np.swapaxes(x, -1, -2) + 2.0 * np.eye(x.shape[-1])


def regular(x: Any) -> Any:
    """A matrix that is not symmetric, and whose largest pivots do not stand on the diagonal."""
    return np.roll(x + 3.0 * np.eye(x.shape[-1]), 1, axis=-2)


for n in (1, 3, 5):
    case("np.linalg.cholesky", lambda x: np.linalg.cholesky(definite(x)), (n, n), UNIT)
    case("np.linalg.solve", lambda x, b: np.linalg.solve(regular(x), b), (n, n), UNIT, (n,))
    case("np.linalg.inv", lambda x: np.linalg.inv(regular(x)), (n, n), UNIT)
    case("np.linalg.det", lambda x: np.linalg.det(regular(x)), (n, n), UNIT)
    case("np.linalg.slogdet", lambda x: np.linalg.slogdet(regular(x)).logabsdet, (n, n), UNIT)
case("np.linalg.slogdet", lambda x: np.linalg.slogdet(-regular(x))[0], (3, 3), UNIT, smooth=False)
case("np.linalg.cholesky", lambda x: np.linalg.cholesky(definite(x), upper=True), (2, 1, 3, 3), UNIT)
case("np.linalg.solve", lambda x, b: np.linalg.solve(regular(x), b), (2, 3, 3), UNIT, (3, 2))
case("np.linalg.inv", lambda x: np.linalg.inv(regular(x)), (2, 2, 2), UNIT)
case("np.linalg.det", lambda x: np.linalg.det(regular(x)), (3, 4, 4), UNIT)
for n in (3, 5):
    for lower, trans in ((True, 0), (False, 0), (True, "T"), (False, 1)):
        case("scipy.linalg.solve_triangular", lambda x, b, low=lower, t=trans: linalg.solve_triangular(
            x + np.eye(len(x)), b, lower=low, trans=t, unit_diagonal=len(x) == 3
        ), (n, n), (0.1, 0.5), (n, 2))  # fmt: skip
case("scipy.linalg.solve_triangular", lambda x, b: linalg.solve_triangular(np.eye(4) + x, b), (4, 4), UNIT, (4,))
for n, name in ((1, "L"), (2, "U"), (4, "L")):
    case("np.linalg.eigvalsh", lambda x, u=name: np.linalg.eigvalsh(regular(x), u), (n, n), UNIT)
    case("np.linalg.matrix_power", lambda x, k=n: np.linalg.matrix_power(regular(x), k - 2), (2, n, n), UNIT)
case("np.linalg.eigh", lambda x: np.linalg.eigh(x @ x.T).eigenvectors ** 2, (3, 3), UNIT)
case("np.linalg.eigh", lambda x: np.linalg.eigh(x, "U")[0], (2, 1, 3, 3), UNIT)
case("np.linalg.svdvals", np.linalg.svdvals, (2, 3))
case("np.linalg.svdvals", np.linalg.svdvals, (2, 2, 1))
case("np.linalg.cond", lambda x: np.linalg.cond(x + 2.0 * np.eye(2, 1)), (2, 1))
case("np.linalg.norm", lambda x: np.stack([np.linalg.norm(x, p, axis=(-1, 0)) for p in (2, -2, "nuc")]), (2, 3))
for order in (-2, 1, "fro"):
    case("np.linalg.cond", lambda x, p=order: np.linalg.cond(regular(x), p), (2, 3, 3), UNIT)
case("scipy.linalg.cholesky", lambda x: linalg.cholesky(definite(x)) + linalg.cholesky(definite(x), lower=True), (3, 3))
case("scipy.linalg.cho_factor", lambda x: np.diag(linalg.cho_factor(definite(x))[0]), (3, 3))
for lower in (True, False):
    case("scipy.linalg.cho_solve", lambda x, b, low=lower: linalg.cho_solve(
        linalg.cho_factor(definite(x), lower=low), b), (3, 3), UNIT, (3,))  # fmt: skip

# --- shape -----------------------------------------------------------------------------------------------------------
case("np.reshape", lambda x: np.reshape(x, (3, -1)) + np.reshape(x, 6)[0], (2, 3))
case("np.ravel", np.ravel, (2, 3))
case("np.squeeze", np.squeeze, (1, 3, 1))
case("np.squeeze", lambda x: np.squeeze(x, axis=-1), (1, 3, 1))
case("np.expand_dims", lambda x: np.expand_dims(x, 1) + np.expand_dims(x, (0, -1)), (3,))
case("np.broadcast_to", lambda x: np.broadcast_to(x, (4, 2, 3)), (2, 1))
case("np.broadcast_arrays", lambda x, y: np.multiply(*np.broadcast_arrays(x, y)), (2, 1), (3,))
case("np.meshgrid", lambda x, y: np.multiply(*np.meshgrid(x, y)), (3,), (2,))
case("np.meshgrid", lambda x, y: np.multiply(*np.meshgrid(x, y, indexing="ij", sparse=True)), (3,), (2,))
case("np.meshgrid", lambda x: np.stack(np.meshgrid(x, A[0], [1.0, 2.0])), (3,))
case("np.transpose", lambda x: np.transpose(x) + np.transpose(x, (2, 1, 0)), (2, 3, 2))
case("np.permute_dims", lambda x: np.permute_dims(x, (1, 0)), (2, 3))
case("np.matrix_transpose", lambda x: np.matrix_transpose(x), (2, 3, 4))
case("np.swapaxes", lambda x: np.swapaxes(x, 0, -1), (2, 3, 4))
case("np.moveaxis", lambda x: np.moveaxis(x, 0, -1), (2, 3, 4))
case("np.moveaxis", lambda x: np.moveaxis(x, [0, 1], [-1, -2]), (2, 3, 4))
case("np.atleast_1d", np.atleast_1d, ())
case("np.atleast_2d", lambda x: np.add(*np.atleast_2d(x, x[0])), (3,))

# --- joining and splitting -------------------------------------------------------------------------------------------
case("np.concatenate", lambda x: np.concatenate([x, np.zeros((2, 1)), 2 * x], axis=1), (2, 3))
case("np.concatenate", lambda x: np.concatenate((x, [[1.0, 2.0, 3.0]]), axis=None), (2, 3))
case("np.concatenate", lambda x: np.concatenate([[x[0] * x[1]], x]), (3,))
case("np.stack", lambda x: np.stack([x, 1.0 + x, [1, 2, 3]], axis=-1), (3,))
case("np.stack", lambda x: np.stack([x[0], 1.0, x[1] ** 2]), (3,))
case("np.hstack", lambda x: np.hstack([x, x[:, :1]]), (2, 3))
case("np.hstack", lambda x: np.hstack([x[0], x, 3.0]), (3,))
case("np.vstack", lambda x: np.vstack([x, np.ones(3), 2 * x]), (3,))
case("np.column_stack", lambda x: np.column_stack([x, x**2, np.ones((3, 2))]), (3,))
case("np.concatenate", np.concatenate, (2, 3))
for name, shape in itertools.product(words("stack hstack vstack column_stack"), [(3,), (2, 3), (2, 3, 2)]):
    case(f"np.{name}", getattr(np, name), shape)
case("np.append", lambda x: np.append(x, [1.0]) + np.append(x, x[:1], axis=0), (3,))
case("np.split", lambda x: np.add(*np.split(x, 2)), (4, 3))
case("np.split", lambda x: np.split(x, [1, 3], axis=1)[1], (2, 4))
case("np.array_split", lambda x: np.array_split(x, 3)[0] * np.array_split(x, 3)[1][0], (7,))
case("np.hsplit", lambda x: np.subtract(*np.hsplit(x, 2)), (3, 4))
case("np.vsplit", lambda x: np.vsplit(x, 3)[1], (3, 4))

# --- rearranging -----------------------------------------------------------------------------------------------------
case("np.flip", lambda x: np.flip(x) + 2 * np.flip(x, 0) + np.flip(x, (0, 1)), (2, 3))
case("np.fliplr", np.fliplr, (2, 3))
case("np.flipud", np.flipud, (2, 3))
case("np.roll", lambda x: np.roll(x, 1) + np.roll(x, -2, axis=1) + np.roll(x, (1, 2), axis=(0, 1)), (2, 3))
case("np.repeat", lambda x: np.repeat(x, 2) + np.repeat(x, [1, 2, 3, 2, 1, 3]), (2, 3))
case("np.repeat", lambda x: np.repeat(x, 3, axis=0) + np.repeat(x, [2, 4], axis=0), (2, 3))
case("np.tile", lambda x: np.tile(x, 2), (3,))
case("np.tile", lambda x: np.tile(x, (2, 1, 2)), (2, 3))
case("np.take", lambda x: np.take(x, [5, 0, 0]) + np.take(x, [1, -1, 0], axis=1), (2, 3))
case("np.take", lambda x: np.take(x, 7, mode="wrap"), (3,))
case("np.pad", lambda x: np.pad(x, 1) + np.pad(x, ((2, 0), (1, 1)), constant_values=2.5), (2, 3))
for mode in ("edge", "reflect", "symmetric", "wrap"):
    case("np.pad", lambda x, m=mode: np.pad(x, (2, 1), m), (4,))

# --- methods and attributes ------------------------------------------------------------------------------------------
case(".all", lambda x: (x > 0.5).all(), (3,), smooth=False)
case(".any", lambda x: (x > 1.5).any(axis=0), (3, 4), smooth=False)
case(".astype", lambda x: x * (x > 1.0).astype(float) + x.astype(np.float64), (5,))
case(".astype", lambda x: np.floor(x).astype(bool), (5,), smooth=False)
case(".clip", lambda x: x.clip(0.5, 1.5) + x.clip(max=1.0), (6,))
case(".conj", lambda x: x.conj() * 2, (3,))
case(".conjugate", lambda x: x.conjugate() * 2, (3,))
case(".copy", lambda x: x.copy() * 2, (3,))
case(".cumprod", lambda x: x.cumprod(), (2, 3))
case(".cumsum", lambda x: x.cumsum(axis=1), (2, 3))
case(".diagonal", lambda x: x.diagonal(), (3, 3))
case(".dot", lambda x: x.dot(A.T), (2, 3))
case(".flatten", lambda x: x.flatten(), (2, 3))
case(".max", lambda x: x.max(axis=1, keepdims=True), (2, 3))
case(".mean", lambda x: x.mean(0), (2, 3))
case(".min", lambda x: x.min(), (2, 3))
case(".prod", lambda x: x.prod(), (2, 3))
case(".ravel", lambda x: x.ravel(), (2, 3))
case(".repeat", lambda x: x.repeat(2, axis=1), (2, 3))
case(".reshape", lambda x: x.reshape(3, 2) + x.reshape((3, -1)) + x.reshape(-1)[0], (2, 3))
case(".squeeze", lambda x: x.squeeze(), (1, 3))
case(".std", lambda x: x.std(ddof=1), (2, 3))
case(".sum", lambda x: x.sum() + x.sum(0), (2, 3))
case(".swapaxes", lambda x: x.swapaxes(0, 1), (2, 3))
case(".take", lambda x: x.take([0, 2], axis=1), (2, 3))
case(".trace", lambda x: x.trace(), (3, 3))
case(".transpose", lambda x: x.transpose() + x.transpose(1, 0) + x.transpose((1, 0)), (2, 3))
case(".var", lambda x: x.var(axis=0), (2, 3))
case(".T", lambda x: x.T @ x, (2, 3))
case(".mT", lambda x: x.mT, (2, 3, 4))
case(".real", lambda x: x.real * 2, (3,))

# --- scipy.special ---------------------------------------------------------------------------------------------------
for name in words("expit log_expit erf erfc erfcx ndtr log_ndtr"):
    case(f"scipy.special.{name}", getattr(sc, name), (4,), ANY)
case("scipy.special.ndtri", sc.ndtri, (4,), (0.1, 0.9))
case("scipy.special.ndtri_exp", sc.ndtri_exp, (4,), (-3.0, -0.1))
for name in words("gammaln digamma psi entr"):
    case(f"scipy.special.{name}", getattr(sc, name), (4,))
case("scipy.special.logit", sc.logit, (4,), (0.1, 0.9))
case("scipy.special.xlogy", sc.xlogy, (3,), (3,))
case("scipy.special.xlogy", lambda y: sc.xlogy([0.0, 1.0, 2.0], y), (3,))
case("scipy.special.xlog1py", sc.xlog1py, (3,), (3,))
case("scipy.special.betaln", sc.betaln, (3,), (3,))
case("scipy.special.logsumexp", logsumexp, (2, 3), (-800.0, 800.0))
case("scipy.special.logsumexp", lambda x: sc.logsumexp(x, axis=1, keepdims=True), (2, 3), ANY)
case("scipy.special.softmax", sc.softmax, (5,), ANY)
case("scipy.special.softmax", lambda x: sc.softmax(x, axis=0), (5, 2), ANY)
case("scipy.special.log_softmax", lambda x: sc.log_softmax(x, axis=-1), (2, 5), ANY)

# --- Python's side: iteration, len, unpacking, indexing --------------------------------------------------------------
case("iteration", lambda x: sum(x) + len(x) * x[0], (3,))
case("iteration", lambda x: np.stack([row[1] * row.sum() for row in x]), (3, 2))
case("unpacking", lambda x: (lambda a, b: a * np.exp(b))(*x), (2,))
case("indexing", lambda x: x[1:] * x[:-1], (4,))
case("indexing", lambda x: x[::-2, None, ..., -1], (4, 2, 3))
case("indexing", lambda x: x[[2, 0, 2]], (4, 2))
case("indexing", lambda x: x[:, MASK, 1], (2, 3, 2))
case("indexing", lambda x: x[np.array([[0], [1]]), [0, 2]], (2, 3))
