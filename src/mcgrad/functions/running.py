"""Running reductions along an axis that NumPy has no function for."""

from __future__ import annotations

from typing import Any

import numpy as np


def running_logsumexp(x: Any, axis: int) -> Any:
    """The logarithm of the sum of exponentials of each element and all before it, in log2(extent) doublings."""
    ahead, extent, reach = (slice(None),) * axis, x.shape[axis], 1
    while reach < extent:
        first, rest = x[(*ahead, slice(0, reach))], x[(*ahead, slice(reach, None))]
        x = np.concatenate([first, np.logaddexp(rest, x[(*ahead, slice(0, extent - reach))])], axis)
        reach *= 2
    return x
