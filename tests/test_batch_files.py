"""Estimates of batches in files: read back exactly, and refused where they are damaged."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student_t

import mcgrad as mg
from mcgrad.results import batch_record
from mcgrad.results.packed import pack
from mcgrad.results.strict_json import signed

LOC, X = np.array([[0.1, 0.2], [0.3, -0.4], [1.0, 2.0]]), np.array([1.0, 2.0, 3.0])


def made(rows=slice(None), **options):
    q = mg.Normal(LOC[rows], 0.5, batch_ndim=1)
    given = {"data": {"x": X[rows]}, "batched_data": "x", "backend": "numpy", **options}
    return mg.Estimator(lambda z, x: x * np.sum(np.cos(z)), q, **given)


@pytest.mark.parametrize("options", [{}, {"reduce": "mean"}, {"common_noise": True}, {"rows": slice(0)}])
def test_read_back_exactly(options):
    estimator = made(**options)
    est = estimator(20)
    again = mg.BatchEstimate.from_json(est.to_json())
    assert again.to_json() == est.to_json()
    np.testing.assert_array_equal(again.value, est.value)
    np.testing.assert_array_equal(again.grad_stderr["loc"], est.grad_stderr["loc"])
    assert str(again) == str(est)
    merged = again.merge(estimator(30, first=20))
    np.testing.assert_array_equal(merged.grad["scale"], est.merge(estimator(30, first=20)).grad["scale"])


def test_sums_over_rows_have_degrees_of_freedom_of_their_own():
    """Some kernels take the variances of sums over rows from pairs of draws."""
    est = made()(20)
    assert est.moments.total_degrees.tolist() == [57.0]
    paired = replace(est, moments=replace(est.moments, degrees=np.array([30.0])))
    for one, degrees in ((est, 57), (paired, 30), (paired.merge(replace(paired, ranges=((20, 40),))), 60)):
        low, high = mg.BatchEstimate.from_json(one.to_json()).confidence_interval().grad["scale"]
        assert (high - low) / (2 * one.grad_stderr["scale"]) == pytest.approx(student_t.ppf(0.975, degrees))


def test_files_of_the_first_batches_are_read():
    """They have no degrees of freedom, and the gradient is of one number."""
    est = made(reduce="mean")(20)
    fields = est.to_dict()
    del fields["moments"]["degrees"]
    assert not {"value_shapes", "contracted", "covariance"} & fields.keys()
    again = mg.BatchEstimate.from_json(json.dumps(signed(fields)))
    assert again.confidence_interval().grad["scale"] == est.confidence_interval().grad["scale"]
    assert again.merge(made(reduce="mean")(30, first=20)).n == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(format="mcgrad.Estimate/1"), r"^format: given 'mcgrad\.Estimate/1'"),
        (lambda fields: fields.pop("rows"), "^rows: given nothing"),
        (lambda fields: fields.update(other=1), "^'other': given no field"),
        (lambda fields: fields["nonfinite"].append(0), "^nonfinite: given "),
        (lambda fields: fields["moments"]["means"].pop(), r"^moments\.means: given 8 numbers; accepted: 9"),
        (lambda fields: fields["moments"].update(variances=[-1.0]), r"^moments\.variances: given -1.0"),
        (lambda fields: fields.update(order=["loc"]), "^order: given "),
        (lambda fields: fields.update(batch_shape=[2]), "^moments.counts: given "),
        (lambda fields: fields.update(reduce="max"), "^reduce: given 'max'"),
        (lambda fields: fields.update(seed=7), "^digest: given that of other content"),
    ],
)
def test_damage_is_refused(change, message):
    fields = json.loads(made()(20).to_json())
    change(fields)
    with pytest.raises(mg.ParameterError, match=message):
        mg.BatchEstimate.from_json(json.dumps(fields))


@pytest.mark.parametrize("options", [{}, {"reduce": "mean"}, {"common_noise": True}])
def test_many_rows_are_read_back_exactly(options, monkeypatch):
    est = made(**options)(20)
    listed = est.to_json()
    monkeypatch.setattr(batch_record, "LISTED", 8)
    again = mg.BatchEstimate.from_json(est.to_json())
    assert again.to_json() == est.to_json()
    monkeypatch.undo()
    assert again.to_json() == listed
    assert mg.BatchEstimate.from_json(listed).to_json() == listed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields["rows"].update(base64="AA=="), r"^rows\.base64: given "),
        (lambda fields: fields["rows"].update(shape=[2]), r"^rows\.shape: given \[2\]; accepted: .* shape \(3,\)"),
        (lambda fields: fields.update(nonfinite=pack(np.array([0, 21, 0]))), "^nonfinite: given numbers from 0 to 21"),
        (lambda fields: fields["moments"].update(norms=pack(np.full(9, -1.0))), r"^moments\.norms: given -1.0"),
        (lambda fields: fields["moments"].update(means=pack(np.zeros(9, np.float32))), r"^moments\.means: given"),
        (lambda fields: fields.update(seed=7), "^digest: given that of other content"),
    ],
)
def test_damage_of_many_rows_is_refused(change, message, monkeypatch):
    monkeypatch.setattr(batch_record, "LISTED", 8)
    fields = json.loads(made()(20).to_json())
    change(fields)
    with pytest.raises(mg.ParameterError, match=message):
        mg.BatchEstimate.from_json(json.dumps(fields))
