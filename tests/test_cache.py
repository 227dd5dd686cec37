"""Compiled code is kept on disk: a second process compiles nothing, and gives the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import json, sys
import numpy as np
import mcgrad as mg
from mcgrad.toolchain import compile

def f(z, *, c):
    return np.sum(np.sin(z) * c)

est = mg.estimate(f, mg.Normal(np.zeros(3), 1.0), 1000, params={"c": 0.5}, backend="cpu")
hits = misses = 0
for function in compile._loaded.values():
    hits += sum(function.stats.cache_hits.values())
    misses += sum(function.stats.cache_misses.values())
print(json.dumps({"value": est.value, "grad": est.grad["loc"].tolist(), "hits": hits, "misses": misses}))
"""


def run(folder, warns=False):
    """Estimate in a process of its own; `warns` says whether it may warn of the cache, which it does once."""
    environment = {**os.environ, "MCGRAD_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "always" if warns else "error", "-c", RUN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("CacheWarning") == warns
    return json.loads(done.stdout)


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def test_a_second_process_compiles_nothing_and_writes_nothing(tmp_path):
    first = run(tmp_path)
    written = files(tmp_path)
    assert (first["hits"], first["misses"]) == (0, 1)
    second = run(tmp_path)
    assert (second["hits"], second["misses"]) == (1, 0)
    assert {**first, "hits": 1, "misses": 0} == second
    changed = {path for path, time in files(tmp_path).items() if written.get(path) != time}
    assert changed == set()
    (entry,) = written
    assert entry.name.endswith(".cpu.mcgrad")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    assert run(tmp_path)["hits"] == 0


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    found = run(tmp_path / "file" / "cache", warns=True)
    assert found["hits"] == 0
