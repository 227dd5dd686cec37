"""The code of the pages on smaller errors runs, each page in order and in one namespace."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(("page", "count"), [("variance", 3), ("until", 2), ("paths", 2)])
def test_blocks_run(page, count):
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    namespace = {}
    for code in blocks:
        exec(compile(code, f"{page}.md", "exec"), namespace)
