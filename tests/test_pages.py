"""The code of pages in docs/ runs, each page in order and in one namespace; numbers in them are those of the code."""

import re
from pathlib import Path

import pytest

from mcgrad.gradients.plan import MOST
from mcgrad.inputs.sampler import REPLICATES
from mcgrad.noise.sobol import COORDINATES

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {
    "arrays": 3,
    "importance": 5,
    "loops": 6,
    "mlmc": 6,
    "paths": 2,
    "sde": 5,
    "second-derivatives": 7,
    "sobol": 5,
    "until": 2,
    "variance": 3,
}


def text(page):
    return (DOCS / f"{page}.md").read_text()


@pytest.mark.parametrize(("page", "count"), PAGES.items())
def test_blocks_run(page, count):
    blocks = re.findall(r"^```python\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    namespace = {}
    for code in blocks:
        exec(compile(code, f"{page}.md", "exec"), namespace)


def test_numbers_are_those_of_the_code():
    assert f"{MOST:,} entries" in " ".join(text("arrays").split())
    assert f"| {REPLICATES} |" in text("sobol")
    assert f"{COORDINATES:,} coordinates" in " ".join(text("sobol").split())
