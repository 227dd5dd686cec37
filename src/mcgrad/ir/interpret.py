"""The reference interpreter: the meaning of every op, by NumPy on arrays whose last axis is the draws.

This is the definition. Every backend is tested against it, and it against closed forms. A draw-independent array
has extent 1 on the last axis; NumPy's broadcasting does the rest, and axis numbers of one draw stay valid.

The functions called here accept CuPy's arrays, too: those that make an array take one to make it like, and of ufuncs no
other method than the call is used. So draw-independent values of arrays on a device are computed there.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import any_on_device, on_device, special, to_device, to_host
from mcgrad.ir import gamma_quantile
from mcgrad.ir.attributes import Literal
from mcgrad.ir.matrices import MATRICES
from mcgrad.ir.ops import from_source
from mcgrad.ir.program import Var, toposort

Array = npt.NDArray[Any]


class Interpreter:
    """Evaluates the same Vars again and again with other values of the leaves.

    Parameters
    ----------
    roots : sequence of Var
        What to evaluate.
    known : collection of Var
        Vars whose values will be given, besides inputs and noise.
    dtype : str
        The dtype of all floats.
    neighbours : str, optional
        The dtype whose numbers `nextafter` goes along, where that is not `dtype`.
    """

    def __init__(
        self, roots: Sequence[Var], known: Collection[Var] = (), dtype: str = "float64", neighbours: str | None = None
    ) -> None:
        self.roots = list(roots)
        self.dtype = dtype
        self._constants: dict[Var, Array] = {}
        self._on_device: dict[Var, Array] | None = None  # the same on the device
        self._steps: list[tuple[Var, Callable[..., Array]]] = []
        self.inputs: list[Var] = []
        for var in _needed(self.roots, set(known)):
            if var.op == "const":
                array = var.attrs.array
                with np.errstate(over="ignore", under="ignore"):  # literals that are infinite in float32
                    self._constants[var] = (array if var.kind == "bool" else array.astype(dtype))[..., None]
            elif not var.args:
                self.inputs.append(var)
            else:
                self._steps.append((var, meaning(var, dtype, neighbours)))

    def __call__(self, leaves: Mapping[Var, Array]) -> list[Array]:
        """Evaluate the roots: one array each, of shape (*root.shape, draws), with 1 draw where no leaf changes by draw.

        Parameters
        ----------
        leaves : mapping from Var to array
            Values of inputs and noise, and of the Vars said to be known; draws last.
        """
        values: dict[Var, Array] = {**self.constants(leaves.values()), **leaves}
        if not self._steps:
            return [values[root] for root in self.roots]
        with np.errstate(all="ignore"):
            return self.step(values)

    def step(self, values: dict[Var, Array]) -> list[Array]:
        """Evaluate the roots of the values of leaves and constants, to which those of all Vars are added."""
        for var, compute in self._steps:
            values[var] = compute(var, *[values[arg] for arg in var.args])
        return [values[root] for root in self.roots]

    def constants(self, leaves: Iterable[Array]) -> dict[Var, Array]:
        """Return the values of literals: on the device, where some of these leaves are."""
        if self._constants and any_on_device(leaves):
            if self._on_device is None:
                self._on_device = {var: to_device(array) for var, array in self._constants.items()}
            return self._on_device
        return self._constants


def interpret(roots: Sequence[Var], leaves: Mapping[Var, Array], dtype: str) -> list[Array]:
    """Evaluate Vars once; see `Interpreter`."""
    return Interpreter(roots, leaves, dtype)(leaves)


def _needed(roots: Sequence[Var], known: Collection[Var]) -> list[Var]:
    """The Vars to compute for the roots, in order, when `known` need not be."""
    needed: set[Var] = set()
    stack = list(roots)
    while stack:
        var = stack.pop()
        if var not in needed and var not in known:
            needed.add(var)
            stack.extend(var.args)
    return [var for var in toposort(roots) if var in needed]


def meaning(var: Var, dtype: str, neighbours: str | None = None) -> Callable[..., Array]:
    """Return what an equation does in a dtype: a function of itself and of the values of its arguments."""
    if var.op == "float":
        return _to_float(dtype)
    if var.op == "loop":
        return _loop(Interpreter(var.attrs.body.results, var.attrs.body.params, dtype, neighbours))
    return _neighbour(neighbours) if var.op == "nextafter" and neighbours else IMPL[var.op]


def _to_float(dtype: str) -> Callable[..., Array]:
    return lambda var, x: x.astype(dtype)


def _neighbour(dtype: str) -> Callable[..., Array]:
    return lambda var, x, towards: np.nextafter(x.astype(dtype), towards.astype(dtype)).astype(x.dtype)


def _function(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda var, *args: function(*args)


def _special(name: str) -> Callable[..., Array]:
    def call(var: Var, *args: Array) -> Array:
        function = getattr(special(args[0]), name, None)
        if function is None:  # CuPy lacks it
            return to_device(call(var, *map(to_host, args)))
        found: Array = function(*args)
        return found

    return call


def _trigamma(var: Var, x: Array) -> Array:
    wide = x.astype(np.float64)
    found: Array = special(x).polygamma(np.ones_like(wide), wide).astype(x.dtype)
    return found


def _gamma(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def call(var: Var, a: Array, e: Array) -> Array:
        if on_device(a) or on_device(e):
            return to_device(call(var, to_host(a), to_host(e)))
        found: Array = function(a, e).astype(a.dtype)
        return found

    return call


def _softplus(var: Var, x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _log_cosh(var: Var, x: Array) -> Array:
    size = np.abs(x)
    t = np.tanh(size)
    small: Array = -0.5 * np.log1p(-np.square(np.minimum(t, 0.5)))
    return np.where(t < 0.5, small, size - np.log1p(t))


def _broadcast(var: Var, x: Array) -> Array:
    x = x.reshape((1,) * (len(var.shape) + 1 - x.ndim) + x.shape)
    return np.broadcast_to(x, (*var.shape, x.shape[-1]))


def _pad(var: Var, x: Array) -> Array:
    out = np.zeros_like(x, shape=(*var.shape, x.shape[-1]))
    out[tuple(slice(low, low + (n - 1) * (gap + 1) + 1 if n else low, gap + 1)
              for (low, _, gap), n in zip(var.attrs.widths, x.shape, strict=False))] = x  # fmt: skip
    return out


def _take(var: Var, x: Array) -> Array:
    taken: Array = x.reshape(-1, x.shape[-1])[var.attrs.index.array]
    return taken


def _gather(var: Var, x: Array, index: Array) -> Array:
    batch, extent, rest = var.attrs.split(var.args[0].shape)
    draws = max(x.shape[-1], index.shape[-1])
    x = x.reshape(prod(batch), extent, prod(rest), x.shape[-1])
    index = index.reshape(prod(batch), -1, 1, index.shape[-1])
    inside = (index >= 0) & (index < extent)
    places = np.where(inside, index, 0).astype(np.int64)
    shape = (*places.shape[:2], x.shape[2], draws)
    x = np.broadcast_to(x, (*x.shape[:3], draws))
    found = np.take_along_axis(x, np.broadcast_to(places, shape), 1)
    return np.where(inside, found, x.dtype.type(np.nan)).reshape(*var.shape, draws)


def _scatter(var: Var, x: Array, places: Array) -> Array:
    draws = max(x.shape[-1], places.shape[-1])
    x, places = (np.broadcast_to(a, (*a.shape[:-1], draws)).reshape(-1, draws) for a in (x, places))
    inside = (places >= 0) & (places < var.size)
    places, x = np.where(inside, places, 0).astype(np.int64), np.where(inside, x, x.dtype.type(0))
    flat = places * draws + np.cumsum(np.ones_like(places), -1) - 1
    out = np.zeros_like(x, shape=(var.size * draws,))
    if on_device(x):
        for i in range(x.shape[0]):  # of one element: draws have places of their own
            out[flat[i]] += x[i]
    else:
        np.add.at(out, flat, x)
    return out.reshape(var.size, draws)


def _scatter_add(var: Var, x: Array) -> Array:
    out, terms = np.zeros_like(x, shape=(var.size, x.shape[-1])), x.reshape(-1, x.shape[-1])
    if on_device(x):
        for taken, to in _rounds(var.attrs.index):
            out[to] += terms[taken]
    else:
        np.add.at(out, var.attrs.index.array.ravel(), terms)
    return out.reshape(*var.shape, x.shape[-1])


@lru_cache(maxsize=64)
def _rounds(literal: Literal) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Split a scatter into rounds in which no place comes twice: what np.add.at does, in its order, without atomics."""
    to = literal.array.ravel()
    order = np.argsort(to, kind="stable")
    sorted_to = to[order]
    rank = np.empty(to.size, np.intp)
    rank[order] = np.arange(to.size) - np.searchsorted(sorted_to, sorted_to)
    return [(taken, to[taken]) for k in range(int(rank.max(initial=-1)) + 1) for taken in [np.flatnonzero(rank == k)]]


def _scan(function: Callable[..., Array]) -> Callable[..., Array]:
    def call(var: Var, x: Array) -> Array:
        axis, reverse = var.attrs.axis, var.attrs.reverse
        return np.flip(function(np.flip(x, axis), axis), axis) if reverse else function(x, axis)

    return call


def _linear_recurrence(var: Var, a: Array, b: Array) -> Array:
    axis, reverse = var.attrs.axis, var.attrs.reverse
    a, b = np.broadcast_arrays(a, b)
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    out, y = np.empty_like(b), np.zeros_like(b[0])
    for k in reversed(range(len(b))) if reverse else range(len(b)):
        out[k] = y = a[k] * y + b[k]
    return np.moveaxis(out, 0, axis)


def _einsum(var: Var, *args: Array) -> Array:
    extents = [arg.shape[-1] for arg in args]
    draws = max(extents) if min(extents) else 0  # no rows, where some input has none
    terms = [
        letters + ("Z" if arg.shape[-1] == draws else "") for letters, arg in zip(var.attrs.inputs, args, strict=True)
    ]
    args = tuple(arg if arg.shape[-1] == draws else arg[..., 0] for arg in args)
    product: Array = np.einsum(f"{','.join(terms)}->{var.attrs.output}Z", *args, optimize=True)
    return product


def _loop(body: Interpreter) -> Callable[..., Array]:
    """Run a body step by step."""

    def run(var: Var, *args: Array) -> Array:
        attrs, params = var.attrs, var.attrs.body.params
        carries, places = attrs.carries, attrs.places()
        last = carries + attrs.scanned
        draws = np.broadcast_shapes(*(arg.shape[-1:] for arg in args)) or (1,)
        out = np.zeros_like(args[0] if args else np.zeros(1), body.dtype, shape=(var.size, *draws))
        carried, by_step = list(args[:carries]), args[carries:last]
        leaves = attrs.running is not None and len(places) == carries and not on_device(out)
        same = {**body.constants(args), **dict(zip(params[last:], args[last:], strict=True))}
        for t in reversed(range(attrs.length)) if attrs.reverse else range(attrs.length):
            values = same.copy()
            values.update(zip(params, [*carried, *[arg[t] for arg in by_step]], strict=False))
            found = body.step(values)
            carried = found[:carries]
            for (start, _), value in zip(places[carries:], found[carries:], strict=True):
                _put(out, start + t * prod(value.shape[:-1]), value)
            if leaves and not np.any(carried[attrs.running]):
                break
        for (start, _), value in zip(places, carried, strict=False):
            _put(out, start, value)
        return out

    return run


def _put(out: Array, start: int, value: Array) -> None:
    size = prod(value.shape[:-1])
    out[start : start + size] = value.reshape(size, value.shape[-1])


def _matrices(function: Callable[..., Array]) -> Callable[..., Array]:
    def call(var: Var, *args: Array) -> Array:
        found = np.moveaxis(function(var.attrs, *(np.moveaxis(to_host(x), -1, 0) for x in args)), 0, -1)
        return to_device(found) if any(map(on_device, args)) else found

    return call


def _part(var: Var, x: Array) -> Array:
    return x[var.attrs.start : var.attrs.start + var.size].reshape(*var.shape, x.shape[-1])


def _table(var: Var, x: Array) -> Array:
    found = var.attrs.table(np.moveaxis(to_host(x), -1, 0))
    found = np.moveaxis(found, 0, -1)
    return to_device(found) if on_device(x) else found


def _native(var: Var, *args: Array) -> Array:
    draws = max(arg.shape[-1] for arg in args)
    full = [np.ascontiguousarray(np.moveaxis(np.broadcast_to(arg, (*arg.shape[:-1], draws)), -1, 0)) for arg in args]
    rows = [var.attrs.function.reference(var.op, var.shape, [array[i] for array in full]) for i in range(draws)]
    return np.moveaxis(np.asarray(rows, args[0].dtype), 0, -1)


# ops that copy numbers between host and device where their arguments are there: CuPy lacks them, or copies indices
THROUGH_HOST = frozenset(
    {"ndtri_exp", "gamma_log_ratio", "gamma_slope_a", "gamma_slope_e", "take", "scatter_add", "table"}
    | {"native_value", "native_gradient", *MATRICES}
)

IMPL: dict[str, Callable[..., Array]] = {
    **{name: _function(getattr(np, name)) for name in from_source("numpy")},
    **{name: _special(name) for name in from_source("scipy.special")},
    "trigamma": _trigamma,
    "gamma_log_ratio": _gamma(gamma_quantile.log_ratio),
    "gamma_slope_a": _gamma(gamma_quantile.slope_a),
    "gamma_slope_e": _gamma(gamma_quantile.slope_e),
    "softplus": _softplus,
    "log_cosh": _log_cosh,
    "copy": lambda var, x: x,
    "stop": lambda var, x: x,
    "implicit": lambda var, x, cdf, density: x,
    "vibrato_step": lambda var, x, eps: x,
    "vibrato_mean": lambda var, x, steps: x,
    "reshape": lambda var, x: x.reshape(*var.shape, x.shape[-1]),
    "transpose": lambda var, x: x.transpose(*var.attrs.axes, -1),
    "broadcast": _broadcast,
    "slice": lambda var, x: x[tuple(slice(*bounds) for bounds in var.attrs.bounds)],
    "flip": lambda var, x: np.flip(x, var.attrs.axes),
    "pad": _pad,
    "take": _take,
    "gather": _gather,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    "concatenate": lambda var, *args: np.concatenate(
        [np.broadcast_to(x, (*x.shape[:-1], max(a.shape[-1] for a in args))) for x in args], var.attrs.axis
    ),
    "sum": lambda var, x: x.sum(var.attrs.axes),
    "prod": lambda var, x: x.prod(var.attrs.axes),
    "max": lambda var, x: x.max(var.attrs.axes),
    "min": lambda var, x: x.min(var.attrs.axes),
    "cumsum": _scan(np.cumsum),
    "cumprod": _scan(np.cumprod),
    "linear_recurrence": _linear_recurrence,
    "einsum": _einsum,
    **{name: _matrices(function) for name, function in MATRICES.items()},
    "part": _part,
    "table": _table,
    "native_value": _native,
    "native_gradient": _native,
}
