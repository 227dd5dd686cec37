"""``mcgrad tune``: measure the backends on this machine, for the choice of backend="auto"."""

from __future__ import annotations

from mcgrad.backends import rates, registry
from mcgrad.backends.rates import Rated, Rates
from mcgrad.cli.measure import measure
from mcgrad.errors import BackendError
from mcgrad.results.columns import aligned

HEADER = ("", "", "float32/s", "float64/s", "call", "load", "compile", "equation", "data")


def tune_backends() -> None:
    """Measure every backend that can run here, store the rates, and print them beside those in use before."""
    print(f"{rates.machine()}\nmeasuring; this takes some seconds, and needs a machine that does nothing else\n")
    found: list[Rates] = []
    rows: list[tuple[str, ...]] = [HEADER]
    notes: list[str] = []
    for name, backend in registry.backends().items():
        missing = backend.unavailable()
        if missing is not None:
            notes.append(f"{name} is not available: {missing}")
        elif not isinstance(backend, Rated):
            notes.append(f"{name} has no rates to measure")
        else:
            before = backend.rates()
            try:
                found.append(measure(backend))
            except BackendError as error:
                notes.append(f"{name} failed: {error}")
                continue
            rows += [_row(before.name, before), _row("", found[-1])]
    print(*aligned(rows, left=()), sep="\n")
    path = rates.keep(found)
    notes.append(f"wrote {path}" if path else f"cannot write {rates.rates_file()}: nothing is kept")
    print("", *notes, sep="\n")


def _row(name: str, found: Rates) -> tuple[str, ...]:
    return (
        name,
        "measured" if found.measured else "default",
        f"{found.float32:.2e}",
        f"{found.float64:.2e}",
        f"{1e6 * found.call:.0f} us",
        f"{found.load:.2f} s",
        f"{found.compile:.2f} s",
        f"{1e3 * found.equation:.1f} ms",
        f"{found.gigabyte:.2f} s/GB",
    )
