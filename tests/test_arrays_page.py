"""The code of docs/arrays.md runs, in order and in one namespace."""

import re
from pathlib import Path

from mcgrad.gradients.plan import MOST

TEXT = (Path(__file__).parent.parent / "docs" / "arrays.md").read_text()


def test_blocks_run():
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    namespace = {}
    for code in blocks:
        exec(compile(code, "arrays.md", "exec"), namespace)


def test_it_says_how_large_a_jacobian_may_be():
    assert f"{MOST:,} entries" in " ".join(TEXT.split())
