"""Checkpoints: a run that goes on from one has the bits of a run that never stopped; a damaged one is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import Partial
from mcgrad.backends.chunks import Cut, split
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.engine.call import RunState
from mcgrad.jobs import checkpoint
from mcgrad.jobs.checkpoint import CheckpointWriter
from mcgrad.jobs.identity import Identity
from mcgrad.moments import Moments
from mcgrad.results import strict_json
from tests.estimators import KINDS, estimator

IDENTITY = Identity(10**9, 2**64 - 1, "float32", False, "0123", "0.1.0")
MOMENTS = Moments(12345, np.array([0.1, -0.0, np.nan, 1e-320]), np.array([1 / 3, 0.0, np.nan, np.inf]))
SHIFT = np.array([0.1, -0.0, 1e-45, 3.0], np.float32)
STATE = RunState(12345, SHIFT, (Partial(MOMENTS, 3), None, Partial(MOMENTS, 3)), 1.5, "numpy")


def numbers(estimate):
    """Everything but the time it took."""
    return {key: value for key, value in estimate.to_dict().items() if key != "seconds"}


def stopped(run, n, seed, path, **options):
    """Return the result of a run, and what its checkpoints read, at each chunk."""
    identity, seen = replace(IDENTITY, problem=run.fingerprint, dtype=run.dtype), []

    def watch(state):
        path.write_text(checkpoint.to_json(identity, state))
        seen.append(checkpoint.read(path, identity))

    return run.run(n, seed, watch=watch, **options), seen


@pytest.mark.parametrize(("name", "dtype", "backend"), [*((*kind, "cpu") for kind in KINDS), (*KINDS[1], "numpy")])
def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(name, dtype, backend, tmp_path):
    run, other = estimator(name, dtype, backend, 2), estimator(name, dtype, backend, 1)
    n = int(6e7 / run.program.work()) + 1
    right = numbers(run(n, 3, first=77))
    found, seen = stopped(run, n, 3, tmp_path / "c.json", first=77)
    assert numbers(found) == right
    assert len(seen) > 3
    assert all(run.resumes(state, n, 77) for state in seen)
    for state in (seen[0], seen[len(seen) // 2], seen[-1]):
        assert numbers(other.run(n, 3, first=77, resume=state)) == right


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("nonfinite", ["omit", "propagate"])
def test_with_draws_that_are_not_finite_and_a_mean_far_from_zero(nonfinite, backend, tmp_path):
    run = mg.Estimator(lambda z: 1e6 + np.log(z), mg.Normal(3.0, 1.0), backend=backend, nonfinite=nonfinite)
    n = 1_200_001
    right, seen = stopped(run, n, 1, tmp_path / "c.json")
    assert 0 < right.nonfinite < 3000
    assert len(seen) > 3
    for state in seen[1:3]:
        found = run.run(n, 1, resume=state)
        assert str(numbers(found)) == str(numbers(right))  # as text, where NaN equals itself


def test_a_run_goes_on_from_the_end_of_a_chunk_only():
    with pytest.raises(mg.ParameterError, match="resume: given draw 12,345; accepted: a draw at which a chunk"):
        estimator("scalar", backend="numpy").run(40_001, 3, resume=STATE)


def test_every_bit_comes_back(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(checkpoint.to_json(IDENTITY, STATE))
    read = checkpoint.read(path, IDENTITY)
    low, middle, high = read.parts
    assert (read.stop, read.seconds, read.backend, middle) == (12345, 1.5, "numpy", None)
    assert low.nonfinite == high.nonfinite == 3
    kept = read.shift, low.moments.mean, low.moments.norm, high.moments.mean, high.moments.norm
    for a, b in zip(kept, (SHIFT, *2 * (MOMENTS.mean, MOMENTS.norm)), strict=True):
        assert (a.tobytes(), a.dtype) == (b.tobytes(), b.dtype)


def test_damage_is_refused(tmp_path):
    path, text = tmp_path / "c.json", checkpoint.to_json(IDENTITY, STATE)
    damaged = [text[:length] for length in range(len(text))]
    damaged += [text.replace("12345", "12346"), text.replace("0.1,", "0.2,"), "[1, 2]", "{}", "null", text + "}"]
    damaged += ["NaN", text.replace("1.5", "NaN"), text.replace("1.5", "1e400"), "[" * 100_000, '{"moments":' * 5000]
    damaged += [text.replace('"n"', '"n": 1, "n"'), text.replace("12345", "9" * 5000)]
    for content in damaged:
        path.write_text(content)
        with pytest.raises(mg.ParameterError, match=str(path)):
            checkpoint.read(path, IDENTITY)
    path.write_text(json.dumps(json.loads(text), indent=2, sort_keys=True))  # the same, as another program formats it
    assert checkpoint.read(path, IDENTITY).stop == 12345
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(mg.ParameterError, match=str(path)):
        checkpoint.read(path, IDENTITY)


@pytest.mark.parametrize("value", [None, True, -1, 10**400, 1.5, "nan", "x", [], {}, [None], {"count": 1}])
@pytest.mark.parametrize(
    "name", ["stop", "shift", "seconds", "parts", "nonfinite", "backend", "moments", "mean", "norm", "count"]
)
def test_fields_that_are_none_of_a_checkpoint_are_refused_though_the_digest_is_right(tmp_path, name, value):
    path, fields = tmp_path / "c.json", json.loads(checkpoint.to_json(IDENTITY, STATE))
    part = fields["parts"][-1]
    inner = next(each for each in (part["moments"], part, fields) if name in each)
    inner[name] = value
    path.write_text(json.dumps(strict_json.signed(fields)))
    if (name, value) in (("seconds", 1.5), ("backend", "x"), ("backend", "nan"), ("shift", [])):
        assert checkpoint.read(path, IDENTITY).stop == 12345
    else:
        with pytest.raises(mg.ParameterError, match=f"^{path}, .*{name}"):
            checkpoint.read(path, IDENTITY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problem": "4567"}, "problem: given another integrand, distribution, parameters or data"),
        ({"n": 5}, "n: given 1000000000; accepted: 5"),
        ({"seed": 5}, "seed: given 18446744073709551615; accepted: 5"),
        ({"dtype": "float64"}, "dtype: given 'float32'; accepted: 'float64'"),
        ({"omitted": True}, "omitted: given False; accepted: True"),
        ({"version": "0.2.0"}, "version: given '0.1.0'; accepted: '0.2.0'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, message):
    path = tmp_path / "c.json"
    path.write_text(checkpoint.to_json(IDENTITY, STATE))
    with pytest.raises(mg.ParameterError) as refused:
        checkpoint.read(path, replace(IDENTITY, **changes))
    assert str(refused.value).startswith(f"{path}, {message}")


def earlier(state):
    """The fields of a checkpoint of format 4, which kept all draws of a run as one part."""
    fields = json.loads(checkpoint.to_json(IDENTITY, state))
    ((last, *higher),) = (fields.pop("parts"),)
    assert not higher
    return strict_json.signed({**fields, **last, "format": "mcgrad.Checkpoint/4"})


def test_a_checkpoint_of_format_4_is_read_where_no_span_had_ended(tmp_path, monkeypatch):
    def short_chunks(kernel, first, n):
        return split(n, first, 64, 1.0, Cut(most=64.0, least=64.0))

    monkeypatch.setattr(NumpyKernel, "chunks", short_chunks)
    path, run, seen, n = tmp_path / "c.json", estimator("scalar", backend="numpy"), [], 70 * 64
    right = numbers(run.run(n, 3, watch=seen.append))
    ends = [state.stop for state in seen]
    base = run._kernel.chunks(0, n)
    last = next(state for state in seen if base.level(state.stop) == 1)
    before, after = (seen[ends.index(last.stop) + step] for step in (-1, 1))
    identity = replace(IDENTITY, n=n, problem=run.fingerprint, dtype=run.dtype)
    for state, goes_on in ((before, True), (replace(after, parts=(after.partial,)), False)):
        path.write_text(json.dumps(strict_json.signed({**earlier(state), **vars(identity)})))
        read = checkpoint.read(path, identity)
        assert run.resumes(read, n) == goes_on
        if goes_on:
            assert numbers(run.run(n, 3, resume=read)) == right


def test_a_checkpoint_of_an_earlier_format_is_refused(tmp_path):
    path, fields = tmp_path / "c.json", json.loads(checkpoint.to_json(IDENTITY, STATE))
    fields["format"] = "mcgrad.Checkpoint/3"  # which had no shift
    path.write_text(json.dumps(strict_json.signed(fields)))
    with pytest.raises(mg.ParameterError, match=r"format: given 'mcgrad\.Checkpoint/3'"):
        checkpoint.read(path, IDENTITY)


@pytest.mark.parametrize("shift", [[0.1], [0.1, 0.2, 0.3, 1e39], [0.1, 0.2, 0.3, 10**400]])
def test_a_shift_that_is_not_of_the_components_or_beyond_the_dtype_is_refused(tmp_path, shift):
    path, fields = tmp_path / "c.json", json.loads(checkpoint.to_json(IDENTITY, STATE))
    path.write_text(json.dumps(strict_json.signed({**fields, "shift": shift})))
    with pytest.raises(mg.ParameterError, match="shift: given"):
        checkpoint.read(path, IDENTITY)


def test_a_result_of_another_run_is_refused(tmp_path):
    path, run = tmp_path / "r.json", estimator("scalar", backend="numpy")
    identity = Identity(1000, 3, "float64", False, run.fingerprint, "another")
    path.write_text(run(1000, 3).to_json())
    assert checkpoint.read_result(path, identity).value == run(1000, 3).value
    path.write_text(json.dumps(run(1000, 3).to_dict()))
    assert mg.Estimate.from_json(path.read_bytes()).value == run(1000, 3).value
    with pytest.raises(mg.ParameterError, match="digest: given nothing, as in results of earlier versions"):
        checkpoint.read_result(path, identity)
    path.write_text(run(600, 3).merge(run(400, 3, first=1000)).to_json())
    with pytest.raises(mg.ParameterError, match="ranges"):
        checkpoint.read_result(path, identity)
    for content in (run(1000, 4).to_json(), run(1000, 3).to_json()[:-9], json.dumps({"format": "x"}), ""):
        path.write_text(content)
        with pytest.raises(mg.ParameterError, match=str(path)):
            checkpoint.read_result(path, identity)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def kept(path):
    return json.loads(path.read_text())["stop"] if path.exists() else 0


def test_what_a_kill_costs_is_the_time_between_checkpoints_and_one_chunk(tmp_path):
    clock, path, warnings = Clock(), tmp_path / "c.json", []
    writer = CheckpointWriter(path, IDENTITY, 2.0, warnings.append, clock)
    for chunk in range(1, 100):
        clock.now += 0.3
        writer(replace(STATE, stop=chunk))
        assert (chunk - kept(path)) * 0.3 < 2.0
    assert warnings == []
    writer.flush()
    assert writer.written == kept(path) == 99
    writer.remove()
    assert not path.exists()


def test_a_short_run_writes_no_checkpoint(tmp_path):
    clock, path = Clock(), tmp_path / "c.json"
    writer = CheckpointWriter(path, IDENTITY, 2.0, print, clock)
    clock.now = 1.9
    writer(STATE)
    writer.remove()
    assert list(tmp_path.iterdir()) == []


def test_writing_takes_a_hundredth_of_the_time_at_most(tmp_path, monkeypatch):
    clock, path, spent = Clock(), tmp_path / "c.json", []

    def slow(*args):
        clock.now += 0.5
        spent.append(0.5)

    monkeypatch.setattr(checkpoint, "write", slow)
    writer = CheckpointWriter(path, IDENTITY, 0.0, print, clock)
    while clock.now < 1000:
        clock.now += 0.1
        writer(STATE)
    assert 5 < sum(spent) < 0.0101 * clock.now


def test_a_run_outlives_a_checkpoint_that_cannot_be_written(tmp_path):
    warnings = []
    writer = CheckpointWriter(tmp_path / "gone" / "c.json", IDENTITY, 0.0, warnings.append)
    for _ in range(3):
        writer(STATE)
    assert len(warnings) == 1
    assert "cannot be written (No such file or directory)" in warnings[0]
