"""The printed tables of a multilevel estimate: of its components, and of its levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcgrad.moments import Float64Array
from mcgrad.results.columns import aligned
from mcgrad.results.components import Components
from mcgrad.results.format import EDGE, MOST_LINES
from mcgrad.results.levels import Level
from mcgrad.system.printable import line


def table(mean: Float64Array, noise: Float64Array, biases: Float64Array, components: Components) -> list[str]:
    """Return a line for each component: estimate, standard error and bias; of many the first and the last."""
    size = components.gradient.stop
    shown = [*range(size)] if size <= MOST_LINES else [*range(EDGE), *range(size - EDGE, size)]
    rows = []
    for i in shown:
        if size > MOST_LINES and i == size - EDGE:
            rows.append((f"... {size - 2 * EDGE:,} more", "", "", ""))
        rows.append((line(str(components[i])), *_digits(mean[i], noise[i], biases[i])))
    return aligned([("", "estimate", "std. error", "bias"), *rows])


def _digits(mean: float, noise: float, bias: float) -> tuple[str, str, str]:
    """Print a mean to two digits of its error."""
    error = float(np.hypot(noise, bias))
    if not np.isfinite(error) or not np.isfinite(mean) or error == 0:
        return f"{mean:.10g}", f"{noise:.2g}", f"{bias:.2g}"
    decimals = int(1 - np.floor(np.log10(error)))
    if not 0 <= decimals <= 12:
        return f"{mean:.6e}", f"{noise:.1e}", f"{bias:.1e}"
    return f"{mean:z.{decimals}f}", f"{noise:.{decimals}f}", f"{bias:.{decimals}f}"


def level_lines(levels: Sequence[Level], components: Components) -> list[str]:
    """Return a line for each level: draws, cost, share of the cost, and means and deviations of one draw.

    Of a value or a gradient with several numbers those of the largest.
    """
    total = sum(level.work for level in levels)
    header = ["level", "draws", "cost of one", "share", "mean", "deviation"]
    parts = [components.values]
    if components.shapes:
        header += ["of gradient: mean", "deviation"]
        parts.append(components.gradient)
    rows = []
    for i, level in enumerate(levels):
        cells = [str(i), f"{level.n:,}", f"{level.cost:,.4g}", f"{level.work / total:.0%}"]
        for where in parts:
            mean, deviation = level.mean[where], np.sqrt(level.variance[where])
            largest = mean[np.argmax(np.abs(mean))] if len(mean) else 0.0
            cells += [f"{largest:.3g}", f"{deviation.max(initial=0.0):.3g}"]
        rows.append((*cells, f"{np.nan_to_num(level.kurtosis).max():.3g}"))
    return aligned([(*header, "kurtosis"), *rows], left=())
