"""Functions of matrices: what they take to compile, with gradients, and how many draws a second.

    python bench/matrices.py [--rows 5 12 20 50] [--only solve] [--dtype float64]

Each is a sum of a function of a matrix of the draw, differentiated in 2 n parameters. Seconds are those of the
processor, in a process of its own with an empty cache, so the first line of a table includes Numba's start.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cholesky": lambda a: np.sum(np.linalg.cholesky(a) ** 2),
    "solve_triangular": lambda a: np.sum(linalg.solve_triangular(a, np.arange(1.0, len(a) + 1), lower=True) ** 2),
    "solve": lambda a: np.sum(np.linalg.solve(a, np.arange(1.0, len(a) + 1)) ** 2),
    "inv": lambda a: np.sum(np.linalg.inv(a) ** 2),
    "det": lambda a: np.linalg.det(a / (len(a) + 1)),
    "slogdet": lambda a: np.linalg.slogdet(a).logabsdet,
    "eigvalsh": lambda a: np.sum(np.linalg.eigvalsh(a) ** 2 * np.arange(len(a))),
    "eigh": lambda a: np.sum(np.linalg.eigh(a).eigenvectors ** 2 * np.arange(len(a))),
}


def row(name: str, n: int, dtype: str) -> str:
    """Compile one function, run it, and return its row."""
    import mcgrad as mg

    factor = np.random.default_rng(0).normal(size=(n, n))
    gram = factor @ factor.T + n * np.eye(n)

    def f(z: Any, *, gram: Any, weight: Any) -> Any:
        scale = np.exp(z)
        return FUNCTIONS[name](gram + scale[:, None] * scale + np.diag(weight * scale))

    given = {"data": {"gram": gram}, "params": {"weight": np.ones(n)}, "wrt": ["loc", "weight"]}
    begin = time.process_time()
    estimator = mg.Estimator(f, mg.Normal(np.zeros(n), 0.1), backend="cpu", dtype=dtype, **given)
    estimator(200, seed=1)
    compiled = time.process_time() - begin
    draws, begin = max(200, 4_000_000 // n**3), time.perf_counter()
    estimator(draws, seed=2)
    rate = draws / (time.perf_counter() - begin)
    return f"{name:18}{n:5}{compiled:12.1f}{len(estimator.program.body()):12}{rate:16,.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[5, 12, 20, 50])
    parser.add_argument("--only", choices=FUNCTIONS, nargs="+", default=list(FUNCTIONS))
    parser.add_argument("--dtype", default="float64")
    args = parser.parse_args()
    print(f"{'function':18}{'rows':>5}{'compile s':>12}{'equations':>12}{'draws/s':>16}")
    for name in args.only:
        for n in args.rows:
            print(row(name, n, args.dtype), flush=True)


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MCGRAD_CACHE_DIR"] = folder
        main()
