"""Rates of this machine: the constants from which backends estimate the time of a run, measured or by default.

Every backend has defaults. `mcgrad tune` measures them and keeps what it finds in the cache folder, by machine: the
processor, how many of them this process may use, and the versions of mcgrad and Numba. Nothing else writes the file,
and a process reads it once, so that what ``backend="auto"`` chooses changes when the user says so, not by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mcgrad import __version__
from mcgrad.backends.base import Backend, Cost
from mcgrad.cache import folder
from mcgrad.cache.settings import cache_folder
from mcgrad.cache.warning import once
from mcgrad.ir.program import Program
from mcgrad.system.machine import available_processors, processor, version


@dataclass(frozen=True, slots=True)
class Rates:
    """Constants of one backend on one machine.

    Parameters
    ----------
    name : str
        Of what was measured: the backend, with the device if it has one ("cuda: NVIDIA H100").
    float32, float64 : float
        Multiplications a second of one worker, as `Program.work` counts them.
    call : float
        Seconds that a call takes besides its draws.
    load : float
        Seconds until the backend is ready, once a process.
    compile, equation : float
        Seconds to compile a short Program, and what each equation adds.
    gigabyte : float
        Seconds to move a gigabyte of parameters and data to where the backend works.
    measured : bool
        Whether by `mcgrad tune`, on this machine.
    """

    name: str
    float32: float
    float64: float
    call: float
    load: float = 0.0
    compile: float = 0.0
    equation: float = 0.0
    gigabyte: float = 0.0
    measured: bool = False

    def cost(
        self, program: Program, draws: int, *, workers: float = 1.0, load: bool = False, compile: bool = False
    ) -> Cost:
        """Estimate what a call takes.

        Parameters
        ----------
        program : Program
        draws : int
        workers : float
            How many work at once.
        load, compile : bool
            Whether the backend has yet to be loaded, and the Program to be compiled.
        """
        code = self.compile + self.equation * len(program.body()) if compile else 0.0
        speed = self.float32 if program.dtype == "float32" else self.float64
        return Cost(
            compile=code + (self.load if load else 0.0),
            start=self.call + self.gigabyte * input_bytes(program) / 1e9,
            draws=draws * program.work() / (speed * workers),
        )

    def __str__(self) -> str:
        moved = f", {self.gigabyte:.2g} s/GB" if self.gigabyte else ""
        code = f", compiling {self.compile:.2g} s + {1e3 * self.equation:.2g} ms/equation" if self.compile else ""
        return (
            f"{self.float32:.2g} multiplications/s in float32, {self.float64:.2g} in float64, "
            f"{1e6 * self.call:.3g} us/call{moved}{code} ({'measured' if self.measured else 'defaults'})"
        )


@runtime_checkable
class Rated(Backend, Protocol):
    """A backend whose costs come from rates, which `mcgrad tune` then measures."""

    def rates(self) -> Rates:
        """Return the rates in use."""


FILE = "rates.json"
NUMBERS = [field.name for field in fields(Rates) if field.name not in ("name", "measured")]


def input_bytes(program: Program) -> int:
    """Size of the parameters and the data that a Program reads."""
    return sum(var.size for var in program.equations() if var.op == "input") * (4 if program.dtype == "float32" else 8)


def current(default: Rates) -> Rates:
    """Return the rates that were measured on this machine under the name of `default`, or else `default`."""
    return _measured(rates_file()).get(default.name, default)


def is_measured() -> bool:
    """Whether any rates were measured on this machine."""
    return bool(_measured(rates_file()))


def rates_file() -> Path:
    """Where measured rates are kept."""
    return cache_folder() / FILE


@cache
def machine() -> str:
    """Name what rates depend on besides the backend."""
    return f"{processor()}, {available_processors()} usable, mcgrad {__version__}, numba {version('numba')}"


def keep(measured: Iterable[Rates]) -> Path | None:
    """Write rates to the file, at once or not at all, beside those of other machines.

    Returns
    -------
    Path or None
        The file; None where it cannot be written.
    """
    path = rates_file()
    tables = _tables()
    ours = tables.get(machine())
    table = {rates.name: {name: float(f"{asdict(rates)[name]:.4g}") for name in NUMBERS} for rates in measured}
    tables[machine()] = {**ours, **table} if isinstance(ours, dict) else table
    try:
        return path if folder.write(FILE, json.dumps(tables, indent=2).encode()) else None
    finally:
        _measured.cache_clear()


@cache
def _measured(path: Path) -> dict[str, Rates]:
    """Return this machine's rates by name, as the file of a path has them; none of those that cannot be read."""
    tables = _tables()
    ours = tables.get(machine()) if tables else None
    if not isinstance(ours, dict):
        return {}
    return {name: rates for name, table in ours.items() if (rates := _parsed(name, table)) is not None}


def _tables() -> dict[str, Any]:
    try:
        tables = json.loads(folder.read(FILE) or b"{}")
    except folder.UnusableError as error:
        once(f"{rates_file()} {error}: rates are the defaults.")
        return {}
    except (RecursionError, ValueError):  # deeply nested, or no JSON in UTF-8
        return {}
    return tables if isinstance(tables, dict) else {}


def _parsed(name: str, table: Any) -> Rates | None:
    try:
        numbers = {key: float(table[key]) for key in NUMBERS}
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
    fine = all(math.isfinite(x) and x >= 0 for x in numbers.values())
    return Rates(name, **numbers, measured=True) if fine and numbers["float32"] and numbers["float64"] else None
