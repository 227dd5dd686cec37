"""What `bench/gpu.py` makes of its measurements; it was written where there is no GPU."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import gpu
import throughput
from problems import problems


def row(peer, best, **more):
    return {"problem": "scalar", "dtype": "float32", "peer": peer, "best": best, "wrong": False} | more


ROWS = [
    row("mcgrad", 2e11),
    row("torch", 4e10),
    row("torch-se", 2e10),
    row("jax", 5e10, wrong=True, z=9.0),
    {"problem": "scalar", "dtype": "float32", "peer": "cupy", "reason": "no memory"},
]


def test_the_table_compares_with_the_best_right_answer_of_either_kind():
    line = gpu.table(ROWS, {("scalar", "float32"): 2.5e11}).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["scalar", "float32", "2.00e+11", "4.00e+10", "2.00e+10", "-"]
    assert cells[6:] == ["5.0 (torch)", "10.0 (torch-se)", "2.50e+11", "80%"]


def test_what_is_left_out_is_said():
    result = {"device": "a GPU", "date": "today", "versions": {"torch": "torch 2"}, "rows": ROWS}
    text = gpu.text(result | {"unavailable": {"jax-se": "not here"}}, {})
    assert "scalar float32 cupy: no memory" in text
    assert "scalar float32 jax: z = 9.0" in text
    assert "jax-se: not here" in text


def test_answers_are_checked_for_means_and_variances():
    rng, n = np.random.default_rng(0), 2**16
    x = rng.standard_normal(n)
    expected = {"": (np.float64(0), np.float64(1))}
    problem = problems()["scalar"]
    z, spread = gpu.checked(problem, {"checked": n, "totals": {"": [x.sum(), (x * x).sum()]}}, expected)
    assert z < 4
    assert spread < 0.05
    z, spread = gpu.checked(problem, {"checked": n, "totals": {"": [x.sum() + n, None]}}, expected)
    assert z > 100
    assert spread is None


def test_bounds_follow_the_card(tmp_path, monkeypatch):
    (tmp_path / "sass-1.json").write_text(
        '{"rows": [{"problem": "scalar", "dtype": "float32", "cc": "sm_90", "bound": 1e11},'
        ' {"problem": "scalar", "dtype": "float32", "cc": "sm_80", "bound": 1.0}]}'
    )
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    card = {"name": "NVIDIA H100 PCIe", "most": throughput.H100.clock / 1e6 * 2}
    assert gpu.bounds(card) == {("scalar", "float32"): pytest.approx(1e11 * 2 * 114 / 132)}
    assert gpu.bounds({"name": "another", "most": 1000.0}) == {}
    assert gpu.bounds(None) == {}


def test_a_bound_is_that_of_the_busiest_pipe():
    chip = throughput.H100
    per_clock = chip.processors * chip.clock
    assert throughput.bound({"FFMA": 128}, chip) == (per_clock, "fma")
    assert throughput.bound({"MUFU.EX2": 16, "FFMA": 64}, chip) == (per_clock, "xu")
    assert throughput.bound({"FFMA": 64, "LOP3.LUT": 64}, chip) == (per_clock, "alu")
    assert throughput.bound({"FFMA": 100, "UMOV": 40, "LOP3.LUT": 60}, chip)[1] == "issue"
    assert throughput.bound({"IMAD.WIDE.U32": 32}, throughput.A100)[0] == throughput.A100.processors * 1.41e9


def test_how_many_blocks_fit():
    assert throughput.resident(throughput.H100, 128, 168, 1344) == (3, "registers")
    assert throughput.resident(throughput.H100, 256, 32, 68288) == (3, "shared memory")
    assert throughput.resident(throughput.A100, 128, 24, 0) == (16, "threads")
