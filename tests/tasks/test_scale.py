"""The order of tasks on simulated clusters: each draw once whatever dies, and no worker waits for one that is late."""

from dataclasses import replace

import pytest
from bench.scale_simulation import Cluster, simulate

from mcgrad.tasks import ordered

# of 20 workers one dies every 10 seconds, and is missed half a minute later
DYING = Cluster(20, mean_time_to_failure=200.0, downtime=10.0, detection=30.0)
DRAWS = 2 * 10**12


@pytest.fixture(scope="module")
def as_it_is():
    return simulate(DYING, DRAWS)  # which asserts that each draw counts once


def test_each_draw_counts_once_though_workers_die(as_it_is):
    assert as_it_is.deaths > 10
    assert as_it_is.tasks > 20 * 100


def test_no_worker_waits_for_a_late_one(as_it_is, monkeypatch):
    monkeypatch.setattr(ordered, "LATE", 0.0)
    before = simulate(DYING, DRAWS)
    assert before.idle > 2 * as_it_is.idle
    assert before.seconds > 1.2 * as_it_is.seconds


def test_results_that_wait_are_limited_by_their_memory(as_it_is, monkeypatch):
    monkeypatch.setattr(ordered, "HELD", 100 * 1000)
    assert simulate(DYING, DRAWS).held < as_it_is.held / 2


def test_tasks_last_longer_where_one_client_would_not_take_so_many():
    cluster = Cluster(800, mean_time_to_failure=float("inf"), spread=0.0, slow=0.0)
    fast, slow = (simulate(replace(cluster, client=seconds), 10**13) for seconds in (1e-5, 1e-3))
    assert fast.tasks / fast.seconds < 800
    assert slow.seconds < 1.2 * fast.seconds
