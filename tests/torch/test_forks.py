"""Expectations work in forked children: in a clean interpreter, whatever other tests have loaded in this one."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked")
def test_in_forked_children_and_workers_of_a_loader():
    script = Path(__file__).with_name("forks.py")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "all equal\n"), ended.stderr
