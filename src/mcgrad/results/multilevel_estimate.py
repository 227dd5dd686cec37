"""The result of a multilevel run: the sum of the estimates of its levels, its noise, and the bias that is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.moments import Float64Array
from mcgrad.results.components import VALUE, Components
from mcgrad.results.format import kinds_lines, origin
from mcgrad.results.interval import ConfidenceInterval, Ends, ends, interval
from mcgrad.results.levels import Level
from mcgrad.results.multilevel_format import level_lines, table
from mcgrad.results.multilevel_plot import plot
from mcgrad.results.multilevel_rule import MultilevelRule
from mcgrad.results.rates import Rate, bias, falling, norms
from mcgrad.results.record import parsed
from mcgrad.results.result import nested
from mcgrad.results.strict_json import DIGEST, dumps, listed, signed, verify_digest
from mcgrad.system.printable import line

FORMAT = "mcgrad.MultilevelEstimate/1"
REACHED, LEVELS, DRAWS, NONFINITE = "reached", "max_level", "max_draws", "nonfinite"
COST, SECONDS = "max_cost", "max_seconds"
REASONS = (REACHED, LEVELS, DRAWS, COST, SECONDS, NONFINITE)
MANY = 1e9  # degrees of freedom of what has no error


@dataclass(frozen=True, eq=False, repr=False)
class MultilevelEstimate:
    """A multilevel estimate of the limit of E f_l(z) and of its gradient, with standard errors and bias.

    It comes from `mlmc`. Numbers, arrays and nested dicts are as in an `Estimate`.

    Attributes
    ----------
    value, stderr, grad, grad_stderr : float, array or nested dict of them
        Sums over the levels, and their standard errors.
    bias, grad_bias
        Of the same form: sizes of what the levels after the last would add, extrapolated from the last three.
    levels : tuple of Level
        ``est.levels[l]`` has ``n``, ``cost``, ``kurtosis``, and ``estimate``, which is that of f at level l minus f at
        level l - 1.
    alpha, beta : dict of str to Rate
        Of the value and of the gradient in each parameter, by path: the means of the differences fall as
        2^(-alpha l), their variances as 2^(-beta l).
    gamma : float
        The costs of a draw grow as 2^(gamma l).
    cost : float
        Of all draws.
    n : int
        Draws of all levels.
    reason : {"reached", "max_level", "max_draws", "max_cost", "max_seconds", "nonfinite"}
        How the run ended. "reached": root mean square errors, of noise and bias, are within the tolerance.
    rule : MultilevelRule
        What was asked for.
    seed : int
    """

    levels: tuple[Level, ...]
    rule: MultilevelRule
    reason: str
    seed: int

    # Results

    @property
    def components(self) -> Components:
        """Names and shapes of the components: the value, then the gradient."""
        return self.levels[0].estimate.components

    @cached_property
    def mean(self) -> Float64Array:
        """All components in one vector."""
        return np.asarray(sum(level.mean for level in self.levels))

    @cached_property
    def noise(self) -> Float64Array:
        """The standard errors of `mean`."""
        return np.asarray(np.hypot.reduce([level.stderr for level in self.levels]))

    @cached_property
    def biases(self) -> Float64Array:
        """The sizes of the biases of `mean`."""
        found = np.zeros(len(self.mean))
        for name, where in self._places.items():
            rate = self.alpha[name].low if self.rule.alpha is None else self.rule.alpha
            found[where] = bias(self._means[:, where], self._errors[:, where], rate)
        return found

    @property
    def errors(self) -> Float64Array:
        """The root mean square errors of `mean`, by its noise and its bias."""
        return np.hypot(self.noise, self.biases)

    @property
    def value(self) -> Any:
        """Estimate of the limit of E f(z)."""
        return nested(self.components.value_in(self.mean))

    @property
    def stderr(self) -> Any:
        """Standard error of `value`, without its bias."""
        return nested(self.components.value_in(self.noise))

    @property
    def bias(self) -> Any:
        """Size of the bias of `value`."""
        return nested(self.components.value_in(self.biases))

    @property
    def grad(self) -> dict[str, Any]:
        """Estimate of the gradient, shaped like the parameters."""
        return dict(nested(self.components.split(self.mean)))

    @property
    def grad_stderr(self) -> dict[str, Any]:
        """Standard errors of `grad`, without its bias."""
        return dict(nested(self.components.split(self.noise)))

    @property
    def grad_bias(self) -> dict[str, Any]:
        """Sizes of the biases of `grad`."""
        return dict(nested(self.components.split(self.biases)))

    @property
    def reached(self) -> bool:
        """Whether the error of each part is within its tolerance."""
        return self.reason == REACHED

    @property
    def n(self) -> int:
        """Draws of all levels."""
        return sum(level.n for level in self.levels)

    @property
    def cost(self) -> float:
        """Cost of all draws, in multiplications, or in the unit of ``cost=``."""
        return sum(level.work for level in self.levels)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all draws, without compilation and pilots."""
        return sum(level.estimate.seconds for level in self.levels)

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval:
        """Return intervals: by Student's t for the noise, and wider by the bias at either end.

        Parameters
        ----------
        level : float
            Probability that one interval covers, 0 < level < 1, where the bias is not more than it is estimated to be.

        Notes
        -----
        With the degrees of freedom of a sum of means, by Welch and Satterthwaite.
        """

        def of(take: Callable[[Float64Array], dict[str, Any]]) -> dict[str, Ends]:
            found = ends(level, take(self._degrees), take(self.mean), take(self.noise))
            wider = take(self.biases)
            return {path: (low - wider[path], high + wider[path]) for path, (low, high) in found.items()}

        return interval(level, of(self.components.value_in), of(self.components.split))

    @cached_property
    def _degrees(self) -> Float64Array:
        squares = np.square(self._errors)
        freedom = np.array([max(level.estimate.moments.count - 1, 1) for level in self.levels])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.square(squares.sum(axis=0)) / (np.square(squares) / freedom[:, None]).sum(axis=0)
        return np.where(np.isfinite(found), found, MANY)

    # Rates

    @cached_property
    def _places(self) -> dict[str, slice]:
        return {VALUE: self.components.values, **self.components.slices}

    @cached_property
    def _means(self) -> Float64Array:
        return np.array([level.mean for level in self.levels])

    @cached_property
    def _errors(self) -> Float64Array:
        return np.array([level.stderr for level in self.levels])

    @cached_property
    def alpha(self) -> dict[str, Rate]:
        """Rates at which the means of differences fall, by their norms."""
        means, errors = self._means, self._errors
        return {name: falling(*norms(means[:, where], errors[:, where])) for name, where in self._places.items()}

    @cached_property
    def beta(self) -> dict[str, Rate]:
        """Rates at which the variances of differences fall, added up over the components."""
        variances = np.array([level.variance for level in self.levels])
        errors = variances * np.array([level.doubt for level in self.levels])
        found = {}
        for name, where in self._places.items():
            found[name] = falling(variances[:, where].sum(axis=1), errors[:, where].sum(axis=1))
        return found

    @property
    def doubt(self) -> Float64Array:
        """Relative standard error of the square of each number of `noise`, by the kurtosis of the levels."""
        squares = np.square(self._errors)
        with np.errstate(invalid="ignore"):
            found = np.hypot.reduce(squares * [level.doubt for level in self.levels]) / squares.sum(axis=0)
        return np.where(np.isfinite(found), found, 0.0)

    @property
    def gamma(self) -> float:
        """Rate at which the costs of a draw grow."""
        costs = np.array([level.cost for level in self.levels])
        return -falling(costs, np.zeros(len(costs))).value

    def plot(self, path: str | Path | None = None) -> Any:
        """Plot, by level, the means and the variances of the differences, the draws, and the cost.

        Parameters
        ----------
        path : str or Path, optional
            Where to save the figure.

        Returns
        -------
        matplotlib Figure
            Needs matplotlib.
        """
        return plot(self.levels, self._places, self.alpha, self.beta, path)

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers; :meth:`from_dict` reads it back exactly."""
        named = ("value", "stderr", "bias", "grad", "grad_stderr", "grad_bias")
        return {
            "format": FORMAT,
            **{name: tree.map(listed, getattr(self, name)) for name in named},
            "reason": self.reason,
            "seed": self.seed,
            "rule": self.rule.to_fields(),
            "levels": [level.to_fields() for level in self.levels],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the estimate that :meth:`to_dict` wrote.

        Raises
        ------
        ParameterError
            `fields` is not what that writes, or does not have the digest that is among them.
        """
        if not isinstance(fields, Mapping) or fields.get("format") != FORMAT:
            given = fields.get("format", "no format") if isinstance(fields, Mapping) else fields
            raise ParameterError("format", shown(given), repr(FORMAT))
        for name in ("reason", "seed", "rule", "levels"):
            if name not in fields:
                raise ParameterError(name, "nothing", "what MultilevelEstimate.to_dict writes")
        if DIGEST in fields:
            verify_digest("", fields)
        levels, reason, seed = fields["levels"], fields["reason"], fields["seed"]
        if not isinstance(levels, list) or len(levels) < 2:
            raise ParameterError("levels", shown(levels), "a list of two levels or more")
        if reason not in REASONS:
            raise ParameterError("reason", shown(reason), ", ".join(REASONS))
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
            raise ParameterError("seed", shown(seed), "a whole number from 0 to 2**64 - 1")
        found = tuple(Level.of_fields(f"levels[{i}]", each) for i, each in enumerate(levels))
        if any(level.estimate.components != found[0].estimate.components for level in found):
            raise ParameterError("levels", "estimates of different components", "those of one run")
        return cls(found, MultilevelRule.of_fields(fields["rule"]), reason, seed)

    def to_json(self) -> str:
        """Return :meth:`to_dict` as strict JSON, with a digest of all of it."""
        return dumps(signed(self.to_dict()))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the estimate that :meth:`to_json` wrote."""
        return cls.from_dict(parsed(text))

    # Printing

    def __repr__(self) -> str:
        value = f"value={self.value:.6g}, " if self.components.of_number else ""
        grad = ", ".join(self.components.shapes)
        return f"MultilevelEstimate({value}levels={len(self.levels)}, n={self.n}, grad={{{grad}}})"

    def __str__(self) -> str:
        first = self.levels[0].estimate
        backends = "+".join(dict.fromkeys(level.estimate.backend for level in self.levels))
        kinds = tuple(sorted({kind for level in self.levels for kind in level.estimate.kinds}))
        return "\n".join(
            [
                *table(self.mean, self.noise, self.biases, self.components),
                "",
                *level_lines(self.levels, self.components),
                "",
                line(f"{self.n:,} draws, {first.dtype}, {backends}, seed {self.seed}; {self._rates_line}"),
                line(self.ending),
                *origin(first.method, first.choice, first.group, first.antithetic),
                *kinds_lines(kinds),
            ]
        )

    @property
    def _rates_line(self) -> str:
        of_alpha, of_beta = self.alpha, self.beta
        rates = [f"alpha {of_alpha[name]}, beta {of_beta[name]} of {name}" for name in list(of_alpha)[:4]]
        return f"rates: {'; '.join(rates)}; gamma {self.gamma:.2f}"

    @property
    def ending(self) -> str:
        """How the run ended, in words."""
        if self.reason == NONFINITE:
            return "not all that was asked for is finite"
        means, errors = self.mean, self.errors
        tolerances, worst = self.rule.tolerances(self.components, means), (-1.0, "", 0)
        for part, where in self.rule.places(self.components).items():
            for i in where:
                nothing = math.inf if errors[i] > 0 or not self.reached else 0.0
                ratio = errors[i] / tolerances[i] if tolerances[i] > 0 else nothing
                worst = max(worst, (float(ratio), part, i))
        _, part, i = worst
        if not self.reached and not errors[i] and not tolerances[i]:
            return f"{part} is zero in all {self.n:,} draws, by chance or exactly, at the limit {self.reason}"
        size = f"the error {errors[i]:.3g} of {part} (noise {self.noise[i]:.2g}, bias {self.biases[i]:.2g})"
        how = "is within" if self.reached else "is not within"
        return (
            f"{size} {how} the tolerance {tolerances[i]:.3g}{'' if self.reached else f', at the limit {self.reason}'}"
        )
