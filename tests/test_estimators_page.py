"""The code of docs/estimators.md runs, in order and in one namespace."""

import re
from pathlib import Path

from mcgrad.distributions.families import families
from mcgrad.gradients.methods import BASELINES, TABLE

TEXT = (Path(__file__).parent.parent / "docs" / "estimators.md").read_text()


def test_blocks_run():
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    namespace = {}
    for code in blocks:
        exec(compile(code, "estimators.md", "exec"), namespace)


def test_it_lists_what_there_is():
    for name in (*(method.name for method in TABLE), *BASELINES):
        assert f'`"{name}"`' in TEXT
    for name, family in families().items():
        assert not family.decompositions or f"\n| {name} |" in TEXT
