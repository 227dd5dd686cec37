"""The result: an expectation and its gradient, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

from mcgrad import tree
from mcgrad.errors import MergeError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import Shape
from mcgrad.results import record
from mcgrad.results.format import lines, nonfinite_lines, origin, run
from mcgrad.results.interval import ConfidenceInterval, intervals
from mcgrad.results.ranges import Ranges, union
from mcgrad.results.strict_json import dumps, listed, signed

Place: TypeAlias = Callable[[Float64Array], Any]


class Estimate:
    """A Monte Carlo estimate of E f(z) and of its gradient in the parameters, with standard errors.

    Estimates come from ``mg.estimate`` and do not change. Python floats stand for scalars, float64 arrays for the rest;
    `grad` and `grad_stderr` are nested dicts of the parameters' names and shapes, copies to do with as you like. Of an
    Estimator with ``output="device"`` these two are CuPy's float64 arrays throughout, always the same ones; all else,
    and all that is written, is the same.

    Attributes
    ----------
    n : int
        Draws asked for, those that were not finite included.
    nonfinite : int
        Draws whose value or gradient was not finite. Unless they were omitted, the components they spoil are NaN; a
        value that is not finite spoils the whole gradient. An infinite divergence in closed form is infinite, with n
        such draws.
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
    """

    __slots__ = (
        "_grad",
        "_grad_stderr",
        "_moments",
        "_place",
        "_problem",
        "_shapes",
        "backend",
        "choice",
        "dtype",
        "group",
        "method",
        "n",
        "nonfinite",
        "omitted",
        "ranges",
        "seconds",
        "seed",
    )

    _grad: dict[str, Any] | None
    _grad_stderr: dict[str, Any] | None
    _moments: Moments
    _place: Place | None
    _problem: str | Callable[[], str]
    _shapes: Mapping[str, Shape]
    backend: str
    choice: str
    dtype: str
    group: int
    method: str | dict[str, str]
    n: int
    nonfinite: int
    omitted: bool
    ranges: Ranges
    seconds: float
    seed: int

    def __init__(
        self,
        moments: Moments,
        shapes: Mapping[str, Shape],
        ranges: Ranges,
        nonfinite: int,
        omitted: bool,
        seed: int,
        dtype: str,
        backend: str,
        seconds: float,
        problem: str | Callable[[], str],
        place: Place | None = None,
        method: str | dict[str, str] = "pathwise",
        choice: str = "",
        group: int = 1,
    ) -> None:
        put = object.__setattr__
        put(self, "_moments", moments)
        put(self, "_place", place)
        put(self, "_shapes", shapes)
        put(self, "_problem", problem)
        put(self, "_grad", None)
        put(self, "_grad_stderr", None)
        put(self, "ranges", ranges)
        put(self, "n", sum(stop - start for start, stop in ranges))
        put(self, "nonfinite", nonfinite)
        put(self, "omitted", omitted)
        put(self, "seed", seed)
        put(self, "dtype", dtype)
        put(self, "backend", backend)
        put(self, "seconds", seconds)
        put(self, "method", method)
        put(self, "choice", choice)
        put(self, "group", group)

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        *,
        shapes: Mapping[str, Shape],
        n: int,
        seed: int,
        dtype: str,
        backend: str,
        seconds: float,
        first: int = 0,
        nonfinite: int = 0,
        problem: str | Callable[[], str] = "",
        omitted: bool = False,
        place: Place | None = None,
        method: str | dict[str, str] = "pathwise",
        choice: str = "",
        group: int = 1,
    ) -> Self:
        """Return the estimate of one run.

        Parameters
        ----------
        moments : Moments
            Of the value and then the gradient's components, parameter by parameter in C order.
        shapes : dict of str to tuple of int
            Shapes of the parameters of the gradient, by dotted path, in that order.
        n, first : int
            The draws are those from `first` up to `first + n`.
        nonfinite : int
            How many of them were not finite somewhere.
        omitted : bool
            Whether those are left out of `moments`.
        problem : str, or callable that returns it
            Fingerprint of integrand, distribution, parameters and data: estimates merge where it is equal.
        place : callable, optional
            Array on the host -> array on a device, for `grad` and `grad_stderr`, which are made at once.
        seed, dtype, backend, seconds, method, choice, group
            As the attributes.
        """
        ranges, origin = ((first, first + n),), (method, choice, group)
        new = cls(moments, shapes, ranges, nonfinite, omitted, seed, dtype, backend, seconds, problem, place, *origin)
        if place is not None:
            new.grad, new.grad_stderr  # noqa: B018  in the stream that is current now
        return new

    def to_host(self) -> Estimate:
        """Return the same estimate with `grad` and `grad_stderr` as NumPy arrays."""
        make, fields = self.__reduce__()
        host: Estimate = make(*fields)
        return host

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Estimate does not change")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            self._moments,
            dict(self._shapes),
            self.ranges,
            self.nonfinite,
            self.omitted,
            self.seed,
            self.dtype,
            self.backend,
            self.seconds,
            self._fingerprint,
            None,
            self.method,
            self.choice,
            self.group,
        )

    # Results

    @property
    def value(self) -> float:
        """Estimate of E f(z); NaN where a draw spoiled it, infinite where it is so exactly."""
        return float(self._moments.estimate[0])

    @property
    def stderr(self) -> float:
        """Standard error of `value`."""
        return float(self._moments.stderr[0])

    @property
    def grad(self) -> dict[str, Any]:
        """Estimate of the gradient, shaped like the parameters."""
        if self._grad is None:
            object.__setattr__(self, "_grad", self._shaped(self._moments.estimate))
        return self._handed_out(self._grad)

    @property
    def grad_stderr(self) -> dict[str, Any]:
        """Standard errors of `grad`, component by component."""
        if self._grad_stderr is None:
            object.__setattr__(self, "_grad_stderr", self._shaped(self._moments.stderr))
        return self._handed_out(self._grad_stderr)

    def _handed_out(self, flat: dict[str, Any] | None) -> dict[str, Any]:
        """Return nested dicts, of copies that may be written to: on a device a copy would need the right stream."""
        if self._place is None:
            flat = {path: x if isinstance(x, float) else x.copy() for path, x in (flat or {}).items()}
        return dict(tree.unflatten(flat or {}))

    @property
    def first(self) -> int:
        """Index of the first draw."""
        return self.ranges[0][0]

    @property
    def draws_per_second(self) -> float:
        """Draws divided by `seconds`."""
        return self.n / self.seconds if self.seconds > 0 else math.inf

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval:
        """Return normal confidence intervals for the value and for each component of the gradient.

        Parameters
        ----------
        level : float
            Probability that one interval covers, 0 < level < 1.

        Notes
        -----
        By the central limit theorem, so for n in the hundreds and more; not simultaneous over components.
        """
        return intervals(level, self.value, self.stderr, self.grad, self.grad_stderr)

    @property
    def _fingerprint(self) -> str:
        if not isinstance(self._problem, str):
            object.__setattr__(self, "_problem", self._problem())
        return str(self._problem)

    def _shaped(self, components: Float64Array) -> dict[str, Any]:
        """Return the components after the first, shaped like the parameters, by dotted path."""
        placed = components if self._place is None else self._place(components)
        flat: dict[str, Any] = {}
        start = 1
        for path, shape in self._shapes.items():
            stop = start + math.prod(shape)
            whole = shape or self._place is not None
            flat[path] = placed[start:stop].reshape(shape) if whole else float(components[start])
            start = stop
        if start != len(components):
            raise ValueError(f"shapes ask for {start} components, the moments have {len(components)}")
        return flat

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
            ("parameters", dict(self._shapes), dict(other._shapes)),
            ("methods", self.method, other.method),
            ("groups of draws", self.group, other.group),
            ("treatments of non-finite draws", self.omitted, other.omitted),
            ("problems (integrand, distribution, parameters or data)", self._fingerprint, other._fingerprint),
        ):
            if mine != others:
                detail = "" if what.startswith("problems") else f": {mine} and {others}"
                raise MergeError(f"estimates of different {what}{detail}")
        early, late = (self, other) if self.ranges <= other.ranges else (other, self)
        return Estimate(
            early._moments.merge(late._moments),
            early._shapes,
            union(early.ranges, late.ranges),
            early.nonfinite + late.nonfinite,
            early.omitted,
            early.seed,
            early.dtype,
            "+".join(sorted({*early.backend.split("+"), *late.backend.split("+")})),
            early.seconds + late.seconds,
            early._fingerprint,
            self._place,
            early.method,
            early.choice,
            early.group,
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
            "value": self.value,
            "stderr": self.stderr,
            "grad": tree.map(listed, host.grad),
            "grad_stderr": tree.map(listed, host.grad_stderr),
            **{name: getattr(self, name) for name in record.PLAIN},
            "ranges": [list(pair) for pair in self.ranges],
            "problem": self._fingerprint,
            "shapes": {path: list(shape) for path, shape in self._shapes.items()},
            "moments": record.of_moments(self._moments),
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
        grad = ", ".join(self._shapes)
        return f"Estimate(value={self.value:.6g}, stderr={self.stderr:.2g}, n={self.n}, grad={{{grad}}})"

    def __str__(self) -> str:
        table = lines(self._moments.estimate, self._moments.stderr, self._shapes)
        foot = run(self.n, self.dtype, self.backend, self.seconds, self.seed, self.first)
        how = origin(self.method, self.choice, self.group)
        odd = nonfinite_lines(self.nonfinite, self.n // self.group, self.omitted, self._moments.count)
        return "\n".join([*table, "", foot, *how, *odd])
