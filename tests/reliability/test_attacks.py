"""A few of the attacks that bench/reliability.py makes at length: nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.worker import FAMILIES

ROOT = Path(__file__).parent.parent.parent
TRIES = [  # in turn by one worker
    {"cache_damage": 7, "targets": 30, "user_code": 16, "concurrency": 1},
    {"kills": 7, "surroundings": 5, "records": 40},
    {"failing_writes": 8, "job_keys": 60, "call_arguments": 100, "data_files": 60},
]


def test_every_family_is_there():
    assert sorted(family for tries in TRIES for family in tries) == sorted(FAMILIES)


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked, waited for by pidfd_open, and killed")
@pytest.mark.parametrize("tries", TRIES, ids=lambda tries: "+".join(tries))
def test_nothing_is_lost(tries):
    cases = [f"{family}:{count}" for family, count in tries.items()]
    command = [sys.executable, "-m", "tests.reliability.worker", *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == sum(tries.values())
    assert [verdict for verdict in verdicts if verdict["outcome"] == "lost"] == []
