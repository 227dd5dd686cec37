"""The effective sample size of importance weights, from the moments of what is averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.moments import Float64Array


def of_weights(mean: Float64Array, norm: Float64Array, count: Any, group: int) -> Float64Array:
    """Return (sum w)^2 / sum w^2 over all draws.

    Parameters
    ----------
    mean, norm : array
        Mean of the weights, and root of the sum of squared deviations, over groups of draws.
    count : int or array
        Number of groups.
    group : int
        Draws in a group, or points in a replicate, whose means are what varies: a single draw varies `group` times as
        much.

    Notes
    -----
    Kong, Liu and Wong 1994; Owen 2013, section 9.3. It is n / (1 + n v), with v the relative variance of the mean of
    the weights: of draws that are averaged in groups, too, up to the error of v. Of pairs and of points, which are not
    independent, it is what v says of their mean.
    """
    with np.errstate(all="ignore"):
        spread = norm / mean
        return np.asarray(count * group / (1.0 + group * np.square(spread) / count))
