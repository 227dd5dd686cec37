"""The code of docs/clusters.md runs, and its numbers are those of the code."""

import re
from pathlib import Path

import pytest

from mcgrad.tasks import kernels, ordered

TEXT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
PROCESSES, DASK = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_blocks_run():
    namespace = {"__name__": "__main__"}
    exec(compile(PROCESSES, "clusters.md", "exec"), namespace)
    pytest.importorskip("distributed", reason="Dask is not installed: pip install dask[distributed]")
    code = DASK.replace("dashboard_address=None", 'dashboard_address=":0", worker_dashboard_address=":0"')
    exec(compile(code, "clusters.md", "exec"), namespace)
    assert namespace["est"].n == 2_000_000


def test_numbers_are_those_of_the_code():
    text = " ".join(TEXT.split())
    assert f"more than {ordered.RATE} workers" in text
    assert f"at most {1 + ordered.QUEUED} W" in text
    assert f"and {ordered.AHEAD:.0f} W are ahead" in text
    assert f"beyond {kernels.BYTES >> 30} GB" in text
