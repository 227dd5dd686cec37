"""The table of methods: a method is a file of this folder, which ends with its record, and an entry here."""

from __future__ import annotations

import copyreg

from mcgrad.gradients.difference import DIFFERENCE
from mcgrad.gradients.measure_valued import MEASURE_VALUED
from mcgrad.gradients.method import Method
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.score import SCORE
from mcgrad.gradients.stl_dreg import DREG, STL

TABLE = (PATHWISE, SCORE, MEASURE_VALUED, STL, DREG, DIFFERENCE)
METHODS = {method.name: method for method in (*TABLE, *(each for method in TABLE for each in method.controlled()))}
BASELINES = tuple(dict.fromkeys(control.name for method in TABLE for control in method.controls))


def named(name: str) -> Method:
    """Return a method of the table."""
    return METHODS[name]


copyreg.pickle(Method, lambda method: (named, (method.name,)))
