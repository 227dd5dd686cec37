"""The scripts of docs/processes.md run, each by itself, and find in other processes the bits of this one."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "processes.md").read_text()
SCRIPTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("number", "package"), [(0, "concurrent"), (1, "joblib"), (2, "distributed")])
def test_scripts_run(tmp_path, number, package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    assert len(SCRIPTS) == 3
    (tmp_path / "script.py").write_text(SCRIPTS[number])
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
