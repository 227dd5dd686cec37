"""Rows of the workspace: what is live at the same time shares no row, what is added to lies apart from the rest."""

import itertools

import numpy as np
import pytest

import mcgrad as mg
import mcgrad.codegen.loops.lower
import mcgrad.codegen.loops.tile
from mcgrad.codegen.loops.allocate import allocate
from mcgrad.codegen.loops.build import build
from mcgrad.codegen.loops.loop_tree import Loop, Noise, Store, rewrite, touched, walk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import schedule
from mcgrad.codegen.loops.tile import tile
from tests.emit.test_tiles import INTEGRANDS

Q = mg.Normal(np.array([0.1, -0.2, 0.3, 0.0]), 0.6)


def allocated(f, checked):
    program = mg.Estimator(f, Q, backend="numpy").program
    kernel = build(tile(schedule(lower(program), checked)))
    return kernel, allocate(kernel, program.dtype)


def occupied(workspace, buffer):
    """The rows of a buffer's elements, counted in full tiles."""
    rows = workspace.rows[buffer]
    if buffer.var is None or buffer.role == "noise":
        return {rows.offset}
    if buffer.role == "running":
        return {rows.offset + i for i in range(buffer.var.size // buffer.var.shape[buffer.var.attrs.axis])}
    shape = tuple(n for n in buffer.var.shape if n != 1)
    if buffer.within:
        shape = (min(shape[0], mcgrad.codegen.loops.layout.TILE_ROWS),)
    return {int(rows.offset + np.dot(rows.strides, i)) for i in itertools.product(*map(range, shape))}


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name", INTEGRANDS)
def test_live_buffers_share_no_rows(monkeypatch, name, checked):
    monkeypatch.setattr(mcgrad.codegen.loops.tile, "SHORTEST", 2)
    monkeypatch.setattr(mcgrad.codegen.loops.lower, "SMALL_CONTRACTION", 1)
    kernel, workspace = allocated(INTEGRANDS[name], checked)
    live = {}
    for at, node in enumerate(kernel.block):
        for buffer in (buffer for inner in walk((node,)) for buffer in touched(inner)):
            live.setdefault(buffer, []).append(at)
    for a, b in itertools.combinations(live, 2):
        wholes = {a.var, b.var} & {*kernel.assemblies}  # their parts lie inside them
        apart = max(live[a]) < min(live[b]) or max(live[b]) < min(live[a])
        if a.is_added_to != b.is_added_to or not (apart or wholes):
            assert not occupied(workspace, a) & occupied(workspace, b), (a, b)
    added = [min(occupied(workspace, buffer)) for buffer in live if buffer.is_added_to]
    others = [max(occupied(workspace, buffer)) for buffer in live if not buffer.is_added_to]
    assert max(others) < min([*added, workspace.total])


def test_a_nest_inside_another_loop_keeps_its_rows_for_all_of_it():
    kernel, workspace = allocated(INTEGRANDS["neighbours"], False)
    inside = (Loop("time", 10, "serial", kernel.block),)
    whole = allocate(type(kernel)(kernel.names, kernel.assemblies, inside), "float64")
    assert whole.total > workspace.total  # nothing is free before the last turn
    assert whole.rows.keys() == workspace.rows.keys()


def test_rules_see_the_nodes_of_nests():
    kernel, _ = allocated(INTEGRANDS["neighbours"], False)
    without = rewrite(kernel.block, lambda node: () if isinstance(node, Store) else node)
    assert any(isinstance(node, Noise) for node in walk(without))
    assert not any(isinstance(node, Store) for node in walk(without))
