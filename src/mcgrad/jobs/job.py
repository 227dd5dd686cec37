"""A job: what to estimate, how, and where its results go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcgrad.distributions.base import Distribution
from mcgrad.engine.estimator import Estimator
from mcgrad.errors import renamed
from mcgrad.inputs.arguments import called


@dataclass(frozen=True)
class Place:
    """Where a job stands, for errors.

    Parameters
    ----------
    file : str
        The job file, as given.
    table : str
        Such as "[[job]] 2", or nothing.
    options : frozenset of str
        Keys that the command line gave instead.
    """

    file: str
    table: str = ""
    options: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return ", ".join(part for part in (self.file, self.table) if part)

    def key(self, path: str) -> str:
        """Name a key of the job in full."""
        if path.partition(".")[0] in self.options:
            return f"--{path}"
        return ", ".join(part for part in (self.file, self.table, path) if part)


@dataclass(frozen=True)
class Job:
    """One job, read and checked.

    Attributes
    ----------
    name : str
    place : Place
    integrand : callable or Integrand
    q : Distribution
    params, data : dict
    wrt : list of str or None
    n, seed : int
    dtype : str or None
    backend : str
    threads : int
    nonfinite : str
    method : str or dict of str to str
    baseline : str or None
    k : int
        As for `Estimator`.
    compare : bool
        Whether to compare with the NumPy reference, over `n_compare` draws.
    n_compare : int
    out : Path
        Where results go, without the ending.
    surroundings : context manager
        In which functions of the job's Python files are called.
    """

    name: str
    place: Place
    integrand: Any
    q: Distribution
    params: dict[str, Any]
    data: dict[str, Any]
    wrt: list[str] | None
    n: int
    seed: int
    dtype: str | None
    backend: str
    threads: int
    nonfinite: str
    method: str | dict[str, str]
    baseline: str | None
    k: int
    compare: bool
    n_compare: int
    out: Path
    surroundings: AbstractContextManager[None] = field(default_factory=nullcontext)

    @property
    def problem(self) -> dict[str, Any]:
        """The keywords that `Estimator` and `verify` share."""
        how = {"method": self.method, "baseline": self.baseline, "k": self.k}
        return {"params": self.params, "data": self.data, "wrt": self.wrt, "dtype": self.dtype, **how}

    def estimator(self, backend: str | None = None) -> Estimator:
        """Compile the job, for another backend than its own if one is given."""
        with self.located():
            return Estimator(
                self.integrand,
                self.q,
                **self.problem,
                backend=backend or self.backend,
                threads=self.threads,
                nonfinite=self.nonfinite,
                draws=self.n,
            )

    @contextmanager
    def located(self) -> Iterator[None]:
        """Run in the job's surroundings, and say where in the job file a parameter stands that is refused."""
        with renamed(self._key), self.surroundings:
            yield

    def _key(self, parameter: str) -> str:
        """Name the key of the job file that gives a parameter of `Estimator`."""
        head = parameter.partition(".")[0]
        homes = {"distribution": self.q.params, "params": self.params, "data": self.data}
        home = next((f"{key}." for key, names in homes.items() if head in names), "")
        return self.place.key("integrand" if head in ("f", called(self.integrand)) else f"{home}{parameter}")
