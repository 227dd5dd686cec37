"""What `bench/gpu.py` makes of its measurements; it was written where there is no GPU."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import clock
import gpu
import gpu_worker
import references
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
    slice_of_one = {"name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "most": throughput.H100.clock / 1e6 * 2}
    slice_of_one |= {"cc": [9, 0], "processors": 16}  # as the driver counts them
    assert gpu.bounds(slice_of_one) == {("scalar", "float32"): pytest.approx(1e11 * 2 * 16 / 132)}
    assert gpu.bounds({"name": "another", "most": 1000.0, "cc": [7, 5], "processors": 40}) == {}
    assert gpu.bounds({"name": "NVIDIA H100", "most": None, "cc": [9, 0], "processors": 132}) == {}
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


class Job:
    """A variant of a peer that runs at a rate."""

    def __init__(self, rate, chunk):
        self.rate, self.chunk = rate, chunk

    def run(self, seed, rounds):
        return {"": (np.float64(self.rate), None)}

    def seconds(self, seed, rounds):
        return self.chunk * rounds / self.rate


def worker(*rates):
    made = object.__new__(gpu_worker.Worker)
    made.jobs = lambda problem, dtype: [lambda r=r: Job(r, 1000) for r in rates]
    return made


def test_the_fastest_variant_is_kept_and_answers():
    peer = worker(1e6, 3e6, 2e6)
    assert peer.compile("scalar", "float32", budget=60, check=10)["variants"] == 3
    found = peer.tune(check=10)
    assert (found["variant"], found["totals"]) == (1, {"": [3e6, None]})
    assert found["checked"] == found["chunk"] == 1000
    assert found["draws"] / 3e6 >= gpu_worker.SHORT / 2


def test_one_peer_at_a_time_is_calibrated():
    """Compiling may overlap, on as many processors as there are; what is timed must have the device to itself."""
    log = []

    class Crew:
        def __init__(self, name):
            self.name = name

        def ask(self, what, **details):
            log.append((self.name, what))
            if what == "compile":
                return {"variants": 1, "seconds": 0.0, "refused": []}
            sums = {"": [0.0, None]}
            return {"totals": sums, "checked": 2, "variant": 0, "chunk": 2, "draws": 2, "refused": []}

    problem = gpu_worker.cases()["noise"]
    _, rows = gpu.prepare(problem, "float32", [Crew("a"), Crew("b")], references.expected(problem), 1, 2)
    assert sorted(log[:2]) == [("a", "compile"), ("b", "compile")]
    assert log[2:] == [("a", "tune"), ("b", "tune")]
    assert [row["wrong"] for row in rows] == [False, False]


def test_references_are_those_of_the_problems(monkeypatch):
    """They are read, not computed; a problem that changed is computed again."""
    asked = []
    monkeypatch.setattr(references, "reference", lambda problem: asked.append(problem.name) or {})
    for problem in problems().values():
        known = references.expected(problem)
        assert set(known) == {"", *problem.wrt}
        assert all(np.shape(mean) == np.shape(known[name][1]) for name, (mean, _) in known.items())
    assert asked == []
    changed = replace(problems()["scalar"], q={"loc": 0.4, "scale": 1.2})
    references.expected(changed)
    assert asked == ["scalar"]


def test_the_clock_is_that_of_samples_at_work(tmp_path, monkeypatch):
    rows = [[1980.0, 600.0, 50.0, 99.0], [1755.0, 650.0, 60.0, 98.0], [345.0, 70.0, 40.0, 0.0]]
    sampler = clock.Clock()
    sampler.samples = rows
    assert sampler.summary()["clock"] == 1867.5
    assert sampler.summary(since=2)["clock"] == 345.0  # all are idle
    assert sampler.summary(since=3) == {"samples": 0}


def test_a_wrapper_of_launches_is_taken_off_again(monkeypatch):
    from peers.gpu.mcgrad_job import Launches

    from mcgrad.backends.cuda.driver import Device

    before = Device.launch
    for _ in range(3):
        with Launches():
            assert Device.launch is not before
    assert Device.launch is before
