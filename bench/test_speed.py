"""Speed under pytest-benchmark, grouped by problem and dtype.

pytest bench --benchmark-only --benchmark-disable-gc
pytest bench --benchmark-only -k "scalar and float32"
pytest bench --benchmark-only -m gpu                       # device times, where there is one
"""

import os

import gpu
import numpy as np
import peers
import pytest
from check import DRAWS
from compare import Peer
from peers.gpu import PEERS
from problems import problems

THREADS = int(os.environ.get("MCGRAD_BENCH_THREADS", "2"))


@pytest.fixture(scope="session")
def crew():
    """Worker processes by peer, started when first asked for."""
    started = {}
    yield started
    for peer in started.values():
        peer.close()


@pytest.mark.parametrize("name", list(peers.MODULES))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", problems().values(), ids=lambda p: p.name)
def test_gradient(benchmark, crew, problem, dtype, name):
    if name not in crew:
        crew[name] = Peer(name, THREADS)
    peer = crew[name]
    if peer.unavailable:
        pytest.skip(peer.unavailable)
    ready = peer.ask("prepare", problem=problem.name, dtype=dtype)
    if "value" not in ready:
        pytest.skip(ready.get("unavailable") or ready["failed"])
    benchmark.group = f"{problem.name} {dtype}"
    benchmark.pedantic(peer.ask, ("round",), _one_call(problem, dtype), rounds=7, iterations=1)
    benchmark.extra_info["draws_per_second"] = problem.draws[dtype] / benchmark.stats["min"]
    peer.ask("drop", problem=problem.name, dtype=dtype)


@pytest.fixture(scope="session")
def gpu_crew():
    """Worker processes on the GPU by peer, started when first asked for."""
    started = {}
    yield started
    for peer in started.values():
        peer.close()


@pytest.mark.gpu
@pytest.mark.parametrize("name", list(PEERS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", problems().values(), ids=lambda p: p.name)
def test_gradient_on_a_gpu(benchmark, gpu_crew, problem, dtype, name):
    if gpu.graphics() is None:
        pytest.skip("nvidia-smi shows no GPU")
    if name not in gpu_crew:
        gpu_crew[name] = gpu.Peer(name, dry=False)
    peer = gpu_crew[name]
    if peer.unavailable:
        pytest.skip(peer.unavailable)
    ready = peer.ask("compile", problem=problem.name, dtype=dtype, budget=8, check=DRAWS)
    ready = peer.ask("tune", check=DRAWS) if "variants" in ready else ready
    if "totals" not in ready:
        pytest.skip(ready["failed"])
    benchmark.group = f"GPU, {problem.name} {dtype}"
    done = benchmark.pedantic(peer.ask, ("round",), {"calls": 5, "seed": 1}, rounds=3, iterations=1)
    benchmark.extra_info["draws_per_second"] = ready["draws"] / min(done["times"])


def _one_call(problem, dtype):
    return {"problem": problem.name, "dtype": dtype, "seconds": 0, "seed": 2}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changed", [False, True], ids=["same", "new-parameters"])
@pytest.mark.benchmark(group="warm call, n = 64, d = 10")
def test_warm_small_call(benchmark, dtype, changed):
    mcgrad_peer = pytest.importorskip("peers.mcgrad_peer")
    problem = problems()["rosenbrock10"]
    estimator = mcgrad_peer.estimator(problem, dtype, THREADS)
    changes = {name: np.asarray(v, dtype) for name, v in problem.q.items()} if changed else {}
    estimator(64, seed=0, **changes)
    benchmark(estimator, 64, seed=1, **changes)
