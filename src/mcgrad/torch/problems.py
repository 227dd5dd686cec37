"""Problems: f, q and options as they are before tensors have values, each with the Estimators that were made for it.

A problem is found again by its arguments, so that a call in a training loop traces and compiles nothing, and by its
number, which is an argument of the operator that `torch.compile` puts in a graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from types import FunctionType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.means_alone import MeansAlone
from mcgrad.errors import McgradError, ParameterError, shown
from mcgrad.gradients.problem import described
from mcgrad.inputs.arguments import check_data_name
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.template import UndeterminedError, check_family, template
from mcgrad.noise import Shape
from mcgrad.results.flat import NUMBER, Shapes, cut, joined
from mcgrad.system.lazy_property import lazy_property
from mcgrad.system.locks import Lock
from mcgrad.system.recent import Recent
from mcgrad.torch.aten.constants import refusing_constants
from mcgrad.torch.leaves import Leaf
from mcgrad.torch.rows import DATA, PARAMS, Q

KEPT = 128  # problems that are kept though no compiled graph refers to them
TABLES = 16  # Estimators of one problem: integer data are part of the compiled code

Flat = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
Static = tuple[tuple[str, Any], ...]


class Problem:
    """An expectation whose tensors have shapes and dtypes, but no values yet.

    Parameters
    ----------
    f : callable, Integrand or Objective
    q : callable, Distribution or None
        A family, or another function that makes a distribution of parameters by name; or a distribution, of which some
        parameters are replaced. None for an objective, which has its own.
    known : tuple of Leaf
    static : tuple of (str, object)
    options : mapping
        Keywords of the Estimator; and "differentiates", whether autograd records the call.
    cotangent : dict of str to tuple of int, optional
        Shapes of what f returns, where the gradient is that of a linear combination of its numbers.

    Attributes
    ----------
    number : int
        By which `problem` finds it in this process, and in those that are forked from it.
    wrt : tuple of str
        The parameters to differentiate in.
    takes_seeds : bool
        Whether it has rows with a seed each.
    of_rows : dict
        The problems of rows of this one, by which tensors have these.
    """

    def __init__(
        self,
        f: Any,
        q: Any,
        known: tuple[Leaf, ...],
        static: Static,
        options: Mapping[str, Any],
        cotangent: Shapes | None = None,
    ) -> None:
        self.f, self.q, self.known, self.static, self.cotangent = f, q, known, static, cotangent
        method = options["method"]
        self.options = {**options, "method": method if isinstance(method, str) else dict(method)}
        self._width = np.dtype(self.options["dtype"])
        self._differentiates = bool(self.options["differentiates"])
        self.number = next(_numbers)
        _by_number[self.number] = self
        self._value: Shapes | None = None
        self.takes_seeds = False
        self.of_rows: dict[tuple[bool, ...], Any] = {}
        self.wrt = tuple(leaf.path for leaf in known if leaf.differentiable)
        self._fixed = [i for i, leaf in enumerate(known) if leaf.is_fixed]
        self._nested = any("." in leaf.path for leaf in known)
        self._paths = None if self._nested or self._fixed else [leaf.path for leaf in known]
        self._estimators: Recent[Hashable, Estimator] = Recent(TABLES)
        self._means: Recent[tuple[int, bool], MeansAlone] = Recent(TABLES)
        self._lock = Lock()
        for leaf in known:
            if leaf.argument == DATA:
                check_data_name(leaf.path)

    def estimate(
        self, arrays: list[Any], n: int, seed: int, stream: Any, errors: bool, shape: Shape, cotangent: Any = None
    ) -> Flat:
        """Estimate at values of the tensors, as arrays on host or device.

        Parameters
        ----------
        arrays : list of array
        n, seed, stream
            As for a call of an `Estimator`.
        errors : bool
            Whether to return standard errors.
        shape : tuple of int
            Of the value, as a single array.
        cotangent : array, optional
            Of the value, as a single array: of the problem that is `contracted`.

        Returns
        -------
        value, grad, stderr, nonfinite : array
            As `Call` documents the outputs of the operator, in host memory; the value in float64.

        Raises
        ------
        ParameterError, TraceError, BackendError, NonFiniteError
            As `Estimator` and its calls.
        """
        if cotangent is not None:
            assert self.cotangent is not None, "a problem that is contracted"
            cotangent = cut(cotangent, self.cotangent, cotangent.ndim - 1)
        if self._paths is not None and not errors and cotangent is None:
            value, grads = self._means_alone(arrays, n)(seed, arrays, stream)
            _check_shape(value, shape)
            grad = joined(grads, self._width)
            return value, grad, grad, grad
        estimator, changes = self.prepared(arrays, cotangent)
        est = estimator.numbers(n, seed, changes, stream, cotangent)
        value, grad = est.joined(self.wrt, self._width)
        _check_shape(value, shape)
        if not errors:
            return value, grad, grad, grad
        of_value, of_grad = est.joined(self.wrt, self._width, errors=True)
        stderr = joined([of_value.ravel(), of_grad], self._width)
        return value, grad, stderr, np.asarray(np.sum(est.nonfinite), np.int64)

    def at_addresses(
        self, tensors: Sequence[torch.Tensor], n: int, seed: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        """Return the value and the gradient of an earlier call's kind, read where tensors are; None for `estimate`.

        Parameters
        ----------
        tensors : sequence of Tensor
        n, seed
            As for a call of an `Estimator`.
        """
        means = self._means.get((n, False))
        if means is None:
            return None
        addresses = []
        for x in tensors:
            if not (x.is_cpu and x.is_contiguous()) or x.is_neg():
                return None
            addresses.append(x.data_ptr())
        return means.at_addresses(seed, addresses, self._width)

    def _means_alone(self, arrays: list[Any], n: int) -> MeansAlone:
        """Return what gives value and gradient for so many draws, in calls at tensors of which none is fixed."""
        key = n, self._are_there(arrays)
        found = self._means.get(key)
        if found is None:
            estimator, _ = self.prepared(arrays)
            with self._lock:
                found = self._means.put(key, estimator.means_alone(n, self._paths or (), self.wrt))
        return found

    @lazy_property
    def alone(self) -> Problem:
        """The value without gradients."""
        known = tuple(leaf._replace(differentiable=False) for leaf in self.known)
        return Problem(self.f, self.q, known, self.static, self.options)

    @lazy_property
    def contracted(self) -> Problem:
        """The gradient of a linear combination of all numbers of the value."""
        reduce = self.options["reduce"]
        options = {**self.options, "reduce": None if reduce == "none" else reduce}
        return Problem(self.f, self.q, self.known, self.static, options, self._value or NUMBER)

    def prepared(self, arrays: Sequence[Any], cotangent: Any = None) -> tuple[Estimator, dict[str, Any]]:
        """Return the Estimator that serves tensors with these values, and the values as arguments of its calls."""
        found = None if self._paths is None else self._estimators.get(self._content(arrays))
        if found is not None:
            return found, dict(zip(self._paths or (), arrays, strict=True))
        values = self._values(arrays)
        estimator = self._estimator(self._content(arrays), values, cotangent)
        data = values[DATA]
        for i in self._fixed:
            del data[self.known[i].path]
        own, others = values[Q], values[PARAMS]
        if self._nested:
            own, others = tree.unflatten(own), tree.unflatten(others)
        return estimator, {**own, **others, **data}

    def value_shapes(self, arrays: Sequence[Any] | None) -> Shapes:
        """Return the shapes of what f returns; traced at the first request, at some values of the tensors.

        Parameters
        ----------
        arrays : sequence of array, or None
            None where they have no values yet, as while `torch.compile` makes a graph.
        """
        if self._value is None:
            self._value = self._traced(arrays)
        return self._value

    def _traced(self, arrays: Sequence[Any] | None) -> Shapes:
        if isinstance(self.f, Objective):
            return NUMBER
        alone = {name: self.options[name] for name in ("dtype", "batched_params", "batched_data", "reduce")}
        options = {**alone, "wrt": (), "backend": "numpy"}
        if arrays is not None:
            return self._made(self._values(arrays), options).derived.components.value
        try:
            return self._made(self._some_values(), options).derived.components.value
        except (UndeterminedError, McgradError):  # a call raises it again, or at its values there is none
            return NUMBER

    def _some_values(self) -> dict[str, dict[str, Any]]:
        """Return values that the tensors may have: of q those of a distribution that can be made."""
        shapes = {leaf.path: leaf.shape for leaf in self.known if leaf.argument == Q}
        made = self.q if isinstance(self.q, Distribution) else template(self.q, dict(self.static), shapes, {})
        values: dict[str, dict[str, Any]] = {Q: {path: made.flat_params[path] for path in shapes}, PARAMS: {}, DATA: {}}
        for leaf in self.known:
            if leaf.argument != Q:
                kind = bool if leaf.dtype == torch.bool else int
                values[leaf.argument][leaf.path] = (
                    np.ones(leaf.shape) if leaf.dtype.is_floating_point else np.zeros(leaf.shape, kind)
                )
        return values

    def estimator(self, arrays: Sequence[Any]) -> Estimator:
        """Return the Estimator that serves tensors with these values; made at the first request."""
        fixed = self._content(arrays)
        return self._estimators.get(fixed) or self._estimator(fixed, self._values(arrays))

    def _values(self, arrays: Sequence[Any]) -> dict[str, dict[str, Any]]:
        values: dict[str, dict[str, Any]] = {Q: {}, PARAMS: {}, DATA: {}}
        for leaf, array in zip(self.known, arrays, strict=True):
            values[leaf.argument][leaf.path] = array
        return values

    def has_estimator(self, arrays: Sequence[Any]) -> bool:
        """Return whether the Estimator that serves tensors with these values is made."""
        return self._estimators.get(self._content(arrays)) is not None

    def _content(self, arrays: Sequence[Any]) -> Hashable:
        """Return the numbers that are part of the compiled code, and whether some arrays are on a device."""
        return self._are_there(arrays), *[arrays[i].tobytes() for i in self._fixed]

    def _are_there(self, arrays: Sequence[Any]) -> bool:
        return any([type(x) is not np.ndarray for x in arrays])  # noqa: C419 - a generator takes twice as long

    def _estimator(self, fixed: Hashable, values: Mapping[str, dict[str, Any]], cotangent: Any = None) -> Estimator:
        found = self._estimators.get(fixed)
        if found is not None:
            return found
        with self._lock:
            found = self._estimators.find(fixed)
            if found is None:
                found = self._estimators.put(fixed, self._make(values, cotangent))
        return found

    def _make(self, values: Mapping[str, dict[str, Any]], cotangent: Any) -> Estimator:
        found = self._made(values, {**self.options, "wrt": self.wrt, "cotangent": cotangent})
        returned = dict(found.derived.components.value)
        if self._value is not None and returned != dict(self._value):
            given = f"an integrand that returns {described(returned)}"
            raise ParameterError("f", given, f"{described(dict(self._value))}, as at other values of the tensors")
        return found

    def _made(self, values: Mapping[str, dict[str, Any]], options: Mapping[str, Any]) -> Estimator:
        f = self.f
        q: Distribution | None = self._distribution(values[Q])
        if isinstance(f, Objective):
            f, q = _of_template(f, q), None
        params, data = tree.unflatten(values[PARAMS]), values[DATA]
        with refusing_constants(self._differentiates):
            names = options.keys() - {"differentiates"}
            return Estimator(f, q, params=params or None, data=data or None, **{name: options[name] for name in names})

    def _distribution(self, values: dict[str, npt.NDArray[Any]]) -> Distribution:
        """Return q at some values of its parameters; all of them must be among those that it has."""
        f, q = self.f, self.q
        if q is None and isinstance(f, Objective):
            q = f.q
        given = tree.unflatten({**values, **dict(self.static)}) if values or self.static else {}
        if isinstance(q, Distribution):
            if self.static:
                path, value = self.static[0]
                if path not in q.shapes:
                    accepted = f"any of {', '.join(q.shapes)}, the parameters of q, or an option that mcgrad.torch has"
                    raise ParameterError(path, shown(value), accepted)
                raise ParameterError(path, shown(value), "a tensor, a float or an array, as q is a distribution")
            return q.with_params(**given)
        if not callable(q):
            accepted = "a family such as mg.Normal, with its parameters by name, or a distribution"
            raise ParameterError("q", shown(q), accepted)
        check_family(q)
        made = q(**given)
        if not isinstance(made, Distribution):
            raise ParameterError("q", f"a function that returns {shown(made)}", "one that returns a distribution")
        for path, array in values.items():
            if path not in made.shapes or made.shapes[path] != array.shape:
                has = ", ".join(f"{name} {shape}" for name, shape in made.shapes.items())
                raise ParameterError(path, f"an argument of q with shape {array.shape}", f"a parameter of q: {has}")
        return made


def _check_shape(value: npt.NDArray[Any], shape: Shape) -> None:
    if value.shape != shape:
        accepted = "a distribution, or a function of batch_ndim=, among others, that gives q as many batch axes"
        raise ParameterError("q", f"a function that makes a batch of shape {value.shape}", accepted)


def _of_template(objective: Objective, q: Any) -> Objective:
    """Return an objective with its distribution; the values of parameters are those of calls."""
    if q is objective.q or q.signature == objective.q.signature:
        return objective
    raise ParameterError("q", shown(q), "the distribution that the objective was made with")


class _Same:
    """Equal where it is the same object, which it keeps alive."""

    __slots__ = ("kept",)

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.kept is self.kept

    def __hash__(self) -> int:
        return id(self.kept)


def key_of(f: Any) -> Hashable:
    """Return what is equal for functions that do the same: for a lambda, of the same line and what it closes over."""
    if type(f) is not FunctionType:
        return f if isinstance(f, Hashable) else _Same(f)
    if not f.__closure__ and not f.__defaults__ and not f.__kwdefaults__:
        return _Same(f.__code__), _Same(f.__globals__)
    try:
        cells = [cell.cell_contents for cell in f.__closure__ or ()]
    except ValueError:  # a cell that is still empty
        return _Same(f)
    held = [*cells, *(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()]
    plain = (bool, int, float, str, type(None))
    return _Same(f.__code__), _Same(f.__globals__), *[(type(x), x) if type(x) in plain else _Same(x) for x in held]


def problem_of(
    f: Any, q: Any, known: tuple[Leaf, ...], static: Static, options: tuple[tuple[str, Any], ...]
) -> Problem:
    """Return the problem of these arguments: the one that was made for equal ones before, if it is kept still."""
    try:
        key = (key_of(f), key_of(q), known, static, options)
        found = _recent.get(key)
    except TypeError:
        path, given = next(((path, x) for path, x in static if not isinstance(x, Hashable)), ("options", options))
        accepted = "of a parameter of q a tensor, a float, an array, or another value that can be hashed"
        raise ParameterError(path, shown(given), accepted) from None
    if found is None:
        with _lock:
            found = _recent.find(key)
            if found is None:
                found = _recent.put(key, Problem(f, q, known, static, dict(options)))
    return found


def number_of(
    f: Any, q: Any, known: tuple[Leaf, ...], static: Static, options: tuple[tuple[str, Any], ...]
) -> tuple[int, tuple[tuple[str, Shape], ...]]:
    """Return number and shapes of a problem, for a compiled graph, which may call it at any time."""
    found = problem_of(f, q, tuple(Leaf(*leaf) for leaf in known), static, options)
    _pinned[found.number] = found
    return found.number, tuple(found.value_shapes(None).items())


number_of._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as torch.compiler.assume_constant_result,
# which would load the compiler, for seconds


def problem(number: int) -> Problem:
    """Return a problem by its number."""
    return _by_number[number]


_numbers = itertools.count(1)
_lock = Lock()
_recent: Recent[Hashable, Problem] = Recent(KEPT)
_by_number: WeakValueDictionary[int, Problem] = WeakValueDictionary()
_pinned: dict[int, Problem] = {}
