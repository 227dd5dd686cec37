"""Results as strict JSON, which has neither arrays nor NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def listed(leaf: Any) -> Any:
    """Return an array as nested lists, anything else as it is."""
    return leaf.tolist() if isinstance(leaf, np.ndarray) else leaf


def strict(value: Any) -> Any:
    """Return `value` with floats that JSON lacks as strings that float() reads."""
    if isinstance(value, dict):
        return {name: strict(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [strict(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
