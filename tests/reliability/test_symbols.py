"""Functions from the cache never take the place of others that have their names: symbols are those of one process."""

import json
import os
import subprocess
import sys

import pytest

from mcgrad.cache.settings import CACHE_VARIABLE

MEANS = """
import json, sys
import mcgrad as mg
laws = {"normal": mg.Normal(0.0, 1.0), "uniform": mg.Uniform(-1.0, 1.0)}
print(json.dumps({x: mg.estimate(lambda z: z**2, laws[x], 4096, wrt=[], backend="cpu").value for x in sys.argv[1:]}))
"""
COUNTS = """
import os
from mcgrad.kernels import symbols
from numba.core.bytecode import FunctionIdentity
child = os.fork()
os.write(1, f"{next(FunctionIdentity._unique_ids)}\\n".encode())
if child:
    os.waitpid(child, 0)
"""


def said(program, *more):
    return subprocess.run([sys.executable, "-c", program, *more], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("first", ["normal", "uniform"])
def test_a_filler_from_the_cache_is_not_that_of_another_law(first, tmp_path, monkeypatch):
    """The first function that either process compiles is a filler: of one law here, of the other one there."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    (other,) = {"normal", "uniform"} - {first}
    alone = json.loads(said(MEANS, first))
    beside = json.loads(said(MEANS, other, first))  # the second from the cache
    assert beside[first] == alone[first]
    assert beside["normal"] == pytest.approx(1.0, abs=0.15)
    assert beside["uniform"] == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_processes_and_forked_children_number_functions_apart():
    numbers = [int(line) for _ in range(2) for line in said(COUNTS).split()]
    gaps = [abs(a - b) for i, a in enumerate(numbers) for b in numbers[:i]]
    assert len(gaps) == 6
    assert min(gaps) > 2**32
