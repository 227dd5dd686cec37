"""The number of threads follows affinity, control groups and the environment, when each of them changes."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli.info import info
from mcgrad.engine import threads as running
from mcgrad.engine.threads import MOST_THREADS, THREADS_VARIABLE, pool, thread_count
from mcgrad.system import cgroup, machine
from mcgrad.system.cgroup import read_quota

ACCEPTED = "a whole number from 1 to 4096"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)


def granted(folder, groups, **files):
    """Return the quota that some files of control groups grant."""
    (folder / "groups").write_text(groups)
    for name, text in files.items():
        path = folder / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_quota(folder / "groups", folder / "fs")


V1 = "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "share"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7/cpu.max": "300000 100000", "slurm/cpu.max": "max 100000"}, 3.0),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000", "cpu.max": "400000 100000"}, 0.5),
        ("0::/../../elsewhere\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/docker/of-the-host\n", {"cpu.max": "200000 100000"}, 2.0),  # the path is not there inside
        (V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 2.5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        (V1, {"cpu/cpu.cfs_quota_us": "50000"}, None),
        ("0::/\n", {"cpu.max": "garbage"}, None),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_quotas_of_control_groups(tmp_path, groups, files, share):
    assert granted(tmp_path, groups, **files) == share


def test_where_there_are_no_control_groups(tmp_path):
    assert read_quota(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(("share", "count"), [(None, 8), (0.5, 1), (1.0, 1), (1.5, 2), (7.01, 8), (64.0, 8)])
def test_a_quota_counts_in_whole_processors(monkeypatch, share, count):
    monkeypatch.setattr(machine, "allowed_processors", lambda: 8)
    monkeypatch.setattr(machine, "quota", lambda: share)
    assert machine.available_processors() == thread_count(None) == count


def test_a_quota_is_read_again_after_a_while(monkeypatch):
    now, found = [1000.0], [2.0]
    monkeypatch.setattr(cgroup, "_read", (0.0, None))
    monkeypatch.setattr(cgroup.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cgroup, "read_quota", lambda: found[0])
    assert cgroup.quota() == 2.0
    found[0], now[0] = 1.0, 1000.0 + 0.9 * cgroup.LASTS
    assert cgroup.quota() == 2.0
    now[0] = 1000.0 + cgroup.LASTS
    assert cgroup.quota() == 1.0


AFFINITY = """
import os
import mcgrad as mg, numpy as np
estimator = mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend="numpy")
seen = [(estimator.threads, len(os.sched_getaffinity(0)))]
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print(seen + [(estimator.threads, 1)])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity here")
def test_an_estimator_follows_the_affinity():
    options = {"env": {**os.environ, "PYTHON_CPU_COUNT": "default"}, "capture_output": True, "text": True}
    found = subprocess.run([sys.executable, "-c", AFFINITY], timeout=300, **options)
    assert found.returncode == 0, found.stderr
    for threads, processors in eval(found.stdout):
        assert 1 <= threads <= processors


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_variable_is_none(monkeypatch, blank):
    monkeypatch.setenv(THREADS_VARIABLE, blank)
    assert thread_count(None) == machine.available_processors()
    assert running.threads_given() == ""


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", str(MOST_THREADS + 1), "1e3"])
def test_a_variable_that_is_no_number_of_threads(monkeypatch, text):
    monkeypatch.setenv(THREADS_VARIABLE, text)
    with pytest.raises(mg.ParameterError, match=f"^{THREADS_VARIABLE}: given .*; accepted: {ACCEPTED}"):
        thread_count(None)


@pytest.mark.parametrize("threads", [0, -1, 2.5, True, "2", MOST_THREADS + 1, 10**9])
def test_threads_that_are_no_number_of_threads(threads):
    with pytest.raises(mg.ParameterError, match=rf"^threads: given .*; accepted: {ACCEPTED}"):
        thread_count(threads)


def test_the_variable_counts_in_each_call(monkeypatch):
    """As where a job sets it after a module has made its estimators."""
    estimator = mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend="numpy")
    fixed = mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend="numpy", threads=2)
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert (estimator.threads, fixed.threads) == (3, 2)


def test_info_says_what_limits(monkeypatch):
    monkeypatch.setattr("mcgrad.cli.info.quota", lambda: 1.5)
    monkeypatch.setattr(machine, "quota", lambda: 1.5)
    monkeypatch.setattr("mcgrad.cli.info.allowed_processors", lambda: 3)
    monkeypatch.setattr(machine, "allowed_processors", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert info()["processors"] == "2 usable of 16 (affinity 3, control group's quota 1.5)"


def test_threads_of_pools_that_are_not_kept_end():
    pool.cache_clear()
    began = {}
    for size in range(2, 14):
        before, executor = {*threading.enumerate()}, pool(size)
        executor.submit(int).result(300)
        began[size] = {*threading.enumerate()} - before
        assert began[size]
    del executor
    for size in range(2, 14 - running.POOLS):
        for thread in began[size]:
            thread.join(60)
            assert not thread.is_alive()
    assert all(thread.is_alive() for size in range(14 - running.POOLS, 14) for thread in began[size])
