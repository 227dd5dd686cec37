"""A whole block of draws runs without masks where moments are most of a loop, and its sums are the same."""

import numpy as np
import pytest

import mcgrad as mg
import mcgrad.codegen.cpu.lanes as lanes
from mcgrad.codegen.cpu.chunk import emit
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture

Q = mg.Normal(np.array([0.1, -0.2, 0.3, 0.0]), 0.6)


def estimator(f):
    return mg.Estimator(f, Q, backend="numpy")


def program(f):
    return estimator(f).program


def chain(z):
    return np.sum((z[1:] - z[:-1] ** 2) ** 2)


def versions(source):
    """The loops of partial blocks and those of whole ones."""
    parts = [part.split("put(sums")[0].split("else:\n") for part in source.split("if partial:\n")[1:]]
    return [partial for partial, _ in parts], [whole for _, whole in parts]


def test_loops_of_whole_blocks_look_at_no_mask():
    partial, whole = versions(emit(program(chain)).source)
    assert partial
    assert all("at(ws, 0 + w) != real(0)" in text for text in partial)
    assert not any("select" in text or "!=" in text for text in whole)


def test_the_checked_variant_masks_whole_blocks_too():
    assert "if partial:" not in emit(program(chain), checked=True).source


def test_a_loop_with_much_work_beside_its_moments_has_one_version():
    source = emit(program(lambda z: np.sum(np.sin(z) * np.exp(-(z**2)) * np.tanh(z) * np.cos(z)))).source
    assert "if partial:" not in source


@pytest.mark.parametrize("draws", [(8, 24), (5, 21), (9, 15)])
def test_versions_give_the_same_sums(plain_backend, monkeypatch, draws):  # noqa: F811
    found = []
    for light in (0, 1000):
        monkeypatch.setattr(lanes, "LIGHT", light)
        given = estimator(chain)
        kernel = plain_backend.compile(given.program)
        assert ("if partial:" in kernel.source()) == (light > 0)
        bound = kernel.bind(given.inputs.values({}))
        found.append(bound.sums(7, *draws, np.zeros(9), False, False))
    np.testing.assert_array_equal(found[0].sums, found[1].sums)
    np.testing.assert_array_equal(found[0].squares, found[1].squares)
