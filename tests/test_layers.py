"""Each folder imports only from those below it, and the kernels import nothing of mcgrad but kernels."""

import ast
from pathlib import Path

import mcgrad
import mcgrad.kernels

ROOT = Path(mcgrad.__file__).parent
(KERNELS,) = map(Path, mcgrad.kernels.__path__)  # in the checkout not below the others
LAYERS = """
    kernels errors system
    tree moments
    cache arrays
    noise reals
    results ir
    differentiate trace
    simplify codegen toolchain
    functions
    distributions
    inputs
    gradients
    backends
    engine
    validate
    jobs
    cli
    __main__ __init__
"""  # from the bottom up; those in one line do not import each other
HEIGHT = {name: i for i, names in enumerate(LAYERS.split("\n")) for name in names.split()}


def imported(path):
    """Yield what of mcgrad a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}".split(".") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)


def test_imports_point_downwards():
    owners = {path: path.relative_to(ROOT).with_suffix("").parts[0] for path in sorted(ROOT.rglob("*.py"))}
    owners |= dict.fromkeys(sorted(KERNELS.rglob("*.py")), "kernels")
    assert {*owners.values()} == {*HEIGHT}
    assert len(HEIGHT) == len(LAYERS.split())
    assert [
        f"{path} imports {'.'.join(names)}"
        for path, own in owners.items()
        for names in imported(path)
        if names[0] == "mcgrad" and names[1] not in (own, "__version__") and HEIGHT[names[1]] >= HEIGHT[own]
    ] == []
