"""The result: an expectation and its gradient, with standard errors.

An Estimator makes an `Estimate` of the moments that a run returned; `format` prints it, `record` checks it when it is
read from a file, `files` writes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

from mcgrad import tree
from mcgrad.arrays import to_device
from mcgrad.errors import MergeError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.results import record
from mcgrad.results.components import Components
from mcgrad.results.covariance import covariance
from mcgrad.results.format import few_lines, lines, nonfinite_lines, origin, run
from mcgrad.results.interval import ConfidenceInterval, intervals
from mcgrad.results.ranges import Ranges, union
from mcgrad.results.ratio import Part, part
from mcgrad.results.strict_json import dumps, listed, signed


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """A Monte Carlo estimate of E f(z) and of its gradient in the parameters, with standard errors.

    Estimates come from ``mg.estimate`` and do not change. Python floats stand for scalars, float64 arrays for the rest;
    `grad` and `grad_stderr` are nested dicts of the parameters' names and shapes, copies to do with as you like. Of an
    Estimator with ``output="device"`` these two are CuPy's float64 arrays throughout, always the same ones; all else,
    and all that is written, is the same.

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
    moments : Moments
        Of all components over the groups of draws; draws that were omitted do not count.
    components : Components
        Names and shapes of the components: the value, then the gradient.
    problem : str or callable
        Fingerprint of integrand, distribution, parameters and data, or a function that works it out when it is needed:
        estimates merge where fingerprints are equal.
    device : bool
        Whether `grad` and `grad_stderr` are on a device: the current one, in the stream that is current when the
        estimate is made.
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
    device: bool = False

    def __post_init__(self) -> None:
        if self.device:
            self._grad, self._grad_stderr  # noqa: B018  in the stream that is current now

    def to_host(self) -> Self:
        """Return the same estimate with `grad` and `grad_stderr` as NumPy arrays."""
        return replace(self, problem=self.fingerprint, device=False)

    def __getstate__(self) -> dict[str, Any]:
        host = self.to_host()
        return {field.name: getattr(host, field.name) for field in fields(host)}

    # Results

    @property
    def value(self) -> Any:
        """Estimate of E f(z); NaN where a draw spoiled it, infinite where it is so exactly."""
        return self._value_in(self.moments.estimate)

    @property
    def stderr(self) -> Any:
        """Standard error of `value`, number by number."""
        return self._value_in(self.moments.stderr)

    @property
    def covariance(self) -> Any:
        """Covariance of the estimates of the numbers of `value`, whose diagonal holds the squares of `stderr`.

        A float for a number; an array of shape (*shape, *shape) for an array; for a nested dict of arrays one that
        nests twice, ``est.covariance["a"]["b"]`` of shape (*shape of a, *shape of b).

        Raises
        ------
        ParameterError
            The estimate was not made with ``covariance=True``.
        """
        return covariance(self.moments, self.components)

    def __getitem__(self, name: Any) -> Part:
        """Return a part of the value: an array of a dict by its name, or what an index takes out of an array.

        `mg.ratio` takes two of them; ``.value`` and ``.stderr`` are those of the estimate.
        """
        return part(self.moments, self.components, name)

    @property
    def grad(self) -> dict[str, Any]:
        """Estimate of the gradient, shaped like the parameters."""
        return self._nested(self._grad)

    @property
    def grad_stderr(self) -> dict[str, Any]:
        """Standard errors of `grad`, component by component."""
        return self._nested(self._grad_stderr)

    @cached_property
    def _grad(self) -> dict[str, Any]:
        return self._by_path(self.moments.estimate)

    @cached_property
    def _grad_stderr(self) -> dict[str, Any]:
        return self._by_path(self.moments.stderr)

    def _value_in(self, vector: Float64Array) -> Any:
        """Return the value as a float, an array, or nested dicts of these: copies."""
        flat = self.components.value_in(vector)
        return tree.unflatten({path: x.copy() if x.shape else float(x) for path, x in flat.items()})

    def _by_path(self, vector: Float64Array) -> dict[str, Any]:
        """Return the gradient's components by dotted path, as floats and arrays, or as arrays on the device."""
        if self.device:
            return {**self.components.split(to_device(vector))}
        return {path: x if x.shape else float(x) for path, x in self.components.split(vector).items()}

    def _nested(self, flat: dict[str, Any]) -> dict[str, Any]:
        """Return nested dicts, of copies that may be written to: on a device a copy would need the right stream."""
        if not self.device:
            flat = {path: x if isinstance(x, float) else x.copy() for path, x in flat.items()}
        return dict(tree.unflatten(flat))

    @property
    def n(self) -> int:
        """Draws asked for, those that were not finite included."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def first(self) -> int:
        """Index of the first draw."""
        return self.ranges[0][0]

    @property
    def draws_per_second(self) -> float:
        """Draws divided by `seconds`."""
        return self.n / self.seconds if self.seconds > 0 else math.inf

    @cached_property
    def fingerprint(self) -> str:
        """Hash of integrand, distribution, parameters and data: the same in another process, for any backend."""
        return self.problem if isinstance(self.problem, str) else self.problem()

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
        Not simultaneous over components.
        """
        return intervals(level, self._degrees, self.value, self.stderr, self._grad, self._grad_stderr)

    @property
    def _degrees(self) -> int:
        """Degrees of freedom of the standard errors."""
        return self.moments.count - 1

    # Merging

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
        if not isinstance(other, Estimate):
            raise MergeError(f"other: given {shown(other)}; accepted: an Estimate")
        for what, mine, others in (
            ("seeds", self.seed, other.seed),
            ("dtypes", self.dtype, other.dtype),
            ("parameters", dict(self.components.shapes), dict(other.components.shapes)),
            ("shapes of the value", dict(self.components.value), dict(other.components.value)),
            ("kinds of gradients", self.components.contracted, other.components.contracted),
            ("covariances", self.components.covariance, other.components.covariance),
            ("methods", self.method, other.method),
            ("groups of draws", self.group, other.group),
            ("treatments of non-finite draws", self.omitted, other.omitted),
        ):
            if mine != others:
                raise MergeError(f"estimates of different {what}: {mine} and {others}")
        if self.fingerprint != other.fingerprint:
            raise MergeError("estimates of different problems (integrand, distribution, parameters or data)")
        early, late = (self, other) if self.ranges <= other.ranges else (other, self)
        return replace(
            early,
            moments=early.moments.merge(late.moments),
            ranges=union(early.ranges, late.ranges),
            backend="+".join(sorted({*early.backend.split("+"), *late.backend.split("+")})),
            seconds=early.seconds + late.seconds,
            problem=early.fingerprint,
            nonfinite=early.nonfinite + late.nonfinite,
            device=self.device,
        )

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
            **{name: getattr(self, name) for name in record.PLAIN},
            "ranges": [list(pair) for pair in self.ranges],
            "problem": self.fingerprint,
            "shapes": {path: list(shape) for path, shape in self.components.shapes.items()},
            **record.of_components(self.components),
            "moments": record.of_moments(self.moments),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the estimate that :meth:`to_dict` wrote; it merges as the original does.

        Raises
        ------
        ParameterError
            Where `fields` is not what :meth:`to_dict` writes, or does not have the digest that is among them.
        """
        return cls(**record.arguments(fields))

    def to_json(self) -> str:
        """Return :meth:`to_dict` as strict JSON; NaN and infinities are the strings "nan", "inf" and "-inf".

        A field more than there, "digest", is a hash of all others.
        """
        return dumps(signed(self.to_dict()))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the estimate that :meth:`to_json` wrote.

        Parameters
        ----------
        text : str or bytes
            The JSON itself, also as another program formatted it. That of earlier versions has no digest.

        Raises
        ------
        ParameterError
            Not strict JSON, not an estimate, or changed after it was written.
        """
        return cls.from_dict(record.parsed(text))

    # Printing

    def __repr__(self) -> str:
        grad = ", ".join(self.components.shapes)
        if self.components.of_number:
            return f"Estimate(value={self.value:.6g}, stderr={self.stderr:.2g}, n={self.n}, grad={{{grad}}})"
        shapes = ", ".join(f"{path}: {shape}" if path else f"{shape}" for path, shape in self.components.value.items())
        return f"Estimate(value of shape {shapes}, n={self.n}, grad={{{grad}}})"

    def __str__(self) -> str:
        table = lines(self.moments.estimate, self.moments.stderr, self._degrees, self.components)
        foot = run(self.n, self.dtype, self.backend, self.seconds, self.seed, self.first)
        how = origin(self.method, self.choice, self.group)
        few = few_lines(self.moments.count, self.group)
        odd = nonfinite_lines(self.nonfinite, self.n // self.group, self.omitted, self.moments.count)
        return "\n".join([*table, "", foot, *how, *few, *odd])
