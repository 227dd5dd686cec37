"""Short chunks for tests of tasks."""

from functools import partial

import pytest

from mcgrad.backends import cpu, cpu_row_lanes, cpu_rows, numpy
from mcgrad.backends.chunks import Cut, split

SHORT = Cut(most=3e4, least=3e4)


@pytest.fixture
def short_chunks(monkeypatch):
    """Cut chunks of some thousand multiplications, so that runs of many are short."""
    for module in (cpu, numpy):
        monkeypatch.setattr(module, "split", partial(split, cut=SHORT))
    for module in (cpu_rows, cpu_row_lanes):
        monkeypatch.setattr(module, "CORE", SHORT)
