"""Batches in job files: results, checkpoints and resumed runs as of single problems; wrong keys are named."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import Partial, RowPartial
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.cli import main
from mcgrad.engine import row_averager
from mcgrad.engine.call import RowState, RunState
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import BatchIdentity, Identity
from mcgrad.moments import Moments
from mcgrad.results.strict_json import signed
from tests.job_files import signalled

RNG = np.random.default_rng(8)
LOC, X, W = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2)), RNG.normal(size=(3, 2))
MODEL = """
import numpy as np

def f(z, w, x):
    return np.sum((np.tanh(z @ w) - x) ** 2)
"""
JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = "loc.npy", scale = 0.5, batch_ndim = 1}
params = {w = "data.npz:w"}
data = {x = "data.npz:x"}
batched_data = "x"
rows = "rows.csv:number"
n = 40
backend = "numpy"
"""


def misfit(z, w, x):
    return np.sum((np.tanh(z @ w) - x) ** 2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    np.save("loc.npy", LOC)
    np.savez("data.npz", x=X, w=W)
    (tmp_path / "rows.csv").write_text("number\n" + "\n".join(str(i) for i in range(100, 140)))
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def result():
    with open("results/job.json", "rb") as file:
        return mg.BatchEstimate.from_json(file.read())


def numbers(est):
    return {name: x for name, x in est.to_dict().items() if name != "seconds"}


def estimated(n=40, **options):
    q = mg.Normal(LOC, 0.5, batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X}, "batched_data": "x", "backend": "numpy"}
    return mg.estimate(misfit, q, n, **given, rows=np.arange(100, 140), **options)


def test_a_batch_from_files_and_back(folder, capsys):
    assert main(["run", "job.toml", "--verify"]) == 0
    printed = capsys.readouterr().out
    assert "40 rows, 40 draws each: 1,600 draws" in printed
    assert "8 of 40 rows (0, 5, 11, 16, 22, 27, 33, 39)" in printed
    assert len(printed.splitlines()) < 60
    right = estimated()
    assert numbers(result()) == numbers(right)
    with np.load("results/job.npz") as arrays:
        np.testing.assert_array_equal(arrays["grad.loc"], right.grad["loc"])
        np.testing.assert_array_equal(arrays["rows"], np.arange(100, 140))
        assert arrays["value"].shape == arrays["nonfinite"].shape == (40,)

    (folder / "results" / "job.npz").write_bytes(b"")
    assert main(["run", "job.toml", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "complete already" in printed
    assert "wrote results/job.npz again" in printed
    for line in ('reduce = "sum"', f"rows = {list(range(40))}"):
        (folder / "job.toml").write_text(JOB.replace('rows = "rows.csv:number"\n', "") + line)
        assert main(["run", "job.toml", "--resume"]) == 0
        assert "runs again: results/job.json, rows: given another batch" in capsys.readouterr().out
    assert main(["run", "job.toml"]) == 0  # over an earlier result


@pytest.mark.parametrize("many", [16, 1])
def test_an_interrupted_batch_goes_on(folder, capsys, monkeypatch, many):
    """After some rows, or, where rows are taken for long ones, after some of the draws of one."""
    n = 50_000 if many == 1 else 40
    monkeypatch.setattr(row_averager, "MANY", many)
    owner, name = (RowByRow, "partial") if many == 16 else (row_averager, "run")
    once, calls = getattr(owner, name), []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 7:
            raise MemoryError
        return once(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)
    command = ["run", "job.toml", "--n", str(n), "--checkpoint", "0", "--threads", "1"]
    assert main(command) == 2
    kept = f"job: {6 * n:,} of {40 * n:,} draws are kept; --resume goes on from there"
    assert kept in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "resumed at row 6 of 40" in capsys.readouterr().out
    assert len(calls) == 41
    assert numbers(result()) == numbers(estimated(n))
    assert not (folder / "results" / ".job.checkpoint.json").exists()


def test_a_batch_that_is_killed_goes_on(folder):
    n = 60_000
    options = ["job.toml", "--n", str(n)]
    assert subprocess.run([*signalled("job", signal.SIGKILL), *options]).returncode == -signal.SIGKILL
    kept = json.loads((folder / "results" / ".job.checkpoint.json").read_text())["done"]
    assert 0 < kept < 40
    command = [sys.executable, "-m", "mcgrad", "run", *options, "--resume"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"resumed at row {kept} of 40" in ended.stdout
    assert numbers(result()) == numbers(estimated(n))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("batch_ndim = 1", 'batch_ndim = "a"'), "job.toml, distribution.batch_ndim: given 'a'"),
        (("batch_ndim = 1", "batch = 1"), r"job.toml, distribution.batch: given no parameter of Normal; .*batch_ndim"),
        (('batched_data = "x"', 'batched_data = "y"'), "job.toml, batched_data: given 'y'"),
        (('batched_data = "x"', 'batched_data = "x"\nbatched_params = [1]'), r"job.toml, batched_params: given \[1\]"),
        (("n = 40", 'n = 40\nreduce = "max"'), "job.toml, reduce: given 'max'"),
        (("n = 40", 'n = 40\ncommon_noise = "yes"'), "job.toml, common_noise: given 'yes'"),
        (("n = 40", "n = 40\ncommon_noise = true"), "job.toml, rows: given .* with common noise"),
        (('"rows.csv:number"', "[1, 2]"), r"job.toml, rows: given .*whole numbers from 0 .* of shape \(40,\)"),
        (('"rows.csv:number"', "[1.5]"), "job.toml, rows: given "),
        (("n = 40", 'n = 40\nbatched_params = ["w"]'), r"job.toml, params.w: given shape \(3, 2\), whose batch shape"),
    ],
)
def test_wrong_keys_are_named(folder, capsys, change, message):
    (folder / "job.toml").write_text(JOB.replace(*change))
    assert main(["run", "job.toml"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_rows_without_a_batch_are_refused(folder, capsys):
    (folder / "job.toml").write_text('integrand = "model.py:g"\ndistribution = {family = "Normal"}\nn = 9\nrows = [1]')
    (folder / "model.py").write_text("g = lambda z: z")
    assert main(["run", "job.toml"]) == 2
    assert "job.toml, rows: given" in capsys.readouterr().err


IDENTITY = BatchIdentity(40, 7, "float32", False, "0123", "0.1.0", [2, 2], "sum", "45", False, 1)
PARTIAL = RowPartial(
    np.array([40, 39]),
    np.array([[0.1, np.nan], [-0.0, 1e-320]]),
    np.array([[1 / 3, np.nan], [np.inf, 0.0]]),
    np.array([0, 1]),
    np.array([0.7]),
    np.array([2.0]),
    np.array([77.0]),
)
ONE = Partial(Moments(16, np.array([0.2]), np.array([1.0])))
ROW = RunState(16, np.array([0.5], np.float32), (ONE,), 1.5, "cpu")
STATE = RowState(2, PARTIAL, ROW, 1.5, "cpu")


def test_every_bit_of_a_checkpoint_comes_back(tmp_path):
    path = tmp_path / "c.json"
    for row in (ROW, None):
        path.write_text(checkpoint.to_json(IDENTITY, replace(STATE, row=row)))
        found = checkpoint.read(path, IDENTITY)
        assert (found.rows, found.seconds, found.backend, found.place.split(" ")[-1]) == (2, 1.5, "cpu", "2")
        for name in ("counts", "means", "norms", "nonfinite", "totals", "variances", "degrees"):
            assert getattr(found.partial, name).tobytes() == getattr(PARTIAL, name).tobytes()
    for change in ({"batch_shape": [4]}, {"rows": "46"}, {"reduce": None}, {"common_noise": True}, {"n": 41}):
        with pytest.raises(mg.ParameterError, match=f"{next(iter(change))}: given"):
            checkpoint.read(path, replace(IDENTITY, **change))
    path.write_text(path.read_text().replace('"done": 2', '"done": 1'))
    with pytest.raises(mg.ParameterError, match="digest: given that of other content"):
        checkpoint.read(path, IDENTITY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("done", 5), ("done", None), ("row", [1]), ("row", {}), ("partial", {}), ("means", [1.0]), ("seconds", -1)),
        ("counts", {"dtype": "<i8", "shape": [2], "base64": "!"}),
        ("norms", {"dtype": "<f8", "shape": [-1, 2], "base64": ""}),
        ("nonfinite", {"dtype": "<i8", "shape": [2], "base64": "AAAAAAAAAAD//////////w=="}),
    ],
)
def test_wrong_fields_are_refused_though_the_digest_is_right(tmp_path, name, value):
    path, fields = tmp_path / "c.json", json.loads(checkpoint.to_json(IDENTITY, STATE))
    (fields["partial"] if name in fields["partial"] else fields)[name] = value
    path.write_text(json.dumps(signed(fields)))
    with pytest.raises(mg.ParameterError, match=f"^{path}, "):
        checkpoint.read(path, IDENTITY)


def test_a_checkpoint_that_kept_all_draws_of_a_row_as_one_part_is_read(tmp_path):
    path, fields = tmp_path / "c.json", json.loads(checkpoint.to_json(IDENTITY, STATE))
    (part,) = fields["row"].pop("parts")
    row = {**fields["row"], **part}
    path.write_text(json.dumps(signed({**fields, "format": "mcgrad.Checkpoint/rows/1", "row": row})))
    assert checkpoint.read(path, IDENTITY).row.partial.moments.mean.tolist() == [0.2]


def test_a_checkpoint_that_was_written_before_there_were_batches_is_read(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(
        '{"format": "mcgrad.Checkpoint/4", "n": 40, "seed": 7, "dtype": "float32", "omitted": false, '
        '"problem": "0123", "version": "0.1.0", "backend": "numpy", "stop": 12, "seconds": 1.5, "shift": [0.5], '
        '"nonfinite": 0, "moments": {"count": 12, "mean": [0.25], "norm": [3.0]}, '
        '"digest": "c27431591217b98010c6ef75cce00ac0"}'
    )
    found = checkpoint.read(path, Identity(40, 7, "float32", False, "0123", "0.1.0"))
    assert (found.stop, found.partial.moments.norm.tolist()) == (12, [3.0])
