"""The printed table of an estimate: a line for each component, to the digits that its standard error supports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mcgrad.moments import Float64Array
from mcgrad.results.columns import aligned
from mcgrad.results.components import Components
from mcgrad.results.interval import quantile, relative_error
from mcgrad.results.pareto import INFINITE
from mcgrad.results.second import Second
from mcgrad.results.stopping import Stopping
from mcgrad.system.kind import Kinds
from mcgrad.system.printable import line

MOST_LINES, EDGE = 24, 10  # a table has at most so many lines; a longer one shows so many at either end
NORMAL_95, MANY = 1.959963984540054, 1000  # what Student's t differs from by 0.1%, from so many degrees of freedom on
SMALL = 1e-6  # numbers below it are printed with an exponent
FEW = 10  # degrees of freedom below which a standard error has a relative error of a quarter, or nearly


def lines(mean: Float64Array, error: Float64Array, degrees: int, components: Components, looks: int = 1) -> list[str]:
    """Return the lines of the table, its header first.

    Parameters
    ----------
    mean, error : array, shape (K,)
        Estimates and standard errors.
    degrees : int
        Degrees of freedom of the standard errors.
    components : Components
        What they are of. What a covariance is made of is left out.
    looks : int
        As for the ends of intervals.
    """
    return aligned([("", "estimate", "std. error", "95% interval"), *_cells(mean, error, degrees, components, looks)])


def _cells(
    mean: Float64Array, error: Float64Array, degrees: int, components: Components, looks: int
) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, estimate, standard error and interval of each component, but for the middle of many."""
    size = components.derivatives.stop
    reach = NORMAL_95 if degrees >= MANY and looks == 1 else float(quantile(0.95, degrees, looks))
    cut = size > MOST_LINES
    for i in [*range(EDGE), *range(size - EDGE, size)] if cut else range(size):
        if cut and i == size - EDGE:
            yield f"... {size - 2 * EDGE:,} more", "", "", ""
        yield (line(str(components[i])), *_digits(float(mean[i]), float(error[i]), reach))


def _digits(mean: float, error: float, reach: float) -> tuple[str, str, str]:
    """Print a mean to two digits of its standard error, the error, and the interval of so many of these."""
    low, high = mean - reach * error, mean + reach * error
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{mean:.6g}", f"{error:.2g}", ""
    if error == 0:
        return f"{mean + 0.0:.10g}", "0", ""  # -0.0 is 0
    if error < math.ulp(mean):
        return f"{mean:.17g}", f"{error:.2g}", ""  # all the digits that a float has
    decimals = 1 - math.floor(math.log10(error))
    if decimals <= 12 and SMALL <= max(abs(mean), error) < 1e9:
        decimals = max(decimals, 0)
        return f"{mean:z.{decimals}f}", f"{error:.{decimals}f}", f"[{low:z.{decimals}f}, {high:z.{decimals}f}]"
    digits = min(max(decimals + math.floor(math.log10(max(abs(low), abs(high)))), 1), 17)
    return f"{mean:.{digits}e}", f"{error:.1e}", f"[{low:.{digits}e}, {high:.{digits}e}]"


def shapes_line(components: Components) -> str:
    """Return the shape of a value, or those of the arrays in it."""
    return ", ".join(f"{path}: {shape}" if path else f"{shape}" for path, shape in components.value.items())


def run(n: int, dtype: str, backend: str, seconds: float, seed: int, first: int) -> str:
    """Say what was run, and how fast that was."""
    speed = f" ({n / seconds:.3g} draws/s)" if seconds > 0 else ""
    begins = f", first draw {first:,}" if first else ""
    return f"{n:,} draws, {dtype}, {backend}, {duration(seconds)}{speed}, seed {seed}{begins}"


def origin(method: str | Mapping[str, str], choice: str, group: int, antithetic: bool = False) -> list[str]:
    """Say how a gradient was estimated, where that is not the plain pathwise way."""
    if method == "pathwise" and not choice and group == 1:
        return []
    named = method if isinstance(method, str) else ", ".join(f"{path}: {name}" for path, name in method.items())
    groups = f", in groups of {group} draws" if group > 1 else ""
    if antithetic:
        groups = ", in antithetic pairs" + (f" of {group // 2} draws each" if group > 2 else "")
    return [line(f"gradient by {named}{groups}{f' ({choice})' if choice else ''}")]


def second_lines(second: Second) -> list[str]:
    """Say how second derivatives were estimated."""
    if not second:
        return []
    how = second.method
    said = how if isinstance(how, str) else "; ".join(f"{pair}: {way}" for pair, way in how.items())
    return [line(f"second derivatives by {said}")]


def kinds_lines(kinds: Kinds) -> list[str]:
    """Return lines on the kinds of the processes, where there are several."""
    if len(kinds) < 2:
        return []
    return [
        line("by processes of several kinds, between which last digits may differ:"),
        *(line(f"  {kind}") for kind in kinds),
    ]


def stopping_lines(stopping: Stopping | None) -> list[str]:
    """Say how a run ended that looks at its error."""
    return [] if stopping is None else [line(f"stopped {stopping}")]


def weights_line(size: float, n: int, tail: float) -> str:
    """Say how far weighted draws go, and how heavy the tail of what they average is."""
    short = f", above {INFINITE:.2g}: intervals are too short" if tail > INFINITE else ""
    known = f"Pareto k of the weighted draws {tail:.2f}{short}; " if not math.isnan(tail) else ""
    return f"{known}effective sample size of the weights alone {size:,.0f} of {n:,}"


def few_lines(count: int, group: int) -> list[str]:
    """Say how many degrees of freedom the standard errors have, and so how far off they are, where these are few."""
    degrees = count - 1
    if not 1 <= degrees < FEW:
        return []
    draws = f"{count} groups of {group} draws" if group > 1 else f"{count} draws"
    freedom = f"{degrees} {'degree' if degrees == 1 else 'degrees'} of freedom"
    return [f"Standard errors of {draws} have {freedom}: their own relative error is {relative_error(degrees):.0%}."]


def nonfinite_lines(nonfinite: int, groups: int, omitted: bool, count: int) -> list[str]:
    """Say that so many groups of draws were not finite, and whether any of the others are left."""
    if not nonfinite:
        return []
    one = nonfinite == 1
    start = f"{nonfinite:,} {'draw' if one else 'draws'} had a value or gradient that is not finite"
    if omitted:
        left = "the estimate is of the other draws only" if count else "none is left"
        return [f"{start} and {'was' if one else 'were'} left out: {left}."]
    if nonfinite == groups:
        return [f"{start}: that is all of them."]
    return [f'{start}; the components affected are NaN. nonfinite="omit" leaves such draws out.']


def extent_lines(name: str, means: Mapping[str, Any], errors: Mapping[str, Any]) -> list[str]:
    """Say of arrays by dotted path, whose names follow that of all, how large numbers and standard errors are."""
    return [
        f"{'.'.join(filter(None, (name, path)))} {np.shape(x)}: {_extent(x)}, std. error {_extent(errors[path])}"
        for path, x in means.items()
    ]


def _extent(x: Any) -> str:
    """Return the smallest and the largest of some numbers, those that are not finite aside."""
    x = np.asarray(x)
    x = x[np.isfinite(x)]
    if not x.size:
        return "no finite number"
    low, high = float(x.min()), float(x.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def duration(seconds: float) -> str:
    """Print a time to three digits, in seconds, milliseconds or microseconds."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
