"""Examples that step through time: queues, inventories, particles, barriers, each against a formula."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *options):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([*options])


@pytest.mark.parametrize("name", ["customers", "inventory", "double_well"])
def test_against_a_formula(name, capsys):
    z = run(name)
    assert max(map(abs, z.values())) < 4.5, capsys.readouterr().out


def test_barrier(capsys):
    z = run("barrier", "--n", "200000")
    for (dates, correction), found in z.items():
        if correction == "none":
            assert found["price"] > 5.0, dates  # what dates miss
        else:
            assert max(map(abs, found.values())) < 4.5, (dates, correction)


def test_heston(capsys):
    for way, found in run("heston", "--n", "25000").items():
        assert max(map(abs, found.values())) < 5.0, way  # the bias of 50 steps is up to 2 of them
    said = capsys.readouterr().out
    assert said.count("pathwise, then difference") == said.count("pathwise twice") == 2
