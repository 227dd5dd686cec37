"""A few of the attacks that bench/reliability.py makes at length: nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.worker import FAMILIES

ROOT = Path(__file__).parent.parent.parent
TRIES = {  # seconds decide
    "cache_damage": 12,
    "failing_writes": 12,
    "kills": 7,
    "records": 54,
    "targets": 28,
    "job_keys": 80,
    "user_code": 30,
    "data_files": 110,
    "concurrency": 8,
    "surroundings": 10,
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="children are waited for by pidfd_open, and killed")


@linux
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_lost(family):
    command = [sys.executable, "-m", "tests.reliability.worker", family, "--tries", str(TRIES[family])]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == TRIES[family]
    assert [verdict for verdict in verdicts if verdict["outcome"] == "lost"] == []
