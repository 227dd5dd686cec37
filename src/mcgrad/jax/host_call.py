"""A call: an expectation with what JAX's transformations add to it, and its computation on arrays of the host.

Its results are the value and the gradient in some parameters, in order; with errors also the standard errors of these,
and the number of draws that were not finite. With rows each result has them on its first axis, and so have those of the
operands that differ by row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mcgrad.engine.estimator import Estimator
from mcgrad.engine.rows_of_seeds import rows_of_seeds
from mcgrad.errors import McgradError
from mcgrad.jax.static import Static
from mcgrad.noise import Shape
from mcgrad.system.recent import Recent

Array = npt.NDArray[Any]
WORDS = np.dtype(np.uint32)  # two of a seed, the higher first
COUNT = np.dtype(np.int32)
KEPT = 64  # calls that stay in memory though no compiled function refers to them any more

_calls: Recent[int, Call] = Recent(KEPT)
_lock = Lock()


@dataclass(frozen=True, eq=False)
class Call:
    """One op of a traced function.

    Parameters
    ----------
    static : Static
    wrt : tuple of str
        Parameters of which the results have the gradient.
    errors : bool
        Whether the results have standard errors.
    rows : int or None
    by_row : tuple of bool
        Of the seed, and of each operand, whether it differs by row.
    callback : bool
        Whether `jax.pure_callback` is used though there is the foreign function interface.
    """

    static: Static
    wrt: tuple[str, ...] = ()
    errors: bool = False
    rows: int | None = None
    by_row: tuple[bool, ...] = ()
    callback: bool = False

    def change(self, **fields: Any) -> Self:
        """Return the same with other fields, or the call that is equal to it and in use."""
        return replace(self, **fields).interned()

    def interned(self) -> Self:
        """Return the call with this number that is in use: this one, if there is none."""
        with _lock:
            return _calls.find(self.number) or _calls.put(self.number, self)  # type: ignore[return-value]

    @cached_property
    def number(self) -> int:
        """The number by which the handler finds the call: equal for equal computations, also in another process."""
        text = repr((self.errors, self.rows, self.by_row, self.callback)).encode()
        return int.from_bytes(hashlib.blake2b(text + self.static.digest(self.wrt), digest_size=8).digest()) >> 1

    @cached_property
    def operand_types(self) -> list[tuple[Shape, np.dtype[Any]]]:
        """Shapes and dtypes of the seed's words and of the operands."""
        types = [((2,), WORDS), *((shape, self._dtype) for shape in self.static.shapes.values())]
        flags = self.by_row or (False,) * len(types)
        return [
            (self._rows(shape) if flag else shape, dtype) for (shape, dtype), flag in zip(types, flags, strict=True)
        ]

    @cached_property
    def result_types(self) -> list[tuple[Shape, np.dtype[Any]]]:
        """Shapes and dtypes of the results."""
        shapes = [self.static.value_shape, *map(self.static.grad_shape, self.wrt)]
        types = [(self._rows(shape), self._dtype) for shape in shapes]
        return [*types, *types, (self._rows(self.static.batch_shape), COUNT)] if self.errors else types

    def _rows(self, shape: Shape) -> Shape:
        return shape if self.rows is None else (self.rows, *shape)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.static.dtype)

    def __call__(self, words: Array, operands: Sequence[Array], results: Sequence[Array]) -> None:
        """Compute, and write the results into given arrays.

        Parameters
        ----------
        words : array
            Of the seed, in host memory.
        operands, results : sequence of array
            In host memory.
        """
        if self.rows is None:
            self._one(words, operands, results)
            return
        of_seed, *flags = self.by_row
        if self._together(words, operands, results):
            return
        for row in range(self.rows):
            own = [x[row, ...] if flag else x for x, flag in zip(operands, flags, strict=True)]
            self._one(words[row] if of_seed else words, own, [out[row, ...] for out in results])

    def _one(self, words: Array, operands: Sequence[Array], results: Sequence[Array]) -> None:
        means = vars(self).get("means_alone")
        if means is not None:
            value, grads = means(_seed(words), operands)
            _write([value, *[x.reshape(out.shape) for x, out in zip(grads, results[1:], strict=True)]], results)
            return
        static, values = self.static, dict(zip(self.static.shapes, operands, strict=True))
        estimator = static.estimator(self.wrt, values=values)
        est = estimator.numbers(static.n, _seed(words), static.nested(values))
        found: list[Any] = est.flat(self.wrt)
        if self.errors:
            found += [*est.flat(self.wrt, errors=True), est.nonfinite]
        elif not static.has_paths:
            vars(self)["means_alone"] = estimator.means_alone(static.n, [*static.shapes], self.wrt)
        _write(found, results)

    def _together(self, words: Array, operands: Sequence[Array], results: Sequence[Array]) -> bool:
        """Compute all rows as a batch, each with the draws of its seed; return whether it can be."""
        static, flags = self.static, self.by_row[1:]
        if not self.rows:
            return False
        values = {
            path: np.broadcast_to(x, (self.rows, *shape)) if path in static.of_q and not flag else x
            for (path, shape), x, flag in zip(static.shapes.items(), operands, flags, strict=True)
        }
        estimator = static.over_rows(self.wrt, flags, values)
        if estimator is None:
            return False
        high, low = np.broadcast_to(words, (self.rows, 2)).astype(np.uint64).T
        finished = rows_of_seeds(estimator, static.n, high << np.uint64(32) | low, static.nested(values))
        found = self._columns(estimator, finished.moments.estimate)
        if self.errors:
            found += [*self._columns(estimator, finished.moments.stderr), finished.nonfinite]
        _write(found, results)
        return True

    def _columns(self, estimator: Estimator, table: Array) -> list[Array]:
        """Return the value and the gradients, by row, of a table of all."""
        components, columns = estimator.derived.components, estimator.derived.components.slices
        parts = [table[:, components.values], *(table[:, columns[path]] for path in self.wrt)]
        return [part.reshape(shape) for part, (shape, _) in zip(parts, self.result_types, strict=False)]


def _seed(words: Array) -> int:
    high, low = words.tolist()
    return int(high << 32 | low)


def _write(found: Sequence[Any], results: Sequence[Array]) -> None:
    for out, x in zip(results, found, strict=True):
        out[...] = x


def call_of(number: int) -> Call:
    """Return the call of a number."""
    found = _calls.get(number)
    if found is None:
        raise McgradError(f"no expectation has the number {number}: the compiled function outlived what it was made of")
    return found
