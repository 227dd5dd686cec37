"""The recipes of docs/shards.md run as they stand there: with stand-ins for the schedulers, and fewer shards."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mcgrad.cli import main
from mcgrad.results.strict_json import loads

from .job_files import JOB, job_folder

PAGE = (Path(__file__).parent.parent / "docs/shards.md").read_text()
SBATCH = """#!/bin/sh
# runs an array, or a job, here and now
while case $1 in --parsable) true;; --dependency=afterok:7) test -e array-done;; *) false;; esac; do shift; done
export SLURM_CPUS_PER_TASK=1
if grep -q '^#SBATCH --array=1-2$' "$1"; then
    for SLURM_ARRAY_TASK_ID in 1 2; do export SLURM_ARRAY_TASK_ID; sh "$@" >&2 || exit; done
    touch array-done; echo 7
else
    sh "$@"
fi
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a job, and with the commands `mcgrad` and `sbatch`."""
    job_folder(tmp_path, monkeypatch)
    (tmp_path / "job.toml").write_text(JOB.replace("n = 500", 'n = 2_000_000\ncompare = "none"'))
    (tmp_path / "bin").mkdir()
    for name, text in (("mcgrad", f'#!/bin/sh\nexec "{sys.executable}" -m mcgrad "$@"\n'), ("sbatch", SBATCH)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert main(["run", "job.toml", "--out", "whole", "--backend", "cpu"]) == 0
    return tmp_path


def blocks(heading, language):
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def numbers(path):
    return {**loads(str(path), path.read_bytes()), "seconds": 0, "digest": ""}


def run(command, **options):
    subprocess.run(["sh", "-euc", command], check=True, **options)


def test_slurm(folder):
    shard, merge, submit = blocks("Slurm", "sh")
    (folder / "shard.sh").write_text(shard.replace("64", "2"))
    (folder / "merge.sh").write_text(merge)
    run(submit)
    assert numbers(folder / "results/job.json") == numbers(folder / "whole/job.json")


def test_kubernetes(folder):
    (manifests,), (submit,) = blocks("Kubernetes", "yaml"), blocks("Kubernetes", "sh")
    (folder / "shards.yaml").write_text(manifests.replace("64", "2"))
    run(submit.partition("\n")[0])
    shards, merge = (
        re.search(r"exec mcgrad [^\n\]]*", (folder / part).read_text())[0] for part in ("part00", "part01")
    )
    for index in range(2):
        run(shards, env={**os.environ, "JOB_COMPLETION_INDEX": str(index)})
    run(merge.removesuffix('"'))
    assert numbers(folder / "results/job.json") == numbers(folder / "whole/job.json")
