"""The table of ranges in docs/estimators.md is what bench/ranges.py measures, and has every family."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "estimators.md").read_text()
NOT_SWEPT = {  # what users write, and what is a StudentT along every direction
    "Reparameterized", "Implicit", "MultivariateStudentT",
}  # fmt: skip
AGAIN = [
    ("Normal", "loc / scale"),
    ("Uniform", "width = low"),
    ("Triangular", "width = low"),
    ("Gamma", "1 / rate"),
    ("HalfNormal", "scale"),
    ("LogNormal", "exp(loc)"),
    ("Beta", "both"),
    ("Joint of Normal and Exponential", "scale"),
    ("Bernoulli", "logits"),
    ("Geometric", "probs"),
]


@pytest.fixture(scope="module")
def ranges():
    """Import the script as its own folder would."""
    before = set(sys.modules)
    sys.path.insert(0, str(ROOT / "bench"))
    import ranges

    yield ranges
    sys.path.remove(str(ROOT / "bench"))
    for name in set(sys.modules) - before:
        if name.startswith("ranges"):
            del sys.modules[name]


@pytest.mark.parametrize(("family", "swept"), AGAIN)
def test_the_table_is_what_is_measured(ranges, family, swept):
    (index,) = [k for k, row in enumerate(ranges.ROWS) if (row.family, row.swept) == (family, swept)]
    found = ranges.measure(index)
    table = ranges.table(found, ranges.DISCRETE if ranges.ROWS[index].discrete else ranges.CONTINUOUS)
    for line in table.splitlines():
        assert line in PAGE


def test_every_family_has_a_row(ranges):
    page = (ROOT / "docs" / "distributions.md").read_text()
    families = set(re.findall(r"^\| `(\w+)\(.*?\)` \|", page, re.MULTILINE))
    assert len(families) > 40
    swept = {row.family.split()[0] for row in ranges.ROWS}
    assert families - swept == NOT_SWEPT
    for row in ranges.ROWS:
        assert f"\n| `{row.family}` | {row.swept} |" in PAGE
