"""docs/distributions.md lists every family with its parameters, and its code runs."""

import inspect
import re
from pathlib import Path

import pytest

import mcgrad as mg
from mcgrad import distributions

TEXT = (Path(__file__).parent.parent / "docs" / "distributions.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)\(([^)]*)\)` \|", TEXT, re.MULTILINE))
FAMILIES = {
    name: family
    for name, family in ((name, getattr(distributions, name)) for name in distributions.__all__)
    if inspect.isclass(family) and issubclass(family, mg.Distribution) and family is not mg.Distribution
}


def test_every_family_has_a_row_and_every_row_a_family():
    assert set(ROWS) == set(FAMILIES)
    assert set(FAMILIES) <= set(mg.__all__)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_has_the_parameters(name):
    parameters = inspect.signature(FAMILIES[name]).parameters.values()
    shown = [f"**{p.name}" if p.kind is p.VAR_KEYWORD else p.name for p in parameters if p.name != "batch_ndim"]
    assert ROWS[name] == ", ".join(shown)


def test_bijections_are_listed():
    found = [
        name
        for name, kind in vars(mg.bijections).items()
        if inspect.isclass(kind) and kind.__base__ is mg.bijections.Bijection
    ]
    assert all(f"`{name}" in TEXT for name in found)


def test_the_code_runs():
    namespace = {}
    for code in re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        exec(code, namespace)
