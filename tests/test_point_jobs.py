"""Jobs with `sampler = "sobol"`: results, checkpoints and --resume, other samplers, comparison and verification."""

import pytest

from mcgrad.cli import main
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import identity_of
from mcgrad.jobs.jobfile import load

from .job_files import JOB, job_folder

POINTS = JOB.replace("n = 500\n", 'n = 8192\nsampler = "sobol"\nseed = 3\n')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = job_folder(tmp_path, monkeypatch)
    (folder / "job.toml").write_text(POINTS)
    return folder


def numbers(est):
    return {name: x for name, x in est.to_dict().items() if name != "seconds"}


def test_a_job_goes_on_from_its_checkpoint(folder, capsys):
    (folder / "job.toml").write_text(POINTS.replace("8192", str(2**19)))
    (job,) = load("job.toml")
    seen = []
    right = job.run(job.estimator(), seen.append, None)
    assert right.replicates.numbers == ((0, 16),)
    assert len(seen) > 1
    identity = identity_of(job.estimator(), job.n, 3, False)
    path = checkpoint.path_for(job.out)
    path.parent.mkdir()
    path.write_text(checkpoint.to_json(identity, seen[0]))
    assert main(["run", "job.toml", "--resume"]) == 0
    assert f"resumed at replicate {seen[0].rows} of 16" in capsys.readouterr().out
    assert numbers(right.from_json((folder / "results/job.json").read_text())) == numbers(right)
    assert not path.exists()


def test_another_sampler_runs_again(folder, capsys):
    assert main(["run", "job.toml"]) == 0
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "complete already" in capsys.readouterr().out
    for change in ('"sobol"\nreplicates = 32', '"sobol"\nscramble = "owen"', '"philox"'):
        (folder / "job.toml").write_text(POINTS.replace('"sobol"', change))
        assert main(["run", "job.toml", "--resume"]) == 0
        assert "runs again: results/job.json" in capsys.readouterr().out


def test_jobs_are_compared_and_verified_on_points_that_fit(folder, capsys):
    (folder / "job.toml").write_text(POINTS.replace('"numpy"', '"cpu"') + "n_compare = 5000\n")
    assert main(["run", "job.toml", "--verify"]) == 0
    printed = capsys.readouterr().out
    assert "on the same first 4,096 draws" in printed
    assert "NOT OK" not in printed
    assert "standard errors of 16 replicates of 512 draws" in printed


def test_keys_that_do_not_fit_are_named(folder, capsys):
    for change, why in (("n = 1000", "n: given 1,000"), ("n = 1024\nreplicates = 1", "replicates: given 1")):
        (folder / "job.toml").write_text(POINTS.replace("n = 8192", change))
        assert main(["run", "job.toml"]) != 0
        assert why in capsys.readouterr().err
