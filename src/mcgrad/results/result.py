"""What the results of one problem and of a batch have in common: how they nest, merge, and are kept in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcgrad import tree
from mcgrad.errors import MergeError, ParameterError, shown
from mcgrad.results.components import Components
from mcgrad.results.ranges import Ranges, union
from mcgrad.results.ratio import Part, Whole
from mcgrad.results.record import parsed
from mcgrad.results.stopping import LOOKS, Stopping
from mcgrad.results.strict_json import dumps, signed
from mcgrad.system.kind import Kinds


class Result:
    """A result: expectations and their gradients with standard errors, over some draws of a seed.

    A subclass is a frozen dataclass. It has the numbers, as floats and arrays by dotted path (`_value`, `_stderr`,
    `_grad`, `_grad_stderr`), what a part of them is a part of (`_whole`), and its fields in a file (`to_dict`,
    `_arguments`).
    """

    components: Components
    ranges: Ranges
    seed: int
    dtype: str
    backend: str
    seconds: float
    problem: str | Callable[[], str]
    omitted: bool
    method: str | dict[str, str]
    choice: str
    group: int
    stopping: Stopping | None
    antithetic: bool
    kinds: Kinds

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"problem": self.fingerprint}  # type: ignore[arg-type]

    # Results

    @property
    def _value(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def _stderr(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def _grad(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def _grad_stderr(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def _whole(self) -> Whole:
        raise NotImplementedError

    @property
    def value(self) -> Any:
        """Estimate of E f(z); NaN where a draw spoiled it, infinite where it is so exactly."""
        return nested(self._value)

    @property
    def stderr(self) -> Any:
        """Standard error of `value`, number by number."""
        return nested(self._stderr)

    @property
    def grad(self) -> dict[str, Any]:
        """Estimate of the gradient, shaped like the parameters."""
        return self._nested(self._grad)

    def _nested(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Return derivatives by parameter, as the user gets them, of what is given by dotted path."""
        return dict(nested(flat))

    def flat(self, paths: Iterable[str], errors: bool = False) -> list[NDArray[Any]]:
        """Return the value and the gradients in some parameters, each as a single array of float64 in host memory.

        Parameters
        ----------
        paths : iterable of str
            Of the parameters.
        errors : bool
            Whether to return their standard errors instead.
        """
        raise NotImplementedError

    def joined(
        self, paths: Sequence[str], dtype: DTypeLike, errors: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the value as `flat` does, and the numbers of the gradients, one after the other, in a dtype.

        Parameters
        ----------
        paths, errors
            As for `flat`.
        dtype : float32 or float64
        """
        raise NotImplementedError

    @property
    def grad_stderr(self) -> dict[str, Any]:
        """Standard errors of `grad`, component by component."""
        return self._nested(self._grad_stderr)

    @property
    def covariance(self) -> Any:
        """Covariance of the estimates of the numbers of `value`, whose diagonal holds the squares of `stderr`.

        A float for a number; an array of shape (*shape, *shape) for an array; for a nested dict of arrays one that
        nests twice, ``est.covariance["a"]["b"]`` of shape (*shape of a, *shape of b). Of a batch whose value is by row,
        with the batch axes in front of each array.

        Raises
        ------
        ParameterError
            The estimate was not made with ``covariance=True``.
        """
        return self._whole.nested_covariance()

    @property
    def effective_sample_size(self) -> Any:
        """Draws of q that would average as well as those of a proposal, by the weights w alone: (sum w)^2 / sum w^2.

        A number; of a batch by row, whatever `reduce` is. It says how well functions are averaged that have nothing to
        do with the weights; for a rare event it is small although `stderr` is small, too (docs/importance.md).

        Raises
        ------
        ParameterError
            The estimate was made without ``proposal=``.
        """
        raise NotImplementedError

    def _check_weighted(self, name: str) -> None:
        if not self.components.weighted:
            raise ParameterError(name, "an estimate without weights", "one that was made with proposal=")

    def __getitem__(self, name: Any) -> Part:
        """Return a part of the value: an array of a dict by its name, or what an index takes out of an array.

        `mg.ratio` takes two of them; ``.value`` and ``.stderr`` are those of the estimate. The index is of the array
        that f returns, also in a batch, whose axes stay in front.
        """
        return self._whole.part(name)

    def __iter__(self) -> Iterator[Any]:
        """Iterate as f's result would: over parts along the first axis of an array, or over the names of a dict."""
        return self._whole.parts()

    @property
    def n(self) -> int:
        """Draws asked for, those that were not finite included; of a batch, of each row."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def first(self) -> int:
        """Index of the first draw."""
        return self.ranges[0][0]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of integrand, distribution, parameters and data: the same in another process, for any backend."""
        return self.problem if isinstance(self.problem, str) else self.problem()

    @property
    def _looks(self) -> int:
        """Among how many looks the probability of a miss of an interval is divided."""
        return LOOKS if self.stopping else 1

    # Merging

    def _kinds(self) -> dict[str, Any]:
        """What estimates that merge have in common, by its name in the plural."""
        return {
            "seeds": self.seed,
            "dtypes": self.dtype,
            "parameters": dict(self.components.shapes),
            "shapes of the value": dict(self.components.value),
            "kinds of gradients": self.components.contracted,
            "second derivatives": self.components.second,
            "covariances": self.components.covariance,
            "weights": self.components.weighted,
            "methods": self.method,
            "kinds of pairs": "antithetic" if self.antithetic else "none",
            "groups of draws": self.group,
            "control variates": self._kinds_of_controls,
            "treatments of non-finite draws": self.omitted,
        }

    @property
    def _kinds_of_controls(self) -> str:
        """Control variates and where their coefficients come from."""
        return "none"

    def _joined(self, late: Self) -> Ranges:
        """Return the ranges of the draws of both; raises a MergeError where they share draws."""
        return union(self.ranges, late.ranges)

    def _in_order(self, other: Self, kind: type[Self], name: str) -> tuple[Self, Self, dict[str, Any]]:
        """Return two estimates that merge in the order of their draws, and what follows for both from what each says.

        Raises
        ------
        MergeError
            They do not merge.
        """
        if not isinstance(other, kind):
            raise MergeError(f"other: given {shown(other)}; accepted: {name}")
        others = other._kinds()
        for what, mine in self._kinds().items():
            if mine != others[what]:
                raise MergeError(f"estimates of different {what}: {mine} and {others[what]}")
        if self.fingerprint != other.fingerprint:
            raise MergeError("estimates of different problems (integrand, distribution, parameters or data)")
        early, late = (self, other) if self.ranges <= other.ranges else (other, self)
        return (
            early,
            late,
            {
                "ranges": early._joined(late),
                "backend": "+".join(sorted({*early.backend.split("+"), *late.backend.split("+")})),
                "seconds": early.seconds + late.seconds,
                "problem": early.fingerprint,
                "stopping": None,
                "kinds": tuple(sorted({*early.kinds, *late.kinds})),
            },
        )

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers; :meth:`from_dict` reads it back exactly.

        ``value``, ``stderr``, ``grad`` and ``grad_stderr`` are there for other readers; :meth:`from_dict` works them
        out again from ``moments``.
        """
        raise NotImplementedError

    @staticmethod
    def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is made of the fields in a file."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the estimate that :meth:`to_dict` wrote; it merges as the original does.

        Raises
        ------
        ParameterError
            Where `fields` is not what :meth:`to_dict` writes, or does not have the digest that is among them.
        """
        return cls(**cls._arguments(fields))

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
            Not strict JSON, not such an estimate, or changed after it was written.
        """
        return cls.from_dict(parsed(text))


def nested(flat: Mapping[str, Any]) -> Any:
    """Return nested dicts of what is given by dotted path: copies of arrays, which may be written to, and floats."""
    return tree.unflatten({path: x.copy() if getattr(x, "shape", ()) else float(x) for path, x in flat.items()})
