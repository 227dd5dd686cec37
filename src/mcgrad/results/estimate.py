"""The result: an expectation and its gradient, with standard errors.

An Estimator makes an `Estimate` of the moments that a run returned; `format` prints it, `record` checks it when it is
read from a file, `files` writes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcgrad import tree
from mcgrad.arrays import to_device
from mcgrad.moments import Float64Array, Moments
from mcgrad.results import record
from mcgrad.results.components import Components
from mcgrad.results.control import Controlled, described
from mcgrad.results.covariance import matrix, matrix_of_replicates
from mcgrad.results.flat import flat_gradient, flat_value, joined
from mcgrad.results.format import (
    few_lines,
    kinds_lines,
    lines,
    nonfinite_lines,
    origin,
    run,
    second_lines,
    shapes_line,
    stopping_lines,
    weights_line,
)
from mcgrad.results.interval import ConfidenceInterval, ends, interval
from mcgrad.results.ranges import Ranges
from mcgrad.results.ratio import Whole
from mcgrad.results.replicates import ReplicateMeans, means_of_fields
from mcgrad.results.second_estimates import SecondEstimates
from mcgrad.results.stopping import Stopping
from mcgrad.results.strict_json import listed
from mcgrad.results.weights import of_weights
from mcgrad.system.kind import Kinds
from mcgrad.system.printable import line


@dataclass(frozen=True, eq=False, repr=False)
class Estimate(SecondEstimates):
    """A Monte Carlo estimate of E f(z) and of its gradient in the parameters, with standard errors.

    Estimates come from ``mg.estimate`` and do not change. Python floats stand for scalars, float64 arrays for the rest;
    `grad` and `grad_stderr` are nested dicts of the parameters' names and shapes, copies to do with as you like. Of an
    Estimator with ``output="device"`` derivatives and their standard errors are CuPy's float64 arrays throughout,
    always the same ones; all else, and all that is written, is the same.

    Where f returns an array, `value` has its shape, and each array of `grad` is a Jacobian, of shape (*shape of f,
    *shape of the parameter); where it returns a nested dict of arrays, `value` nests in this way, and so does, inside
    each parameter, `grad`. With a cotangent `grad` is that of one number, the linear combination.

    Attributes
    ----------
    value, stderr : float, array or nested dict of them
        Estimate of E f(z), and its standard error, which has n - 1 degrees of freedom, or n / group - 1: for n = 2 its
        own relative error is 76%, for n = 10 it is 24%, for n = 100 it is 7%.
    grad, grad_stderr : dict
        Estimate of the gradient, and its standard errors.
    n : int
        Draws asked for, those that were not finite included.
    nonfinite : int
        Draws whose value or gradient was not finite. Unless they were omitted, the components they spoil are NaN; a
        number of the value that is not finite spoils the whole gradient of that number. An infinite divergence in
        closed form is infinite, with n such draws.
    omitted : bool
        Whether such draws were left out.
    dtype : str
        Dtype of the draws and of f: "float32" or "float64". Sums are float64 in either case.
    backend : str
        Where it ran.
    seed : int
        Seed of the noise.
    ranges : tuple of (int, int)
        Which draws of the seed's sequence these are: from the first number up to, not including, the second.
    seconds : float
        Wall-clock time, without compilation; added up over merged estimates.
    method : str or dict of str to str
        The estimator of the gradient, such as "pathwise" or "score+mean"; by the parameter's path where they differ.
    choice : str
        Why it was chosen, under ``method="auto"``.
    group : int
        Draws that were averaged together: standard errors are of the means of n / group groups, which are independent.
    antithetic : bool
        Whether half the draws of a group are the mirror images of the others.
    moments : Moments
        Of all components over the groups of draws; draws that were omitted do not count. With ``sampler="sobol"`` over
        the means of the replicates.
    replicates : ReplicateMeans or None
        With ``sampler="sobol"``, the means over the points of each replicate: standard errors have one degree of
        freedom less than there are replicates. Draw R p + r is point p of the r-th of R replicates.
    components : Components
        Names and shapes of the components: the value, then the gradient.
    problem : str or callable
        Fingerprint of integrand, distribution, parameters and data, or a function that works it out when it is needed:
        estimates merge where fingerprints are equal.
    control : Controlled, optional
        Control variates: how `moments`, which then has their means and products, too, becomes that of the components.
    device : bool
        Whether derivatives and their standard errors are on a device: the current one, in the stream that is current
        when the estimate is made.
    effective_sample_size, pareto_k : float
        With a proposal: what its weights are worth, and how heavy their tail is.
    stopping : Stopping or None
        Of `Estimator.until`, how the run ended: ``est.stopping.reached`` says whether the error is within the
        tolerance. None for other runs, and once estimates are merged.
    kinds : tuple of Kind
        Of the processes that averaged the draws: processors, versions, backends. Last digits may differ between two
        kinds. Empty in results of earlier versions.
    tail : float or callable
        Pareto k of draws that are weighted, or a function that works it out when it is needed.
    """

    moments: Moments
    components: Components
    ranges: Ranges
    seed: int
    dtype: str
    backend: str
    seconds: float
    problem: str | Callable[[], str] = ""
    nonfinite: int = 0
    omitted: bool = False
    method: str | dict[str, str] = "pathwise"
    choice: str = ""
    group: int = 1
    antithetic: bool = False
    device: bool = False
    stopping: Stopping | None = None
    control: Controlled | None = None
    tail: float | Callable[[], float] = math.nan
    replicates: ReplicateMeans | None = None
    kinds: Kinds = ()

    def __post_init__(self) -> None:
        if self.device:
            self._grad, self._grad_stderr, self._second  # noqa: B018  in the stream that is current now

    def to_host(self) -> Self:
        """Return the same estimate with derivatives as NumPy arrays."""
        return replace(self, problem=self.fingerprint, device=False, tail=self._tail)

    def __getstate__(self) -> dict[str, Any]:
        return super(Estimate, self.to_host()).__getstate__()

    # Results

    def _nested(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        return super()._nested(flat) if not self.device else dict(tree.unflatten(flat))  # a copy needs the right stream

    @cached_property
    def finished(self) -> Moments:
        """The moments of the components: with control variates what these leave, else `moments`."""
        if not self.control:
            return self.moments
        return self.replicates.controlled(self.control) if self.replicates else self.control.finished(self.moments)

    @property
    def _value(self) -> dict[str, Any]:
        return self.components.value_in(self.finished.estimate)

    @property
    def _stderr(self) -> dict[str, Any]:
        return self.components.value_in(self.finished.stderr)

    @cached_property
    def _grad(self) -> dict[str, Any]:
        return self._by_path(self.components.split, self.finished.estimate)

    @cached_property
    def _grad_stderr(self) -> dict[str, Any]:
        return self._by_path(self.components.split, self.finished.stderr)

    @cached_property
    def _second(self) -> tuple[dict[str, Any], dict[str, Any]]:
        both = self.finished.estimate, self.finished.stderr
        means, errors = (self._by_path(self.components.second_in, x) for x in both)
        return means, errors

    def _second_in(self, errors: bool) -> dict[str, Any]:
        return self._second[errors]

    def _by_path(self, split: Callable[[Float64Array], dict[str, Any]], vector: Float64Array) -> dict[str, Any]:
        """Return some components by dotted path, as floats and arrays, or as arrays on the device."""
        if self.device:
            return {**split(to_device(vector))}
        return {path: x if x.shape else float(x) for path, x in split(vector).items()}

    def flat(self, paths: Iterable[str], errors: bool = False) -> list[NDArray[Any]]:
        """Return the value and gradients as single arrays."""
        components, vector = self.components, self.finished.stderr if errors else self.finished.estimate
        return [flat_value(components, vector), *(flat_gradient(components, vector, path) for path in paths)]

    def joined(
        self, paths: Sequence[str], dtype: DTypeLike, errors: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the value, and the numbers of gradients one after the other."""
        components, vector = self.components, self.finished.stderr if errors else self.finished.estimate
        return flat_value(components, vector), joined([vector[components.slices[path]] for path in paths], dtype)

    @cached_property
    def _whole(self) -> Whole:
        components, moments = self.components, self.finished
        numbers, errors = moments.estimate[components.values], moments.stderr[components.values]
        return Whole(components.value, numbers, errors, self._covariance, self._gradients_by_parameter)

    def _gradients_by_parameter(self) -> dict[str, tuple[int, Float64Array]]:
        """Return gradients of the value, for `Whole`."""
        if self.components.contracted:
            return {}
        return {path: (0, x) for path, x in self.components.by_parameter(self.finished.estimate).items()}

    def _covariance(self) -> Float64Array:
        """Return the covariance of the numbers of the value: of replicates, of their means."""
        if self.replicates:
            return matrix_of_replicates(self.components, self.replicates.means[self.replicates.counts > 0])
        moments = self.finished
        return matrix(self.components, moments.estimate, moments.count)

    @property
    def effective_sample_size(self) -> float:
        """Draws of q that would average as well as those of a proposal, by the weights w alone: (sum w)^2 / sum w^2.

        Of points by the scatter of the weights' mean over the replicates: where the weights are smooth and bounded that
        is nearly all draws.
        """
        self._check_weighted("effective_sample_size")
        where, moments = self.components.weight, self.moments
        of_each = self.n // len(self.replicates) if self.replicates else self.group
        found = of_weights(moments.mean[where], moments.norm[where], moments.count, of_each)
        return float(found[0])

    @property
    def pareto_k(self) -> float:
        """Shape of the tail of the weights q / proposal, where they matter: above 0.7 errors are not to be trusted.

        Of each component of value and gradient it is the smaller of two: that of the weights, and that of what is
        averaged, which is much less where the integrand is zero at large weights. This is the largest of them, of up to
        16,384 draws of the first range; of many components some are looked at. It is worked out in the first call of an
        Estimator, which warns (`WeightsWarning`), and in later ones when it is asked for.

        Raises
        ------
        ParameterError
            The estimate was made without ``proposal=``.

        Notes
        -----
        Vehtari, Simpson, Gelman, Yao and Gabry 2024, sections 2 and 3. -inf where there is no tail, as the largest are
        equal; inf where fewer than five draws of a component are not zero; NaN of fewer than 25 draws.
        """
        self._check_weighted("pareto_k")
        return self._tail

    @cached_property
    def _tail(self) -> float:
        return self.tail if isinstance(self.tail, float) else self.tail()

    @property
    def draws_per_second(self) -> float:
        """Draws divided by `seconds`."""
        return self.n / self.seconds if self.seconds > 0 else math.inf

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval:
        """Return confidence intervals for the value and for each component of the gradient, by Student's t.

        Parameters
        ----------
        level : float
            Probability that one interval covers, 0 < level < 1.

        Notes
        -----
        With one degree of freedom less than there are draws, or groups of draws, that count. Exact at any number of
        draws whose components are normal; for others by the central limit theorem, so for n in the hundreds and more.
        Not simultaneous over components. Where `stopping` is there they are wider, by what stopping costs: at the level
        1 - (1 - level) / 2.
        """
        value = ends(level, self._degrees, self._value, self._stderr, self._looks)
        grad = ends(level, self._degrees, self._grad, self._grad_stderr, self._looks)
        means, errors = self._second_in(False), self._second_in(True)
        return interval(level, value, grad, ends(level, self._degrees, means, errors, self._looks))

    @property
    def _degrees(self) -> int:
        """Degrees of freedom of the standard errors."""
        return self.moments.count - 1

    # Merging

    @property
    def _kinds_of_controls(self) -> str:
        return self.control.kinds if self.control else super()._kinds_of_controls

    def merge(self, other: Estimate) -> Estimate:
        """Return the estimate over the draws of both.

        Parameters
        ----------
        other : Estimate
            Of the same problem, seed and dtype, over other draws.

        Raises
        ------
        MergeError
            Where the two differ in anything but their draws, or share draws.
        """
        early, late, common = self._in_order(other, Estimate, "an Estimate")
        if early.replicates and late.replicates:
            found = early.replicates.merge(late.replicates)
            merged: dict[str, Any] = {"replicates": found, "moments": found.moments}
        else:
            merged = {"moments": early.moments.merge(late.moments)}
        return replace(
            early,
            **merged,
            nonfinite=early.nonfinite + late.nonfinite,
            device=self.device,
            tail=lambda: late._tail if math.isnan(early._tail) else early._tail,  # that of the first draws
            **common,
        )

    def _kinds(self) -> dict[str, Any]:
        return super()._kinds() | {"samplers": self.replicates.points if self.replicates else "independent draws"}

    def _joined(self, late: Self) -> Ranges:
        mine, others = self.replicates, late.replicates
        return mine.draws_with(others, self.ranges, late.ranges) if mine and others else super()._joined(late)

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers; :meth:`from_dict` reads it back exactly.

        ``value``, ``stderr``, ``grad`` and ``grad_stderr`` are there for other readers; :meth:`from_dict` works them
        out again from ``moments``.
        """
        host = self.to_host()
        return {
            "format": record.FORMAT,
            "value": tree.map(listed, self.value),
            "stderr": tree.map(listed, self.stderr),
            "grad": tree.map(listed, host.grad),
            "grad_stderr": tree.map(listed, host.grad_stderr),
            **host._second_fields(),
            **{name: getattr(self, name) for name in record.PLAIN},
            **record.of_pairs(self.antithetic),
            "ranges": [list(pair) for pair in self.ranges],
            "problem": self.fingerprint,
            "shapes": {path: list(shape) for path, shape in self.components.shapes.items()},
            **record.of_components(self.components),
            **record.of_stopping(self.stopping),
            **record.of_kinds(self.kinds),
            **({"control": self.control.to_dict()} if self.control else {}),
            **({name: getattr(self, name) for name in record.OF_WEIGHTS} if self.components.weighted else {}),
            "moments": record.of_moments(self.moments),
            **({record.REPLICATES: self.replicates.to_dict()} if self.replicates else {}),
        }

    @staticmethod
    def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
        found = record.arguments(given)
        if record.REPLICATES in given:
            control = found["control"]
            groups, size = record.draws(given)[2], control.size if control else len(found["components"])
            replicates = means_of_fields(given[record.REPLICATES], groups, size)
            found |= {"replicates": replicates, "moments": replicates.moments}
        return found

    # Printing

    def __repr__(self) -> str:
        grad = ", ".join(self.components.shapes)
        if self.components.of_number:
            return f"Estimate(value={self.value:.6g}, stderr={self.stderr:.2g}, n={self.n}, grad={{{grad}}})"
        return f"Estimate(value of shape {shapes_line(self.components)}, n={self.n}, grad={{{grad}}})"

    def __str__(self) -> str:
        table = lines(self.finished.estimate, self.finished.stderr, self._degrees, self.components, self._looks)
        foot = run(self.n, self.dtype, self.backend, self.seconds, self.seed, self.first)
        how = [*origin(self.method, self.choice, self.group, self.antithetic), *second_lines(self.components.second)]
        if self.control:
            draws = (len(self.replicates), self.n // self.group) if self.replicates else (1, 1)
            how = [*how, line(described(self.control, self.finished, self.components, draws))]
        if self.components.weighted:
            how = [*how, weights_line(self.effective_sample_size, self.n, self.pareto_k)]
        few = [self.replicates.line(self.n)] if self.replicates else few_lines(self.moments.count, self.group)
        odd = nonfinite_lines(self.nonfinite, self.n // self.group, self.omitted, self.moments.count)
        return "\n".join([*table, "", foot, *how, *stopping_lines(self.stopping), *kinds_lines(self.kinds), *few, *odd])
