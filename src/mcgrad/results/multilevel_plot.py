"""The figure of a multilevel estimate: how means and variances fall, and where the draws and the cost are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcgrad.results.levels import Level
from mcgrad.results.rates import Rate
from mcgrad.system import packages

MOST = 6  # parts of which a line is drawn


def plot(
    levels: Sequence[Level],
    places: Mapping[str, slice],
    alpha: Mapping[str, Rate],
    beta: Mapping[str, Rate],
    path: str | Path | None = None,
) -> Any:
    """Plot, by level, the means and the variances of the differences, the draws, and the shares of the cost.

    Parameters
    ----------
    levels : sequence of Level
    places : mapping from str to slice
        Components of the value, and of the gradient in each parameter: norms of means, sums of variances.
    alpha, beta : mapping from str to Rate
        For the legends.
    path : str or Path, optional
        Where to save the figure.

    Returns
    -------
    matplotlib Figure
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"MultilevelEstimate.plot needs matplotlib: {packages.install(packages.PLOT)}") from None
    figure = Figure(figsize=(15, 3.6), layout="constrained")
    means, variances, draws, costs = figure.subplots(1, 4)
    x = np.arange(len(levels))
    for name, where in list(places.items())[:MOST]:
        sizes = np.array([np.linalg.norm(level.mean[where]) for level in levels])
        errors = np.array([np.linalg.norm(level.stderr[where]) for level in levels])
        means.errorbar(x, sizes, yerr=errors, fmt="o-", capsize=2, label=f"{name}: alpha {alpha[name]}")
        totals = np.array([level.variance[where].sum() for level in levels])
        variances.plot(x, np.where(totals > 0, totals, np.nan), "o-", label=f"{name}: beta {beta[name]}")
    draws.plot(x, [level.n for level in levels], "o-")
    costs.bar(x, [level.work for level in levels])
    for axes, label in ((means, "size of the mean"), (variances, "variance of one draw"), (draws, "draws")):
        axes.set(yscale="log", ylabel=label)
    costs.set(ylabel="cost")
    for axes in (means, variances):
        axes.legend(fontsize="small")
    for axes in (means, variances, draws, costs):
        axes.set(xlabel="level", xticks=x)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
