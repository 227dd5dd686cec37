"""The figure and the table at the head of architecture.md, made from the imports and docstrings of src/mcgrad.

python docs/structure.py    # writes both into the page
"""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "mcgrad"
PAGE = ROOT / "docs" / "architecture.md"
KERNELS = ROOT / "kernels"  # is mcgrad.kernels
BEGIN, END = "<!-- made by docs/structure.py: begin -->\n", "<!-- end -->\n"


def imported(path):
    """Yield what of mcgrad a file imports, wherever in the file it does, as lists of names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{name}" for name in names]
        yield from (parts[1:] for parts in (name.split(".") for name in names) if parts[0] == "mcgrad")


@cache
def arrows():
    """The folders, and the files beside them, from the top down: each with those that it imports."""
    found = {}
    owned = [(path.relative_to(SOURCE).parts[0].removesuffix(".py"), path) for path in SOURCE.rglob("*.py")]
    owned += [("kernels", path) for path in KERNELS.glob("*.py")]
    for own, path in owned:
        if not own.startswith("__"):
            found.setdefault(own, set()).update(names[0] for names in imported(path) if names[0] != "__version__")
    for own, reads in found.items():
        reads.discard(own)
    return {own: found[own] for own in sorted(found, key=lambda own: (-height(own, found), own))}


def height(own, found):
    """The longest chain of imports below a folder."""
    return 1 + max((height(name, found) for name in found[own]), default=0)


def below(own):
    """All that a folder imports, at first or at second hand."""
    return arrows()[own].union(*(below(name) for name in arrows()[own]))


def figure():
    """A Mermaid flowchart: an arrow is an import that does not follow from other arrows."""
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {own}["{own}"]' for own in arrows()]
    for own, reads in arrows().items():
        implied = set().union(*(below(name) for name in reads))
        lines += [f"    {own} --> {name}" for name in arrows() if name in reads - implied]
    return "\n".join([*lines, "```"])


def summary(path):
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]


def table():
    """A row a folder, from the top down: its docstring's first line."""
    lines = ["| in `src/mcgrad/` | what |", "| --- | --- |"]
    for own in arrows():
        folder = KERNELS if own == KERNELS.name else SOURCE / own
        name, file = (f"{own}/", folder / "__init__.py") if folder.is_dir() else (own, folder.with_suffix(".py"))
        lines.append(f"| `{name}` | {summary(file)} |")
    return "\n".join(lines)


def page():
    """The page with today's figure and table."""
    made = f"{BEGIN}\n{figure()}\n\n{table()}\n\n{END}"
    return re.sub(f"{BEGIN}.*{END}", lambda _: made, PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
