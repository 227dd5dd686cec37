"""The small problems once on the GPU, few draws, every variant of their kernels: for compute-sanitizer to watch."""

from gpu_worker import cases
from peers.gpu.mcgrad_job import estimator

import mcgrad as mg

DRAWS = 3 * 8192 + 5  # whole chunks, and a part of one

for name in ("noise", "scalar", "rosenbrock10"):
    for dtype in ("float32", "float64"):
        problem = cases()[name]
        est = estimator(problem, dtype)
        found = est(DRAWS, seed=1, first=3)
        print(name, dtype, found.value, found.stderr, flush=True)

pole = mg.Estimator(lambda z: 1 / (z - z), mg.Normal(0.0, 1.0), backend="cuda", nonfinite="omit")
print("careful", pole(1000, seed=1).nonfinite)
