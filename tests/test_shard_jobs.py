"""Shards through the command line: files that merge to the bits of the whole run, and what does not belong together."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.jobs import checkpoint, shardfile
from mcgrad.jobs.identity import identity_of
from mcgrad.jobs.jobfile import load
from mcgrad.results.files import is_whole, result_of
from mcgrad.results.strict_json import loads, signed

from .job_files import JOB, job_folder

SHARDS = 3
MODEL = """
import numpy as np

def f(z, *, tau=1.0):
    return tau * np.sum(np.sin(z))

def of_row(z, *, w, x):
    return w * np.sin(x * z) + w * w

rows = np.linspace(0.5, 2.0, 300)

def linear_in_w(z, *, w, x):
    return w * np.exp(x) + np.sin(z)
"""
BATCH = """
integrand = "model.py:of_row"
distribution = {family = "Normal", loc = "model.py:rows", scale = 0.7, batch_ndim = 1}
params = { w = 1.3 }
data = { x = "model.py:rows" }
batched_data = ["x"]
backend = "numpy"
n = 200
"""
JOBS = {
    "draws": JOB.replace("n = 500", "n = 900_000"),
    "float32": JOB.replace("n = 500", "n = 400_000").replace('"numpy"', '"cpu"') + 'dtype = "float32"\n',
    "leave one out": JOB.replace("n = 500", "n = 400_000") + 'method = "score"\nbaseline = "leave_one_out"\nk = 4\n',
    "controls": JOB.replace("n = 500", "n = 900_000") + 'control = "quadratic"\n',
    "constants": JOB.replace("n = 500", "n = 900_000") + "params = { tau = 1.5 }\n",
    "points": JOB.replace("n = 500", "n = 4096") + 'sampler = "sobol"\nreplicates = 8\n',
    "batch": BATCH,
    "constants by row": BATCH.replace("of_row", "linear_in_w"),
    "reduced": BATCH + 'reduce = "mean"\n',
    "points in a batch": BATCH.replace("n = 200", "n = 64").replace("model.py:rows", "few.npy")
    + 'sampler = "sobol"\nreplicates = 8\n',
    "common noise": BATCH.replace("n = 200", "n = 20_000").replace("model.py:rows", "few.npy")
    + "common_noise = true\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    job_folder(tmp_path, monkeypatch)
    (tmp_path / "model.py").write_text(MODEL)
    np.save(tmp_path / "few.npy", np.linspace(0.5, 2.0, 4))
    return tmp_path


def shards(count=SHARDS, *options, job="job.toml"):
    for number in range(1, count + 1):
        assert main(["run", job, "--shard", f"{number}/{count}", *options]) == 0
    return [f"results/job.shard-{number}-of-{count}.json" for number in range(1, count + 1)]


def numbers(path):
    """All of a result but what the time and the order of files make."""
    return {**loads(path, Path(path).read_bytes()), "seconds": 0, "digest": ""}


@pytest.mark.filterwarnings("ignore::mcgrad.errors.RareDrawsWarning")
@pytest.mark.parametrize("name", JOBS)
def test_merged_shards_are_the_whole_run(folder, capsys, name):
    (folder / "job.toml").write_text(JOBS[name])
    assert main(["run", "job.toml"]) == 0
    files = shards()
    capsys.readouterr()
    assert main(["merge", "merged", *reversed(files)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "wrote merged.json and merged.npz" in printed.out
    assert numbers("merged.json") == numbers("results/job.json")
    assert is_whole(folder / "merged")
    assert str(result_of(loads("", (folder / "merged.json").read_bytes()))).splitlines()[0] in printed.out


@pytest.fixture
def three(folder):
    (folder / "job.toml").write_text(JOBS["draws"])
    return [*shards()]


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(["merge", *arguments]) == 2
    return capsys.readouterr().err


def test_a_lost_or_doubled_shard_is_named(folder, three, capsys):
    first, second, third = three
    assert "2 of 3 shards, without shard 2; accepted: all shards" in refused(capsys, "merged", first, third)
    assert "1 of 3 shards, without shards 1, 3" in refused(capsys, "merged", second)
    shutil.copy(second, "copy.json")
    message = refused(capsys, "merged", *three, "copy.json")
    assert "shard 2/3 again" in message
    assert second in message
    assert "copy.json" in message
    assert not (folder / "merged.json").exists()


def test_a_damaged_shard_is_named(folder, three, capsys):
    whole = Path(three[1]).read_text()
    for damaged, why in (
        (whole[:1000], "accepted: a whole file"),
        (whole.replace('"nonfinite"', '"nonfinitf"', 1), "digest: given that of other content"),
        ("", "accepted: a whole file"),
    ):
        (folder / three[1]).write_text(damaged)
        message = refused(capsys, "merged", *three)
        assert three[1] in message
        assert why in message
    (folder / three[1]).unlink()
    assert f"{three[1]}: given No such file" in refused(capsys, "merged", *three)


def test_fields_of_other_types_are_refused_by_name(folder, three, capsys):
    fields = loads(three[1], Path(three[1]).read_bytes())
    del fields["digest"]
    identity = fields["identity"]
    for name, value, why in (
        ("identity", {**identity, "n": [1]}, "identity.n: given [1]"),
        ("identity", {**identity, "dtype": -1}, "identity.dtype: given -1"),
        ("identity", {**identity, "version": None}, "identity.version: given None"),
        ("identity", {name: x for name, x in identity.items() if name != "problem"}, "identity.fields"),
        ("estimate", [1], "estimate: given [1]; accepted: an object"),
        ("state", "done", "state: given 'done'"),
    ):
        (folder / three[1]).write_text(json.dumps(signed({**fields, name: value})))
        assert why in refused(capsys, "merged", *three)


@pytest.mark.parametrize(
    ("change", "options", "why"),
    [
        ("", ["--seed", "9"], "seed: given 9; accepted: 0, that of results/job.shard-1-of-3.json"),
        ("", ["--n", "1000000"], "n: given 1000000; accepted: 900000"),
        ("", ["--dtype", "float32"], "dtype: given 'float32'; accepted: 'float64'"),
        ("", ["--backend", "cpu"], "backend: given 'cpu'; accepted: 'numpy'"),
        ("params = { tau = 2.0 }", [], "problem: given another integrand, distribution, parameters or data"),
        ('nonfinite = "omit"', [], "omitted: given True; accepted: False"),
    ],
)
def test_a_foreign_shard_is_named(folder, three, capsys, change, options, why):
    (folder / "job.toml").write_text(JOBS["draws"] + change)
    assert main(["run", "job.toml", "--shard", "2/3", *options]) == 0
    assert f"results/job.shard-2-of-3.json, {why}" in refused(capsys, "merged", *three)


def test_shards_of_other_cuts_and_versions_are_refused(folder, three, capsys, monkeypatch):
    assert main(["run", "job.toml", "--shard", "2/4"]) == 0
    message = refused(capsys, "merged", three[0], "results/job.shard-2-of-4.json", three[2])
    assert "job.shard-2-of-4.json, shard: given one of 4 shards; accepted: one of 3" in message
    monkeypatch.setattr("mcgrad.jobs.merging.__version__", "9.9")
    assert "accepted: '9.9', or merge with mcgrad of that version" in refused(capsys, "merged", *three)


def test_a_mixture_of_kinds_is_refused_where_it_is_asked_for(folder, three, capsys):
    assert main(["merge", "merged", *three, "--require-same"]) == 0
    fields = json.loads(Path(three[1]).read_text())
    fields["state"]["kinds"][0]["processor"] = "another processor"
    del fields["digest"]
    (folder / three[1]).write_text(json.dumps(signed(fields)))
    message = refused(capsys, "merged", *three, "--require-same")
    assert "--require-same: given " in message
    assert f"another processor ({fields['state']['kinds'][0]['features']})" in message
    assert three[1] in message
    assert main(["merge", "merged", *three]) == 0
    assert len(result_of(loads("", (folder / "merged.json").read_bytes())).kinds) == 2
    assert "parts of one kind" in refused(capsys, "again", "merged.json", "--require-same")


def test_results_over_disjoint_draws_merge(folder, capsys):
    estimator = mg.Estimator(lambda z: np.sin(z), mg.Normal(0.3, 1.2))
    parts = [estimator(1000, first=1000 * i) for i in range(3)]
    for i, part in enumerate(parts):
        (folder / f"{i}.json").write_text(part.to_json())
    assert main(["merge", "all", "2.json", "0.json", "1.json"]) == 0
    assert numbers("all.json")["moments"] == parts[0].merge(parts[1]).merge(parts[2]).to_dict()["moments"]
    assert "1.json: given both estimates hold the draws 1000 to 1999" in refused(
        capsys, "x", "0.json", "1.json", "1.json"
    )
    assert main(["run", "job.toml"]) == 0
    assert main(["merge", "again", "results/job.json", "results/job.npz"]) == 0  # as results/* is
    (folder / "job.toml").write_text(JOBS["draws"])
    assert "a result, with " in refused(capsys, "x", "0.json", shards(1)[0])


def test_the_result_is_not_written_over_a_part_or_another_file(folder, three, capsys):
    (folder / "mine.json").write_text('{"notes": 1}')
    assert "mine.json, which mcgrad did not write" in refused(capsys, "mine", *three)
    assert "where results/job.shard-1-of-3.json is" in refused(capsys, three[0].removesuffix(".json"), *three)


@pytest.mark.parametrize("text", ["3", "0/3", "4/3", "1/", "/3", "one/3", "1/3/5", "-1/3", "1/9999999999"])
def test_what_is_no_shard_is_refused(folder, capsys, text):
    assert main(["run", "job.toml", f"--shard={text}"]) == 2
    assert f"--shard: given {text!r}; accepted: K/N, the K-th of N shards, such as 3/16" in capsys.readouterr().err


def test_a_run_that_stops_has_no_shards(folder, capsys):
    (folder / "job.toml").write_text(JOB.replace("n = 500", "until = { rtol = 1e-2 }"))
    assert main(["run", "job.toml", "--shard", "1/2"]) == 2
    assert "job.toml, until: given a run until its error is small enough, with --shard 1/2" in capsys.readouterr().err


def test_more_shards_than_chunks(folder, capsys):
    assert main(["run", "job.toml"]) == 0
    files = shards(4)  # of a job with one chunk
    assert "Shard 4 of 4: nothing to do." in capsys.readouterr().out
    assert main(["merge", "merged", *files]) == 0
    assert numbers("merged.json") == numbers("results/job.json")


def test_a_shard_that_is_done_is_skipped_and_another_one_runs_again(folder, three, capsys):
    capsys.readouterr()
    assert main(["run", "job.toml", "--shard", "2/3", "--resume"]) == 0
    assert "complete already: results/job.shard-2-of-3.json" in capsys.readouterr().out
    (folder / three[1]).write_text(Path(three[0]).read_text())
    assert main(["run", "job.toml", "--shard", "2/3", "--resume"]) == 0
    assert re.search(r"runs again: .*, shard: given \[1, 3\]; accepted: \[2, 3\]", capsys.readouterr().out)
    assert main(["merge", "merged", *three]) == 0


@pytest.mark.parametrize("name", ["draws", "float32", "batch", "points", "points in a batch"])
def test_a_shard_goes_on_from_its_checkpoint(folder, capsys, name):
    """From several states that a run has had, with the bits of one that did not stop."""
    (folder / "job.toml").write_text(re.sub("n = [49]00_000", "n = 4_000_000", JOBS[name]))
    assert main(["run", "job.toml", "--shard", "2/3"]) == 0
    right = shardfile.read(folder / "results/job.shard-2-of-3.json")
    (job,) = load("job.toml")
    states, estimator = [], job.estimator()
    job.run_shard(estimator, right.shard, states.append, None)
    assert len(states) > 1
    path = checkpoint.path_for(folder / "results/job.shard-2-of-3")
    identity = checkpoint_identity(job, estimator, right.shard)
    for state in (states[0], states[len(states) // 2], states[-2]):
        (folder / "results/job.shard-2-of-3.json").unlink()
        path.write_text(checkpoint.to_json(identity, state))
        capsys.readouterr()
        assert main(["run", "job.toml", "--shard", "2/3", "--resume"]) == 0
        assert f"resumed at {identity.place(state)}" in capsys.readouterr().out
        found = shardfile.read(folder / "results/job.shard-2-of-3.json")
        assert not path.exists()
        assert pieces(found) == pieces(right)


def checkpoint_identity(job, estimator, shard):
    return identity_of(estimator, job.n, job.seed, False, job.rows, None, shard)


def pieces(file):
    fields = json.loads(file.path.read_text())["state"]
    return {**fields, "seconds": 0}


def test_the_checkpoint_of_another_shard_is_not_used(folder, three, capsys):
    (job,) = load("job.toml")
    states, estimator = [], job.estimator()
    shard = shardfile.read(folder / three[1]).shard
    job.run_shard(estimator, shard, states.append, None)
    (folder / three[0]).unlink()
    path = checkpoint.path_for(folder / "results/job.shard-1-of-3")
    path.write_text(checkpoint.to_json(checkpoint_identity(job, estimator, shard), states[0]))
    capsys.readouterr()
    assert main(["run", "job.toml", "--shard", "1/3", "--resume"]) == 0
    assert "shard: given [2, 3]; accepted: [1, 3]" in capsys.readouterr().out
