"""Estimates of batches in files: read back exactly, and refused where they are damaged."""

import json

import numpy as np
import pytest

import mcgrad as mg

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
