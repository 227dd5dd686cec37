"""The numbers of draws of levels that reach given variances at the least cost."""

from __future__ import annotations

import numpy as np

from mcgrad.moments import Float64Array

ROUNDS = 2000  # each of a few multiplications for a component and a level
TINY = 1e-200  # that no multiplier is lost for good
EXCESS = 1e-3  # of the cost over its lower bound, at which the search ends


def allocation(variances: Float64Array, costs: Float64Array, targets: Float64Array) -> Float64Array:
    """Return how many draws each level takes, as real numbers, so that the sum of the variances of means is small.

    It minimises sum_l n_l C_l where, for each component k, sum_l V_lk / n_l <= target_k.

    Parameters
    ----------
    variances : array, shape (levels, components)
        V_lk: of one draw.
    costs : array, shape (levels,)
        C_l: of one draw, above 0.
    targets : array, shape (components,)
        What the variance of the sum of the means of all levels may be. A component that has no variance at any level
        asks for no draws; one that has some, and a target of 0, for infinitely many.

    Returns
    -------
    array, shape (levels,)

    Notes
    -----
    For one component n_l is lambda sqrt(V_l / C_l) (Giles 2008). For several the problem is convex, and
    n_l = sqrt(sum_k mu_k V_lk / C_l), but for a factor, with multipliers mu that are not negative and add up to 1.
    With v = V / target, the cost of that is (sum_l sqrt(C_l sum_k mu_k v_lk))^2, which the right multipliers maximise.
    Multiplying each by r_k = sum_l v_lk / n_l, which leaves their sum as it is, goes uphill and rests where all r_k are
    1 or multiply 0 (Silvey, Titterington and Torsney, An algorithm for optimal designs on a finite design space, 1978).
    The largest r_k is the cost of what is returned over a lower bound of all costs.

    References
    ----------
    Giles, Multilevel Monte Carlo path simulation, Operations Research 56, 2008. Giles, Multilevel Monte Carlo methods,
    Acta Numerica 24, 2015.
    """
    random = variances.max(axis=0, initial=0.0) > 0
    variances, targets = variances[:, random], targets[random]
    if not len(targets):
        return np.zeros(len(costs))
    if not targets.all():
        return np.full(len(costs), np.inf)
    scaled = variances / targets
    weights = np.full(len(targets), 1 / len(targets))
    for _ in range(ROUNDS):
        draws = np.sqrt(scaled @ weights / costs)
        draws *= draws @ costs
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.where(scaled > 0, scaled / draws[:, None], 0.0).sum(axis=0)
        most = reached.max()
        if most <= 1 + EXCESS:
            break
        weights = np.maximum(weights * reached, TINY)
    return np.asarray(draws * most)
