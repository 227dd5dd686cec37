"""Each file imports only from the layers below its own, and the kernels import nothing of mcgrad but kernels."""

import ast
from pathlib import Path

import mcgrad

ROOT = Path(mcgrad.__file__).parent
FILES = sorted({*ROOT.rglob("*.py"), *(ROOT / "kernels").rglob("*.py")})
LAYERS = [  # from the bottom up; a folder stands for all its files; those in one line do not import each other
    "printable",
    "kernels errors atomic recent locks cgroup",
    "triangular tree moments ranges strict machine",
    "cache packages",
    "arrays",
    "noise reals",
    "table record interval",
    "result",
    "ir",
    "trace differentiate emit",
    "magnitude",
    "simplify",
    "implicit special",
    "gammafunctions supports",
    "bijections",
    "distributions integrand",
    "arguments",
    "objectives",
    "estimators machine_code fingerprint",
    "compile pickling",
    "ptx",
    "backends progress save",
    "dispatch finish inputs run agreement perdraw rarity",
    "pilot differences",
    "steps",
    "selection",
    "estimator info",
    "api tune comparison",
    "verification",
    "jobs",
    "cli",
    "__main__ __init__",
]


def layer_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """Yield the parts of mcgrad that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] == "mcgrad":
                yield name.split(".")[1] if "." in name else "mcgrad"


def test_the_kernels_are_among_the_files():
    """They lie behind a symlink."""
    assert {"philox", "rows"} <= {path.stem for path in FILES if layer_of(path) == "kernels"}


def test_imports_point_downwards():
    height = {name: i for i, names in enumerate(LAYERS) for name in names.split()}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in imported(path)
        if name not in (own := layer_of(path), "__version__") and height.get(name, 99) >= height.get(own, -1)
    ]
    assert wrong == []


def test_every_file_has_its_place():
    known = [name for names in LAYERS for name in names.split()]
    assert len(known) == len(set(known))
    assert {layer_of(path) for path in FILES} - set(known) == set()
