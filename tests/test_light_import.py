"""Importing mcgrad loads next to nothing; using its names loads NumPy and little else."""

import re
import subprocess
import sys
from types import ModuleType

import pytest

HEAVY = [
    "numba",
    "llvmlite",
    "scipy",
    "cupy",
    "rich",
    "matplotlib",
    "threadpoolctl",
    "platformdirs",
    "jax",
    "torch",
    "dask",
    "distributed",
]


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_import_loads_nothing_heavy():
    loaded = fresh("import sys, mcgrad; print(*sys.modules)")
    assert [name for name in ("numpy", *HEAVY) if name in loaded] == []


def test_no_name_of_the_package_loads_anything_heavy():
    loaded = fresh("import sys, mcgrad; [getattr(mcgrad, name) for name in mcgrad.__all__]; print(*sys.modules)")
    assert {"numpy", "mcgrad.engine.api"} <= set(loaded)
    assert [name for name in HEAVY if name in loaded] == []


def test_the_numpy_backend_does_without_numba():
    loaded = fresh(
        "import sys, mcgrad as mg; mg.estimate(lambda z: z**2, mg.Normal(), 100, backend='numpy'); print(*sys.modules)"
    )
    assert [name for name in ("numba", "scipy", "rich") if name in loaded] == []


def test_auto_loads_no_backend_that_it_does_not_take():
    loaded = fresh("import sys, mcgrad as mg; mg.estimate(lambda z: z**2, mg.Normal(), 200_000); print(*sys.modules)")
    assert [name for name in ("numba", "llvmlite", "cupy", "scipy", "rich") if name in loaded] == []


def test_dir_shows_the_public_names():
    import mcgrad

    assert [name for name in dir(mcgrad) if not name.startswith("__")] == sorted(mcgrad.__all__)
    assert all(getattr(mcgrad, name) is not None for name in mcgrad.__all__)


def test_dir_of_a_public_module_shows_its_public_names():
    """What it imports for its own use, and the modules that it consists of, are not among them."""
    import mcgrad

    modules = [module for name in mcgrad.__all__ if isinstance(module := getattr(mcgrad, name), ModuleType)]
    assert {module.__name__.rpartition(".")[2] for module in modules} >= {"bijections", "noise", "paths", "sde", "jax"}
    for module in modules:
        shown = [name for name in dir(module) if not name.startswith("__")]
        assert shown == sorted(module.__all__), module
        if module.__name__ not in ("mcgrad.jax", "mcgrad.torch"):  # whose names need JAX and PyTorch
            assert not [name for name in shown if isinstance(getattr(module, name), ModuleType)], module


@pytest.mark.parametrize(("module", "remedy"), [("torch", "PyTorch.*torch>="), ("jax", "JAX.*jax>=")])
def test_names_of_a_framework_that_is_not_installed_say_what_to_install(module, remedy):
    code = f"""
import sys
sys.modules[{module!r}] = None
import mcgrad as mg
try:
    mg.{module}.expectation
except ModuleNotFoundError as error:
    print(error)
"""
    assert re.match(f"mcgrad.{module}.expectation needs {remedy}", " ".join(fresh(code)))
