"""The rates of this machine: measured by `mcgrad tune`, and kept in a file that may turn out to be anything."""

import json
import os

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import rates, registry
from mcgrad.backends.numpy import RATES, NumpyBackend
from mcgrad.backends.rates import Rates
from mcgrad.cache.settings import CACHE_VARIABLE
from mcgrad.cli import main, measure

DEFAULT = Rates("cuda: X", float32=2e9, float64=1e9, call=1e-4)
FOUND = Rates("cuda: X", float32=4e9, float64=3e9, call=1e-5, load=1.0, compile=2.0, equation=3.0, gigabyte=4.0)
NUMBERS = {"float32": 1e9, "float64": 1e9, "call": 1e-4, "load": 0, "compile": 0, "equation": 0, "gigabyte": 0}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path


def test_defaults_until_measured():
    assert rates.current(DEFAULT) is DEFAULT
    assert not rates.is_measured()
    assert "(defaults)" in str(DEFAULT)


def test_what_was_measured_is_kept(folder):
    assert rates.keep([FOUND]) == folder / "rates.json"
    kept = rates.current(DEFAULT)
    assert kept.measured
    assert (kept.float32, kept.call, kept.gigabyte) == (4e9, 1e-5, 4.0)
    assert rates.current(RATES) is RATES  # another backend
    assert os.listdir(folder) == ["rates.json"]
    rates.keep([RATES])
    assert rates.current(RATES).measured
    assert rates.current(DEFAULT).measured


def test_other_machines_keep_theirs(folder, monkeypatch):
    rates.keep([FOUND])
    monkeypatch.setattr(rates, "machine", lambda: "another processor, 64 usable")
    rates._measured.cache_clear()
    assert rates.current(DEFAULT) is DEFAULT
    rates.keep([DEFAULT])
    assert rates.current(DEFAULT).float32 == 2e9
    assert len(json.loads((folder / "rates.json").read_text())) == 2


def test_the_machine_is_what_rates_depend_on():
    for part in (f"mcgrad {mg.__version__}", "numba 0.", f"{len(os.sched_getaffinity(0))} usable"):
        assert part in rates.machine()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"3",
        b"[" * 100_000,
        json.dumps({rates.machine(): {"cuda: X": {**NUMBERS, "float32": 10**400}}}).encode(),
        json.dumps({rates.machine(): 3}).encode(),
        json.dumps({rates.machine(): {"cuda: X": 3}}).encode(),
        json.dumps({rates.machine(): {"cuda: X": {"float32": 1}}}).encode(),
        *(
            json.dumps({rates.machine(): {"cuda: X": {**NUMBERS, **wrong}}}).encode()
            for wrong in ({"float32": 0}, {"call": -1}, {"load": float("nan")}, {"load": "long"}, {"compile": None})
        ),
    ],
)
def test_a_file_that_cannot_be_understood_is_as_none(folder, content):
    (folder / "rates.json").write_bytes(content)
    assert rates.current(DEFAULT) is DEFAULT
    assert mg.estimate(np.sin, mg.Normal(), 100).backend == "numpy"
    rates.keep([FOUND])
    assert rates.current(DEFAULT).measured


@pytest.mark.filterwarnings("ignore::mcgrad.errors.CacheWarning")
def test_a_file_that_cannot_be_read_or_written(folder, monkeypatch):
    (folder / "rates.json").mkdir()
    assert rates.current(DEFAULT) is DEFAULT
    assert rates.keep([FOUND]) is None
    assert os.listdir(folder) == ["rates.json"]
    (folder / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "file" / "cache"))
    assert rates.current(DEFAULT) is DEFAULT
    assert rates.keep([FOUND]) is None


def test_measured_rates_decide():
    draws = 3_000_000  # the time to compile, by the default rates
    made = mg.Estimator(lambda z: np.sin(z) ** 3, mg.Normal(), draws=draws)
    assert made.backend == "numpy"
    rates.keep([Rates("numpy", float32=1e6, float64=1e6, call=1e-4)])
    made = mg.Estimator(lambda z: np.sin(z) ** 3, mg.Normal(), draws=draws)
    assert made.backend == "cpu"
    assert "numpy 1" in made.explain().splitlines()[0]


class Odd(NumpyBackend):
    def __init__(self, name, missing=None, fails=False):
        self.name, self.missing, self.fails = name, missing, fails

    def unavailable(self):
        return self.missing

    def compile(self, program):
        if self.fails:
            raise mg.BackendError("out of device memory")
        return super().compile(program)


class Unrated(Odd):
    rates = None


def test_tune_measures_keeps_and_prints(folder, monkeypatch, capsys):
    for name, small in {"SPAN": 1e-4, "RUNS": 1, "ROWS": 3, "COLUMNS": 2, "STEPS": 2}.items():
        monkeypatch.setattr(measure, name, small)
    odd = [Odd("away", "there is no device"), Odd("broken", fails=True), Unrated("theirs")]
    monkeypatch.setattr(registry, "BACKENDS", {"numpy": NumpyBackend(), **{backend.name: backend for backend in odd}})
    assert main(["tune"]) == 0
    printed = capsys.readouterr().out
    for part in (
        rates.machine(),
        "float32/s",
        "numpy   default",
        "measured",
        "away is not available: there is no device",
        "broken failed: out of device memory",
        "theirs has no rates to measure",
        f"wrote {folder / 'rates.json'}",
    ):
        assert part in printed
    assert os.environ[CACHE_VARIABLE] == str(folder)
    found = NumpyBackend().rates()
    assert found.measured
    assert min(found.float32, found.float64, found.call) > 0
    assert os.listdir(folder) == ["rates.json"]
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"{folder / 'rates.json'} (`mcgrad tune` measures them again)" in printed
    assert "available; rates of its own" in printed
    assert "not available: there is no device" in printed
    assert "(measured)" in printed


@pytest.mark.filterwarnings("ignore::mcgrad.errors.CacheWarning")
def test_tune_says_where_nothing_can_be_kept(folder, monkeypatch, capsys):
    monkeypatch.setattr(registry, "BACKENDS", {})
    monkeypatch.setattr(registry, "_discover", lambda: None)
    (folder / "rates.json").mkdir()
    assert main(["tune"]) == 0
    assert f"cannot write {folder / 'rates.json'}: nothing is kept" in capsys.readouterr().out
