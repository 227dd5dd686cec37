"""Every op has the second derivatives of its meaning, in both modes over both, or refuses them by name."""

from __future__ import annotations

import numpy as np
import pytest

from mcgrad.ir.build import apply
from tests.ops.problems import MODES, OP_SAMPLES, central_differences, evaluate, weighted
from tests.ops.test_meaning_and_derivative import leaves_of

ONCE = {  # ops with one derivative: the rule of that reads what has none
    "digamma": "trigamma",
    "gamma_log_ratio": "gamma_slope",
}


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
@pytest.mark.parametrize("sample", [s for s in OP_SAMPLES if s.smooth], ids=lambda sample: sample.id)
def test_derivatives_of_derivatives_agree_with_central_differences(sample, inner, outer):
    at = leaves_of(sample)
    first = MODES[inner](weighted(sample.build(*at)), list(at))
    total = weighted(first[0])
    for grad in first[1:]:
        total = apply("add", total, weighted(grad))
    without = next((said for op, said in ONCE.items() if sample.id.startswith(f"{op}-")), None)
    if without is not None:
        with pytest.raises(TypeError, match=without):
            MODES[outer](total, list(at))
        return
    second = MODES[outer](total, list(at))
    for grad, want in zip(second, central_differences(total, list(at), at), strict=True):
        np.testing.assert_allclose(evaluate(grad, at)[..., 0], want, rtol=1e-7, atol=1e-7)
