"""Choose a backend by its estimate of the time, and the next best one where it fails.

`Runner` makes a `Dispatched` for its Program; `Averager` runs the kernel of it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mcgrad.backends.base import Backend, Cost, Kernel, OnDevices, load_rows, loaded
from mcgrad.backends.rates import Rated
from mcgrad.backends.registry import AUTO, backends, find
from mcgrad.errors import BackendError, BackendWarning, ParameterError, user_level
from mcgrad.ir.program import Program
from mcgrad.results.format import duration
from mcgrad.system.locks import Lock

CUDA = "cuda"  # the backend whose devices arrays may be on
CALL = 1_000_000  # draws of a call, where their number is not given
LITTLE = 0.05  # seconds: compiling takes longer, so that a smaller cost is of loading
SOON = 3e-3  # seconds: where one backend takes less, the costs of the others are not estimated


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """A backend, and the reasons for the choice.

    Parameters
    ----------
    backend : Backend
    costs : dict of str to Cost
        Estimates, by backend.
    missing : dict of str to str
        Why backends with less cost cannot run.
    """

    backend: Backend
    costs: Mapping[str, Cost]
    missing: Mapping[str, str]


def choose(
    name: str,
    program: Program,
    draws: int | None,
    threads: int,
    failed: Mapping[str, str] | None = None,
    prefer: str | None = None,
    rows: int | None = None,
) -> BackendChoice:
    """Choose a backend for a Program.

    Parameters
    ----------
    name : str
        A backend's name, or "auto" for the one with the least time by its own estimate, the first registered of equals.
    program : Program
    draws : int or None
        Number of draws of one call. None for many calls: a million draws each are assumed, and the time of compiling
        does not count.
    threads : int
    failed : dict of str to str, optional
        Backends that have failed, and why.
    prefer : str, optional
        The backend that "auto" takes if it can run, whatever its cost.
    rows : int, optional
        Of a batch, how many rows it has, and of a point set how many replicates; `draws` are those of all rows.

    Raises
    ------
    BackendError
        The backend cannot run here, or none can.
    """
    if name != AUTO:
        return BackendChoice(find(name), {}, {})
    failed = failed or {}
    known = {key: backend for key, backend in backends().items() if key not in failed}
    if prefer in known and known[prefer].unavailable() is None:
        return BackendChoice(known[prefer], {}, {})
    costs: dict[str, Cost] = {}
    for key, backend in known.items():
        costs[key] = _cost(backend, program, draws, threads, rows)
        if draws is not None and costs[key].total < SOON and backend.unavailable() is None:
            break
    missing: dict[str, str] = {}
    ready: set[str] = set()
    while left := [key for key in costs if key not in missing]:
        best = min(left, key=lambda key: _seconds(costs[key], draws))
        if best in ready:
            return BackendChoice(known[best], costs, missing)
        reason = known[best].unavailable()
        if reason is None:  # its device may be loaded now, so that its estimate is better
            costs[best] = _cost(known[best], program, draws, threads, rows)
            ready.add(best)
        else:
            missing[best] = f"is not available: {reason}"
    raise BackendError(f"no backend is left: {'; '.join(f'{key} {why}' for key, why in {**failed, **missing}.items())}")


class Running(NamedTuple):
    """A Program compiled by the backend that was chosen."""

    backend: Backend
    kernel: Kernel
    choice: BackendChoice


class Dispatched:
    """A Program on a backend; for "auto" on the next best one as soon as that one fails.

    Parameters
    ----------
    name, program, draws, threads, prefer, rows
        As for `choose`.
    devices : iterable of int, optional
        Which devices the kernel may use, where it has a choice.
    why : str
        The reason that `reason` returns for the preferred backend.

    Attributes
    ----------
    running : Running
    """

    def __init__(
        self,
        name: str,
        program: Program,
        draws: int | None,
        threads: int,
        devices: Iterable[int] | None = None,
        prefer: str | None = None,
        why: str = "",
        rows: int | None = None,
    ) -> None:
        self.name, self.program, self.draws, self.threads, self.rows = name, program, draws, threads, rows
        self.devices, self.prefer, self.why = devices, prefer, why
        self._failed: dict[str, str] = {}
        self._lock = Lock()
        self.running = self._compile()
        self._warn()

    def fall_back(self, failed: Running, error: BackendError) -> None:
        """Change to the next best backend after an error in a run; raise the error where the user named the backend.

        Parameters
        ----------
        failed : Running
            The one that raised. Another thread may have replaced it already.
        error : BackendError
        """
        with self._lock:
            if failed is self.running:
                self._fail(failed.backend, error)
                self.running = self._compile()
        self._warn()

    def reason(self) -> str:
        """Return why this backend was chosen. Checks whether all backends can run, which may import them."""
        if self.name != AUTO:
            return "as asked for"
        backend, _, choice = self.running
        if backend.name not in choice.costs:
            return self.why
        cost = choice.costs[backend.name]
        steps = {"to load or compile": cost.compile, "to start": cost.start, "for the draws": cost.draws}
        parts = [f"{duration(time)} {what}" for what, time in steps.items() if time]
        if self.draws is None:
            parts = [f"a call of {CALL:,} draws, compiling aside"]
        elif 0 < cost.compile < LITTLE:
            parts[0] = "compiled already"
        total = duration(_seconds(cost, self.draws))
        reason = "; ".join([f"{total} estimated: {', '.join(parts)}", *self._others()])
        if isinstance(backend, Rated) and not backend.rates().measured:
            reason += "; by default rates, `mcgrad tune` measures this machine's"
        return reason

    def _others(self) -> Iterator[str]:
        """Yield the cost of each other backend, or why it cannot run."""
        choice, passed = self.running.choice, self._passed()
        for name, backend in backends().items():
            if name in passed:
                yield f"{name} {passed[name]}"
            elif name != self.running.backend.name:
                missing = backend.unavailable()
                cost = choice.costs.get(name) or _cost(backend, self.program, self.draws, self.threads, self.rows)
                time = duration(_seconds(cost, self.draws))
                yield f"{name} {time}" if missing is None else f"{name} is not available: {missing}"

    def _passed(self) -> dict[str, str]:
        return {**self._failed, **self.running.choice.missing}

    def _compile(self) -> Running:
        while True:
            choice = choose(self.name, self.program, self.draws, self.threads, self._failed, self.prefer, self.rows)
            try:
                return Running(choice.backend, self._kernel(choice.backend), choice)
            except BackendError as error:
                self._fail(choice.backend, error)

    def _kernel(self, backend: Backend) -> Kernel:
        kernel = backend.compile(self.program)
        if self.draws is not None:  # before anything runs
            if self.rows is None:
                loaded(kernel, self.draws)
            elif self.rows:
                load_rows(kernel, 0, self.draws // self.rows)
        if self.devices is None:
            return kernel
        if isinstance(kernel, OnDevices):
            return kernel.on(self.devices)
        if self.name != AUTO:
            raise ParameterError("devices", f"{self.devices} with backend {backend.name!r}", "None, or backend 'cuda'")
        return kernel

    def _fail(self, backend: Backend, error: BackendError) -> None:
        if self.name != AUTO:
            raise error
        self._failed[backend.name] = f"failed: {error}"

    def _warn(self) -> None:
        """Warn of each backend that failed or is missing, once in a process for each reason, numbers in it aside."""
        for name, reason in self._passed().items():
            key = (name, re.sub(r"\d+", "", reason))
            if key not in _warned:
                _warned.add(key)
                message = f'backend "{name}" {reason}. "auto" runs on "{self.running.backend.name}" instead.'
                warnings.warn(message, BackendWarning, stacklevel=user_level())


_warned: set[tuple[str, str]] = set()


def _seconds(cost: Cost, draws: int | None) -> float:
    """Return the seconds by which backends are compared."""
    return cost.start + cost.draws if draws is None else cost.total


def _cost(backend: Backend, program: Program, draws: int | None, threads: int, rows: int | None) -> Cost:
    """Return the cost of a call by a backend, which starts one for each row unless it averages many rows at once."""
    cost = backend.cost(program, CALL if draws is None else draws, threads)
    if rows is None or getattr(backend, "averages_rows", False):
        return cost
    return replace(cost, start=cost.start * max(rows, 1))
