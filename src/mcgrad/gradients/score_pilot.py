"""A pilot of scores: whether E[h(z) d log q / d phi] is d/dphi E[h(z)], for h = 1 and for a bounded, smooth h."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.differentiate.modes import gradient, sum_of
from mcgrad.distributions.base import Distribution
from mcgrad.gradients.jumps import flat_between
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, input_, noise_of, reduce
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.noise_vars import draws
from mcgrad.ir.program import Output, Program, Var, toposort
from mcgrad.ir.spaces import Input, Space, Values, named
from mcgrad.moments import Moments
from mcgrad.noise import streams
from mcgrad.simplify.fixed_point import simplify

DRAWS = 8192  # or fewer where a draw is expensive
FEWEST = 256
MIDDLE = 1024  # draws whose quartiles say where a draw lies
BUDGET = 2e7  # multiplications
AGAIN = 8  # times as many draws have to confirm what is found
MOST_Z = 5.0
SEED = 0
ROUNDING = 1e-10  # of a score that is the same in all draws
BLOCK_BYTES = 1 << 24  # of the largest intermediate values, roughly
GOLDEN = 0.6180339887  # multiples of it, modulo 1, are spread evenly: weights of the components of a draw

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Bias:
    """A mean that should be zero, and is not.

    Attributes
    ----------
    of : str
        What it is the mean of.
    mean, stderr : float
        Of the component that is furthest from zero.
    draws : int
    """

    of: str
    mean: float
    stderr: float
    draws: int

    @property
    def z(self) -> float:
        """The mean in standard errors."""
        return abs(self.mean) / self.stderr if self.stderr else np.inf

    def __str__(self) -> str:
        size = f"{self.z:.0f} standard errors from zero" if self.stderr else "the same in each"
        return f"the mean of {self.of} over {self.draws:,} draws is {self.mean:.4g} +- {self.stderr:.2g}, {size}"


def biases(q: Distribution, paths: Sequence[str]) -> dict[str, Bias]:
    """Return what is wrong with the scores in parameters of q, where something is.

    Parameters
    ----------
    q : Distribution
    paths : sequence of str

    Notes
    -----
    Of up to `DRAWS` draws in float64, from streams of their own. What is more than `MOST_Z` standard errors from zero
    counts where it is that far over `AGAIN` times as many draws, too.
    """
    pilot = _Pilot(q, paths)
    n = int(np.clip(BUDGET / pilot.work, FEWEST, DRAWS))
    with np.errstate(all="ignore"):
        suspects = pilot.biases(n)
        return _Pilot(q, list(suspects)).biases(AGAIN * n) if suspects else {}


class _Pilot:
    """The scores of a draw, and h(z) times them less the derivative of h(z), in float64."""

    def __init__(self, q: Distribution, paths: Sequence[str]) -> None:
        self.problem = Problem(_total, q, {}, {})
        self.leaves = {path: z for path, z in tree.flatten(self.problem.z).items() if z.by_draw}
        self.free = q.free
        self.values = named({path: to_host(x).astype(np.float64) for path, x in q.flat_params.items()})
        scores = dict(zip(paths, gradient(self.problem.log_q(), [self.problem.params[p] for p in paths]), strict=True))
        self.outputs = [(path, f"the score d log q / d {path}", score) for path, score in scores.items()]
        self.outputs += self._gaps(scores)
        program = simplify(Program(tuple(Output(path, x) for path, _, x in self.outputs), "float64"))
        self.work, self.program = max(program.work(), 1.0), program

    def _gaps(self, scores: Mapping[str, Var]) -> list[tuple[str, str, Var]]:
        """Make h(z) s - dh(z)/dphi for the parameters that draws follow smoothly."""
        params = self.problem.params
        smooth = [path for path in scores if not flat_between(params[path], list(self.leaves.values()))]
        h = self._smooth_function()
        if h is None or not smooth:
            return []
        try:
            slopes = gradient(h, [params[path] for path in smooth])
        except TypeError:  # draws are made by an op without a derivative
            return []
        (held,) = self.problem.frozen(h)
        return [
            (
                path,
                f"h(z) d log q / d {path} - d h(z) / d {path}, for a smooth h,",
                apply("subtract", apply("multiply", held, scores[path]), slope),
            )
            for path, slope in zip(smooth, slopes, strict=True)
        ]

    def _smooth_function(self) -> Var | None:
        """Make h(z): of each component by itself, and of a weighted sum of all, whose mean changes where supports turn.

        It is made of (1 + t) / (1 + t**2), which is bounded, neither even nor odd, and the same at both infinities, so
        that it does not jump where z has a pole.
        """
        size = sum(z.size for z in self.leaves.values())
        terms, sums, first = [], [], 0
        for path, z in self.leaves.items():
            center, scale = (input_(path, z.shape, space) for space in (Space.CENTER, Space.SCALE))
            t = apply("divide", apply("subtract", z, center), scale)
            weights = (0.5 + 2.0 * np.mod(0.25 + GOLDEN * np.arange(first, first + z.size), 1.0)) / np.sqrt(size)
            each = apply("multiply", _bump(t), 1.0 / np.sqrt(size))
            terms.append(reduce("sum", each, range(len(z.shape))))
            sums.append(reduce("sum", apply("multiply", t, weights.reshape(z.shape)), range(len(z.shape))))
            first += z.size
        along = sum_of(sums)
        return None if along is None else sum_of([*terms, _bump(along)])

    def biases(self, n: int) -> dict[str, Bias]:
        """Return the means that are more than `MOST_Z` standard errors from zero over n draws."""
        roots = [x for out in self.program.outputs for x in (out.var, out.scale) if x is not None]
        parts = []
        for block in _blocks(roots, {**self.values, **self._centers()}, n):
            values = iter(block)
            rows = [next(values) if out.scale is None else next(values) * next(values) for out in self.program.outputs]
            width = max(x.shape[-1] for x in block)
            samples = np.concatenate([np.broadcast_to(x, (*x.shape[:-1], width)).reshape(-1, width) for x in rows])
            parts.append(Moments.of(samples[:, np.isfinite(samples).all(axis=0)]))
        moments = Moments.combine(parts)
        least = ROUNDING / max(1.0, *(float(np.max(np.abs(x))) for x in self.values.values()))
        found: dict[str, Bias] = {}
        start = 0
        for path, of, var in self.outputs:
            entries = slice(start, start := start + var.size)
            mean, stderr = moments.mean[entries], moments.stderr[entries]
            counts = (np.abs(mean) > least) & self.free.get(path, np.ones(var.shape, bool)).ravel()
            z = np.where(counts, np.abs(mean) / stderr, 0.0)
            i = int(np.argmax(z))
            if z[i] > MOST_Z and path not in found:
                found[path] = Bias(of, float(mean[i]), float(stderr[i]), moments.count)
        return found

    def _centers(self) -> dict[Input, Array]:
        """Return where the components of a draw lie, and how far they scatter: medians, and distances of quartiles."""
        found: dict[Input, Array] = {}
        (drawn,) = _blocks(list(self.leaves.values()), self.values, MIDDLE, MIDDLE) if self.leaves else ([],)
        for path, z in zip(self.leaves, drawn, strict=True):
            low, middle, high = np.nan_to_num(np.quantile(z, [0.25, 0.5, 0.75], axis=-1))
            found[Input(Space.CENTER, path)] = middle
            found[Input(Space.SCALE, path)] = np.where(high > low, high - low, 1.0)
        return found


def _bump(t: Var) -> Var:
    return apply("divide", apply("add", t, 1.0), apply("add", apply("multiply", t, t), 1.0))


def _total(z: Any) -> Any:
    """An integrand; the pilot reads only what a Problem says of q."""
    return sum(np.sum(leaf) for leaf in tree.flatten(z).values())


def _blocks(roots: Sequence[Var], values: Values, n: int, block: int | None = None) -> Iterator[list[Array]]:
    """Evaluate Vars over n draws, block by block; draws last."""
    run = Interpreter(roots)
    inputs = {var: values[var.attrs][..., None] for var in run.inputs if var.op == "input"}
    moved = {var: noise_of(var.attrs.offset(streams.SCORES), var.shape) for var in run.inputs if var.op == "noise"}
    largest = max(var.size for var in toposort(roots))
    block = block or int(np.clip(BLOCK_BYTES // (8 * largest), 4, n))
    for start in range(0, n, block):
        stop = min(start + block, n)
        leaves = {var: draws(source, SEED, start, stop, "float64") for var, source in moved.items()}
        yield run({**inputs, **leaves})
