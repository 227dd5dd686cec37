"""Peers on a GPU. A module has `jobs(problem, dtype, errors)`: functions that make a `Job`, the likely best first."""

import importlib
import os
from functools import partial

from peers import UnavailableError

ON_DEVICE = os.environ.get("BENCH_DEVICE", "cuda") == "cuda"  # otherwise a rehearsal on the CPU
PEERS = {  # name -> module, whether sums of squares are wanted as well, for the standard errors
    "mcgrad": ("mcgrad_job", True),
    "torch": ("torch_job", False),
    "torch-se": ("torch_job", True),
    "jax": ("jax_job", False),
    "jax-se": ("jax_job", True),
    "cupy": ("cupy_job", False),
    "cupy-se": ("cupy_job", True),
}


class Job:
    """A problem as one library runs it, `chunk` draws a round.

    `run(seed, rounds)` returns name -> (sum, sum of squares or None) over chunk * rounds draws, in NumPy's float64; the
    value's name is "". `seconds(seed, rounds)` does the same and returns the time it took on the device.
    """

    def __init__(self, chunk, run, seconds):
        self.chunk, self.run, self.seconds = chunk, run, seconds


def load(name):
    """Version and jobs of a peer; `UnavailableError`, with the reason, where it cannot run."""
    module, errors = PEERS[name]
    try:
        loaded = importlib.import_module(f"peers.gpu.{module}")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # the last: a library of another version
        raise UnavailableError(f"{name}: {error}") from error
    return loaded.VERSION, partial(loaded.jobs, errors=errors)


ELEMENTS = (2**22, 2**25)  # of a chunk's widest array: 16 MB of float32 stay in the L2 cache, 134 MB do not


def chunks_of(problem):
    """Draws of a chunk, to be tried: so many that its widest array stays in the cache, and that it fills the device."""
    widest = max(problem.noise, len(problem.data.get("y", ())))
    if not ON_DEVICE:
        return [4096]
    return list(dict.fromkeys(max(1024, 2 ** int(elements / widest).bit_length() // 2) for elements in ELEMENTS))


def squared(name):
    """Where the sum of squares of a total is kept."""
    return f"{name}^2"


def paired(totals):
    """name -> (sum, sum of squares or None) of totals by name and squared name."""
    return {name: (x, totals.get(squared(name))) for name, x in totals.items() if not name.endswith("^2")}
