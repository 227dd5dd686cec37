"""Find jumps of an integrand in single draws, by bisection where two difference quotients differ.

`method="auto"` and `verify` read their contribution to a derivative, which a mean over few draws may not show.
"""

from __future__ import annotations

import numpy as np

from mcgrad.engine.quotients import Quotients
from mcgrad.moments import Float64Array
from mcgrad.results.components import Component

SMOOTH = 0.05  # relative difference of two quotients of a draw, below which there is no jump
SUSPECTS = 8  # draws that are bisected: those whose quotients differ most
BISECTIONS = 14  # of the interval of a jump
SHORT = 4 * 0.5**BISECTIONS  # length of the last one, in steps
EARLY, SLOW = 5, 0.04  # after so many there is less than this part of the change left of what only bends
ROUNDING = 1e4  # units in the last place of the value, below which nothing is a jump
STEEP = 10.0  # times the mean slope, above which the change after the last bisection counts as a jump


class Crossings:
    """Jumps of the value that draws cross as a component of a parameter moves.

    Parameters
    ----------
    quotients : Quotients
        Of the value.
    """

    def __init__(self, quotients: Quotients) -> None:
        self._quotients = quotients
        self._found: dict[tuple[Component, int], tuple[float, list[tuple[int, float, float]]]] = {}

    def contribution(self, component: Component, grad: Float64Array, size: float) -> float:
        """Return the size of what jumps contribute to the derivative in a component, in the draws that are bisected.

        The sum over draws of the change of the value that is left after bisection of the move: for a continuous value
        no more is left than its slope explains.

        Parameters
        ----------
        component : Component
        grad : array, shape (draws,)
            The gradient in it, draw by draw.
        size : float
            Size of the value, for its rounding error.
        """
        n = len(grad)
        if (component, n) not in self._found:
            self._found[component, n] = self._bisected(component, n, size)
        share, crossings = self._found[component, n]
        h = self._quotients.of(component, n).step
        steep = [across for i, across, slope in crossings if across > STEEP * (slope + abs(grad[i])) * h * SHORT]
        return share * sum(steep) / (4 * h * n)

    def _bisected(self, component: Component, n: int, size: float) -> tuple[float, list[tuple[int, float, float]]]:
        """Return draws, the change of the value that is left in each, and its mean slope.

        The draws are those whose quotients with one step and with two differ most; a first number says how many draws
        with such a difference each of them stands for.
        """
        found = self._quotients.of(component, n)
        h, near, far = found.step, found.near, found.far
        with np.errstate(all="ignore"):
            gap, least = np.abs(near - far), ROUNDING * np.finfo(np.float64).eps * size
            suspect = np.flatnonzero((gap > SMOOTH * (np.abs(near) + np.abs(far))) & (gap * h > least))
        crossings = []
        for i in suspect[np.argsort(-gap[suspect], kind="stable")][:SUSPECTS]:
            at = {by: self._quotients.value_at(component, by, int(i)) for by in (-2 * h, 2 * h)}
            low, high = at
            whole = abs(at[high] - at[low])
            for step in range(BISECTIONS):
                middle = (low + high) / 2
                at[middle] = self._quotients.value_at(component, middle, int(i))
                low, high = max(((low, middle), (middle, high)), key=lambda ends: abs(at[ends[1]] - at[ends[0]]))
                if step == EARLY and abs(at[high] - at[low]) < SLOW * whole:
                    break
            else:
                across, slope = abs(at[high] - at[low]), max(abs(near[i]), abs(far[i]), whole / (4 * h))
                if across > least:
                    crossings.append((int(i), across, slope))
        return (len(suspect) / min(len(suspect), SUSPECTS) if len(suspect) else 0.0), crossings
