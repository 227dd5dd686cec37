"""The code of docs/sobol.md runs, in order and in one namespace."""

import re
from pathlib import Path

from mcgrad.inputs.sampler import REPLICATES
from mcgrad.noise.sobol import COORDINATES

TEXT = (Path(__file__).parent.parent / "docs" / "sobol.md").read_text()


def test_blocks_run():
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    namespace = {}
    for code in blocks:
        exec(compile(code, "sobol.md", "exec"), namespace)


def test_it_says_how_many_replicates_and_coordinates_there_are():
    assert f"| {REPLICATES} |" in TEXT
    assert f"{COORDINATES:,} coordinates" in " ".join(TEXT.split())
