"""Speed of gamma gradients under pytest-benchmark, one group a dtype: `gamma.py` beside its peers."""

import gamma
import pytest


@pytest.mark.parametrize("name", list(gamma.PEERS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gamma_gradient(benchmark, dtype, name):
    if name != "mcgrad":
        pytest.importorskip(name)
    benchmark.group = f"gamma8 {dtype}"
    found = benchmark.pedantic(gamma.PEERS[name], (dtype, 2, 2.0), rounds=1, iterations=1)
    benchmark.extra_info["draws_per_second"] = found
