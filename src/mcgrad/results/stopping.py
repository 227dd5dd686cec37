"""Runs that stop once their error is small enough: the rule that says when, and the record of how a run ended.

`engine.until` follows the rule; the record is a field of the estimate, and of its file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np

from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.reals import MOST_DRAWS, count

LOOKS = 2  # among which the probability of a miss is divided: see `StoppingRule.level`
FIRST, GROUPS = 4096, 1024  # draws of the first look, and the least groups of draws
MOST = 1 << 30  # draws of a run that says nothing of them
VALUE, GRAD, ALL = "value", "grad", "all"
SECOND = ("hessian", "hvp")  # second derivatives
NORMS = ("max", "l2")
REACHED, DRAWS, SECONDS, NONFINITE = "reached", "max_draws", "max_seconds", "nonfinite"
REASONS = (REACHED, DRAWS, SECONDS, NONFINITE)


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """When a run stops: its arguments are those of `Estimator.until`, which documents them.

    Parameters
    ----------
    rtol, atol : float
    of : str or iterable of str
        Kept as a tuple, with "value" and "grad" in place of "all".
    norm : {"max", "l2"}
    confidence : float
    start, max_draws : int, optional
    max_seconds : float, optional

    Raises
    ------
    ParameterError
        An argument is not accepted.
    """

    rtol: float = 1e-3
    atol: float = 0.0
    of: str | Iterable[str] = GRAD
    norm: str = "max"
    confidence: float = 0.95
    start: int | None = None
    max_draws: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {name: _number(name, getattr(self, name)) for name in ("rtol", "atol")}
        if not any(checked.values()):
            raise ParameterError("rtol, atol", "0 and 0, which no error is below", "a number above 0 for one of them")
        if self.norm not in NORMS:
            raise ParameterError("norm", shown(self.norm), " or ".join(map(repr, NORMS)))
        if not 0 < (confidence := _number("confidence", self.confidence)) < 1:
            raise ParameterError("confidence", shown(self.confidence), "a number between 0 and 1, such as 0.95")
        checked |= {"confidence": confidence, "of": _parts(self.of)}
        for name in ("start", "max_draws"):
            given = getattr(self, name)
            checked[name] = None if given is None else count(name, given, 2)
        if self.max_seconds is not None:
            checked["max_seconds"] = _number("max_seconds", self.max_seconds)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def given(cls, name: str, table: Any) -> Self:
        """Return the rule of a table of its arguments, such as in a file; an error names them inside `name`."""
        names = [each.name for each in fields(cls)]
        if not isinstance(table, Mapping):
            raise ParameterError(name, shown(table), f"a table of {', '.join(names)}")
        for key in table:
            if key not in names:
                raise ParameterError(f"{name}.{key}", "no such key", ", ".join(names))
        with renamed(lambda key: f"{name}.{key}"):
            return cls(**table)

    def fitted(self, start: int, most: int) -> Self:
        """Return the rule with numbers of draws for a problem.

        Parameters
        ----------
        start : int
            Draws at the first look, where the rule does not say.
        most : int
            Draws that there are, from the first of the run on.

        Raises
        ------
        ParameterError
            The first look has more draws than the run may have.
        """
        start = self.start or start
        limit = min(MOST, most) if self.max_draws is None else self.max_draws
        if not start <= limit <= most:
            raise ParameterError("max_draws", f"{limit:,}", f"from {start:,}, the first look (start=), to {most:,}")
        return replace(self, start=start, max_draws=limit)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the tolerance is of."""
        return tuple(self.of)

    @property
    def bounds(self) -> tuple[int, int]:
        """Draws at the first look, and at most, of a rule that is fitted to a problem."""
        assert self.start is not None
        assert self.max_draws is not None
        return self.start, self.max_draws

    @property
    def level(self) -> float:
        """Level of the interval at one look.

        The draws double from look to look, so the error falls by a factor of 1.4. It is known much better than that, so
        a run stops at one of two neighbouring looks but for a small probability; each look has half of 1 - confidence.
        """
        return 1.0 - (1.0 - self.confidence) / LOOKS

    def to_fields(self) -> dict[str, Any]:
        """Return the arguments as values of a file."""
        return asdict(self) | {"of": list(self.of)}


@dataclass(frozen=True)
class Stopping:
    """How a run that looks at its error ended.

    Parameters
    ----------
    reason : {"reached", "max_draws", "max_seconds", "nonfinite"}
        Whether the error is within the tolerance, or which limit came first; "nonfinite" where the components are not
        finite, which further draws do not change.
    looks : int
        How often the run has looked at its error.
    part : str
        The part of the result that is least accurate for its tolerance: "value", "grad", or a parameter's name; in a
        batch with the row.
    error, tolerance : float
        Of that part: the norm of the half widths of its intervals, and what that may be.
    rule : StoppingRule
        What was asked for, with the limits that held.
    """

    reason: str
    looks: int
    part: str
    error: float
    tolerance: float
    rule: StoppingRule

    @property
    def reached(self) -> bool:
        """Whether the error of each part is within its tolerance."""
        return self.reason == REACHED

    def __str__(self) -> str:
        looks = "1 look" if self.looks == 1 else f"{self.looks} looks"
        if self.reason == NONFINITE:
            return f"after {looks}: not all that was asked for is finite"
        how, why = ("is within", "") if self.reached else ("is not within", f", at the limit {self.reason}")
        error = f"{self.error:.3g} of {self.part} ({self.rule.norm} norm, {self.rule.confidence:g} confidence)"
        return f"after {looks}: the error {error} {how} the tolerance {self.tolerance:.3g}{why}"

    def to_fields(self) -> dict[str, Any]:
        """Return the record as values of a file."""
        return asdict(self) | {"rule": self.rule.to_fields()}

    @classmethod
    def of_fields(cls, given: Any) -> Self | None:
        """Return the record that is in a file; None for none.

        Raises
        ------
        ParameterError
            Names the field that cannot be one of a record.
        """
        if given is None:
            return None
        names = [each.name for each in fields(cls)]
        if not isinstance(given, Mapping) or set(given) != set(names):
            raise ParameterError("stopping", shown(given), f"null, or an object with {', '.join(names)}")
        for name, accepted in (("reason", REASONS), ("part", None)):
            if not isinstance(given[name], str) or (accepted and given[name] not in accepted):
                raise ParameterError(f"stopping.{name}", shown(given[name]), ", ".join(accepted or ["a string"]))
        with renamed(lambda key: f"stopping.{key}"):
            looks = count("looks", given["looks"], 1, MOST_DRAWS.bit_length())
            error, tolerance = (_number(name, _float(given[name]), odd=True) for name in ("error", "tolerance"))
            rule = StoppingRule.given("rule", given["rule"])
        return cls(given["reason"], looks, given["part"], error, tolerance, rule)


def _parts(given: Any) -> tuple[str, ...]:
    try:
        names: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    except Exception:  # a TypeError, or any exception of an object's own method
        names = ()
    if not names or not all(isinstance(name, str) for name in names):
        accepted = f"{VALUE!r}, {GRAD!r}, {ALL!r}, or one or more names of parameters"
        raise ParameterError("of", shown(given), accepted)
    return tuple(dict.fromkeys(part for name in names for part in ((VALUE, GRAD) if name == ALL else (name,))))


def _number(name: str, given: Any, odd: bool = False) -> float:
    """Return a number, 0 or more; `odd` if it may be NaN or infinite."""
    number = isinstance(given, int | float | np.floating | np.integer) and not isinstance(given, bool)
    if number and ((odd and math.isnan(given)) or (given >= 0 and (odd or math.isfinite(given)))):
        return float(given)
    raise ParameterError(name, shown(given), "a number, 0 or more")


def _float(given: Any) -> Any:
    return float(given) if isinstance(given, str) and given in ("nan", "inf") else given
