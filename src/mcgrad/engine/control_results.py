"""Control variates of a run: what a result says of them, and a warning where the mean of one is not what was given."""

from __future__ import annotations

import warnings

import numpy as np

from mcgrad.engine.control_pilot import DEVIATION
from mcgrad.errors import ControlWarning, user_level
from mcgrad.gradients.controls import Controls
from mcgrad.ir.spaces import Values
from mcgrad.moments import Moments
from mcgrad.results.control import Controlled
from mcgrad.results.interval import quantile

FAR = 1 - 5.7e-7  # probability of five standard errors
FEWEST, FEWEST_MEANS = 30, 8  # draws (groups), or means of replicates, for a standard error


def in_results(controls: Controls, values: Values, pilot: int) -> Controlled:
    """Return the controls as a result has them.

    Parameters
    ----------
    controls : Controls
    values : mapping from Input to array
        With what their pilot has computed.
    pilot : int
        Its draws.
    """
    deviation = values[DEVIATION]
    return Controlled(controls.names, controls.coefficients, controls.entries, controls.controls, deviation, pilot)


def warn_of_wrong_means(controls: Controls, moments: Moments, of_means: bool) -> None:
    """Warn of a user's control whose mean over the draws is far from the mean that was given.

    Parameters
    ----------
    controls : Controls
    moments : Moments
        Of all outputs.
    of_means : bool
        Whether they are over means of replicates.
    """
    if not controls.watched or moments.count < (FEWEST_MEANS if of_means else FEWEST):
        return
    limit = float(quantile(FAR, moments.count - 1))
    with np.errstate(all="ignore"):
        off = np.abs(moments.mean / moments.stderr)
    said = set()
    for each in controls.watched:
        far = float(np.max(np.nan_to_num(off[each.where], nan=0.0, posinf=0.0), initial=0.0))
        if far > limit and each.name not in said:
            said.add(each.name)
            what = "its mean" if each.of == "value" else f"the derivative of its mean in {each.of}"
            over = f"{moments.count:,} {'replicates' if of_means else 'draws'}"
            warnings.warn(
                f"control {each.name!r}: {what} over {over} is {far:.3g} standard errors from that given by mean=. The "
                "estimate is biased if the mean given is wrong, or if the method does not estimate its derivative, as "
                "where h jumps",
                ControlWarning,
                stacklevel=user_level(),
            )
