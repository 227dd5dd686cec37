"""The figure and the table at the head of docs/architecture.md are those of the sources."""

import runpy
from pathlib import Path

STRUCTURE = Path(__file__).parent.parent / "docs" / "structure.py"


def test_the_page_is_up_to_date():
    made = runpy.run_path(str(STRUCTURE))
    assert made["page"]() == made["PAGE"].read_text(encoding="utf-8"), "run: python docs/structure.py"
