"""Each folder imports only from those below it, and the kernels import nothing of mcgrad but kernels."""

import runpy
from pathlib import Path

import mcgrad
import mcgrad.kernels

ROOT = Path(mcgrad.__file__).parent
(KERNELS,) = map(Path, mcgrad.kernels.__path__)  # in the checkout not below the others
LAYERS = """
    kernels errors system
    tree moments pickles
    cache arrays
    noise reals
    results ir paths
    differentiate trace
    simplify codegen toolchain
    functions
    sde
    distributions
    inputs
    gradients
    backends
    tasks
    engine
    validate jax torch
    jobs
    cli
    __main__ __init__
"""  # from the bottom up; those in one line do not import each other
imported = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "structure.py"))["imported"]
HEIGHT = {name: i for i, names in enumerate(LAYERS.split("\n")) for name in names.split()}


def test_imports_point_downwards():
    owners = {path: path.relative_to(ROOT).with_suffix("").parts[0] for path in sorted(ROOT.rglob("*.py"))}
    owners |= dict.fromkeys(sorted(KERNELS.rglob("*.py")), "kernels")
    assert {*owners.values()} == {*HEIGHT}
    assert len(HEIGHT) == len(LAYERS.split())
    assert [
        f"{path} imports {'.'.join(names)}"
        for path, own in owners.items()
        for names in imported(path)
        if names[0] not in (own, "__version__") and HEIGHT[names[0]] >= HEIGHT[own]
    ] == []
