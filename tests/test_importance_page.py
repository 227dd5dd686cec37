"""The code of docs/importance.md runs, in order and in one namespace."""

import re
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "docs" / "importance.md").read_text()


def test_blocks_run():
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    namespace = {}
    for code in blocks:
        exec(compile(code, "importance.md", "exec"), namespace)
