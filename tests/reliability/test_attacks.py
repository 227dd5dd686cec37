"""A few of the attacks that bench/reliability.py makes at length: nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TRIES = {"cache_damage": 12, "kills": 7, "records": 54, "targets": 30, "job_keys": 80, "data_files": 60}
linux = pytest.mark.skipif(sys.platform != "linux", reason="children are waited for by pidfd_open, and killed")


@linux
@pytest.mark.parametrize("family", TRIES)
def test_nothing_is_lost(family):
    command = [sys.executable, "-m", "tests.reliability.worker", family, "--tries", str(TRIES[family])]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == TRIES[family]
    assert [verdict for verdict in verdicts if verdict["outcome"] == "lost"] == []
