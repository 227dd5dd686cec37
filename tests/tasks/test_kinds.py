"""Results say of what kinds the processes were that averaged; a mixture is refused where that is asked for."""

import re
from dataclasses import replace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import Identity
from mcgrad.system.kind import kind_here
from mcgrad.tasks.work import work
from tests.tasks.executors import Serial

HERE = kind_here("numpy")
OTHER = replace(HERE, processor="another processor", features="0123abcd")
pytestmark = pytest.mark.usefixtures("short_chunks")


def elsewhere(task, content=None):
    """As a worker of another kind."""
    return replace(work(task, content), kind=OTHER, worker="far:7")


@pytest.fixture
def run():
    return mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend="numpy")


N = 1 << 17


def test_kinds_are_in_results_files_and_merges(run):
    mine, theirs = run(N), run(N, executor=Serial(work=elsewhere), first=N)
    assert mine.kinds == (HERE,)
    assert theirs.kinds == tuple(sorted((HERE, OTHER)))  # the first chunk is averaged here
    merged = mine.merge(theirs)
    assert merged.kinds == theirs.kinds
    for estimate in (mine, theirs, merged):
        assert mg.Estimate.from_json(estimate.to_json()).kinds == estimate.kinds
    assert "another processor (0123abcd)" in str(theirs)
    assert "processor" not in str(mine)
    rows = mg.Estimator(np.sin, mg.Normal(np.zeros(6), 1.0, batch_ndim=1), backend="numpy")
    for executor in (None, Serial(work=elsewhere)):
        batch = rows(64, executor=executor)
        assert mg.BatchEstimate.from_json(batch.to_json()).kinds == batch.kinds
        assert (OTHER in batch.kinds) == (executor is not None)


@pytest.mark.parametrize("value", [None, "x", [1], [{}], [{"processor": "x"}]])
def test_wrong_kinds_in_a_file_are_refused(run, value):
    fields = run(N).to_dict()
    with pytest.raises(mg.ParameterError, match="kinds: given"):
        mg.Estimate.from_dict({**fields, "kinds": value})
    del fields["kinds"]  # as in results of earlier versions
    assert mg.Estimate.from_dict(fields).kinds == ()


def test_a_worker_of_another_kind_is_refused_where_that_is_asked_for(run):
    assert run(N, executor=Serial(), require_same=True).kinds == (HERE,)
    serial = Serial(work=elsewhere)
    with pytest.raises(mg.ExecutorError, match=r"require_same=True: far:7 is of another kind .*another processor"):
        run(N, executor=serial, require_same=True)
    with pytest.raises(mg.ParameterError, match="require_same: given 1"):
        run(N, executor=serial, require_same=1)


def test_a_backend_for_devices_names_its_device(monkeypatch):
    monkeypatch.setattr(registry, "_kinds", {})
    monkeypatch.setattr(NumpyBackend, "device", lambda self: "a GPU", raising=False)
    run = mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend="numpy")
    assert run(2).kinds == (replace(HERE, processor=f"{HERE.processor}, a GPU"),)
    run(N, executor=Serial(), require_same=True)
    with pytest.raises(mg.ExecutorError, match=r"another kind .*a GPU"):
        run(N, executor=Serial(work=elsewhere), require_same=True)


def test_a_state_keeps_the_kinds(run, tmp_path):
    states, path = [], tmp_path / "c.json"
    right = run.run(N, watch=states.append, executor=Serial(work=elsewhere))
    identity = Identity(N, 0, "float64", False, run.fingerprint, "0.1.0")
    path.write_text(checkpoint.to_json(identity, states[-2]))
    state = checkpoint.read(path, identity)
    assert state.kinds == right.kinds
    assert run.run(N, resume=state).kinds == right.kinds
    with pytest.raises(mg.ParameterError, match=re.escape("require_same: given True, to continue a run of another")):
        run.run(N, resume=state, require_same=True)
