"""The static part of an expectation, which JAX's transformations do not change: f, the family of q, shapes, options."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.engine.dispatch import CUDA
from mcgrad.engine.estimator import Estimator
from mcgrad.errors import ParameterError
from mcgrad.gradients.plan import AUTO
from mcgrad.gradients.problem import described
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.template import UndeterminedError, template
from mcgrad.ir import serial
from mcgrad.noise import Shape
from mcgrad.results.flat import NUMBER, Shapes, flat_shape

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Static:
    """What is known of an expectation before its operands have values, and the Estimators made of it.

    Parameters
    ----------
    f
        As for `Estimator`.
    q : callable or Distribution
        A family, or another function that makes a distribution; or a distribution, all of whose parameters change.
    settings : dict of str to object
        Arguments of a family that are no parameters, such as a number of trials.
    of_q, of_f, data : dict of str to tuple of int
        Shapes of the operands: parameters of q by dotted path, those that only f has, and float data.
    fixed : dict of str to array
        Integers and booleans among the data.
    n : int
        Number of draws.
    dtype : {"float32", "float64"}
    options : dict
        Further arguments of `Estimator`.
    known : dict of str to array
        Values of those operands that have them already: f is traced at these, and elsewhere at values that the family
        accepts, as Estimators take others in each call.

    Attributes
    ----------
    deferred : bool
        Whether Estimators are made at the first execution, with its values: under ``method="auto"``, whose pilot needs
        them, and for families of which no accepted values were found.
    has_paths : bool
        Whether some parameters are nested.
    batch_shape : tuple of int
        Of a batch, the extents of its axes; empty without one.
    by_row : frozenset of str
        Paths of the operands that have these axes in front.
    """

    f: Any
    q: Callable[..., Distribution] | Distribution
    settings: dict[str, Any]
    of_q: dict[str, Shape]
    of_f: dict[str, Shape]
    data: dict[str, Shape]
    fixed: Mapping[str, Array]
    n: int
    dtype: str
    options: Mapping[str, Any]
    known: Mapping[str, Array]
    deferred: bool = False
    _made: dict[tuple[tuple[str, ...], str], Estimator] = field(default_factory=dict)
    _digests: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    _batches: dict[tuple[tuple[str, ...], tuple[bool, ...]], Estimator | None] = field(default_factory=dict)
    _lock: Any = field(default_factory=RLock)

    def __post_init__(self) -> None:
        self.shapes = {**self.of_q, **self.of_f, **self.data}
        self.has_paths = any("." in path for path in self.shapes)
        all_known = self.known.keys() >= self.shapes.keys()
        self.deferred = self.options.get("method") == AUTO and not all_known
        axes = None
        try:
            axes = self._template().batch
        except UndeterminedError:
            self.deferred = True
        own = [path for path in self.of_q if axes and path in axes.by_row]
        given = {"batched_params": self.of_f, "batched_data": self.data}
        others = [tree.select(paths, self.options.get(name, ()), name) for name, paths in given.items()]
        self.by_row = frozenset([*own, *others[0], *others[1]])
        first = next((self.shapes[path] for path in self.shapes if path in self.by_row), ())
        self.batch_shape = axes.shape if axes else first[:1]

    def nested(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return values of the operands, by path, as the arguments of an Estimator's call."""
        return dict(tree.unflatten(values)) if self.has_paths else values

    @property
    def params(self) -> tuple[str, ...]:
        """Paths of all parameters, in the order of the operands."""
        return (*self.of_q, *self.of_f)

    @cached_property
    def value(self) -> Shapes:
        """Shapes of what f returns: one number where Estimators are deferred."""
        return NUMBER if self.deferred or isinstance(self.f, Objective) else self.estimator(()).derived.components.value

    @property
    def shape(self) -> Shape:
        """Shape of what f returns, as a single array."""
        return flat_shape(self.value)

    @property
    def value_shape(self) -> Shape:
        """Shape of the value: behind the axes of the batch, unless it is reduced."""
        reduced = self.options.get("reduce") in ("sum", "mean")
        return self.shape if reduced else (*self.batch_shape, *self.shape)

    def grad_shape(self, path: str) -> Shape:
        """Return the shape of the gradient in a parameter: where rows share it, and values are by row, by row, too.

        The axes of what f returns come before those of the parameter in one row.
        """
        own, ndim = self.shapes[path], len(self.batch_shape)
        return (*own[:ndim], *self.shape, *own[ndim:]) if path in self.by_row else (*self.value_shape, *own)

    def _template(self) -> Distribution:
        if isinstance(self.q, Distribution):
            return self.q
        return template(self.q, self.settings, self.of_q, self.known)

    def estimator(
        self, wrt: tuple[str, ...], output: str = "host", values: Mapping[str, Array] | None = None
    ) -> Estimator:
        """Return the Estimator of the value and of the gradient in some parameters; made at the first request.

        Parameters
        ----------
        wrt : tuple of str
        output : {"host", "device"}
        values : dict of str to array, optional
            Of all operands: read where the Estimator is deferred.
        """
        found = self._made.get((wrt, output))
        if found is None:
            with self._lock:
                if self.deferred and values is not None:
                    self.known, self.deferred = {path: np.array(to_host(x)) for path, x in values.items()}, False
                found = self._made.get((wrt, output)) or self._estimator(wrt, output)
                self._made[wrt, output] = found
        return found

    def _estimator(self, wrt: tuple[str, ...], output: str) -> Estimator:
        others = {path: self.known.get(path, np.ones(shape)) for path, shape in {**self.of_f, **self.data}.items()}
        by_row: dict[str, Any] = {"reduce": "none"} if self.by_row else {}
        options = {**by_row, **self.options}
        if self.by_row and output == "device":  # a call of a batch leaves nothing there, but a run in a stream does
            options, output = {**options, "backend": CUDA}, "host"
        return self._of_values(self._template(), others, wrt, output, options)

    def _of_values(
        self, q: Distribution, others: Mapping[str, Array], wrt: tuple[str, ...], output: str, options: Any
    ) -> Estimator:
        params = {path: others[path] for path in self.of_f}
        found = Estimator(
            self.f,
            None if isinstance(self.f, Objective) else q,
            params=tree.unflatten(params) if params else None,
            data={**{name: others[name] for name in self.data}, **self.fixed},
            wrt=wrt,
            dtype=self.dtype,
            output=output,
            **options,
        )
        if self.deferred or "value" in vars(self):
            self._check(dict(found.derived.components.value))
        return found

    def _check(self, returned: dict[str, Shape]) -> None:
        """Refuse a value with other shapes than those of the call that JAX traced."""
        if returned != dict(self.value):
            given = f"an integrand that returns {described(returned)}"
            accepted = "one number, where f is first traced at the values of the first execution"
            raise ParameterError("f", given, accepted)

    def over_rows(self, wrt: tuple[str, ...], flags: tuple[bool, ...], values: Mapping[str, Array]) -> Estimator | None:
        """Return the Estimator of a batch of such expectations, or None where there is none.

        Parameters
        ----------
        wrt : tuple of str
        flags : tuple of bool
            Which operands differ by row; those of a family all do.
        values : dict of str to array
            With the rows in front.
        """
        if not isinstance(self.q, type) or self.by_row or isinstance(self.f, Objective):
            return None
        with self._lock:
            key = (wrt, flags)
            if key not in self._batches:
                self._batches[key] = self._batch(*key, values)
            return self._batches[key]

    def _batch(self, wrt: tuple[str, ...], flags: tuple[bool, ...], values: Mapping[str, Array]) -> Estimator | None:
        assert isinstance(self.q, type)
        moving = [path for path, flag in zip(self.shapes, flags, strict=True) if flag]
        given = {**self.settings, **{path: values[path] for path in self.of_q}}
        own = {**(tree.unflatten(given) if given else {}), **({"batch_ndim": 1} if self.of_q else {})}
        options = {
            **self.options,
            "batched_params": [path for path in moving if path in self.of_f],
            "batched_data": [name for name in moving if name in self.data],
            "reduce": "none",
        }
        try:
            return self._of_values(self.q(**own), values, wrt, "host", options)
        except (ParameterError, TypeError):  # what cannot be a batch is done row by row, which raises what is wrong
            return None

    def digest(self, wrt: tuple[str, ...]) -> bytes:
        """Return a hash of what an Estimator computes: the same in another process, unless the Estimator is deferred.

        Parameters
        ----------
        wrt : tuple of str
        """
        with self._lock:
            if wrt not in self._digests:
                self._digests[wrt] = os.urandom(16) if self.deferred else self._digest(wrt)
            return self._digests[wrt]

    def _digest(self, wrt: tuple[str, ...]) -> bytes:
        estimator = self.estimator(wrt)
        options = sorted((name, repr(value)) for name, value in self.options.items())
        text = repr((self.n, self.dtype, options, self.shapes, wrt, estimator.plan.method))
        return hashlib.blake2b(text.encode() + serial.digest(estimator.program)).digest()
