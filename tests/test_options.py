"""The options of an Estimator: the same keywords and defaults wherever they are given, and each checked by itself."""

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.options import Options, Request
from mcgrad.inputs.arguments import RESERVED
from mcgrad.validate.verification import verified

OPTIONS = {field.name: field for field in fields(Options)}


@pytest.mark.parametrize("function", [mg.Estimator, mg.estimate, mg.compare, mg.verify])
def test_functions_have_the_keywords_and_defaults_of_the_options(function):
    given = inspect.signature(function).parameters
    shared = OPTIONS.keys() & given.keys()
    assert len(shared) >= 6
    for name in shared:
        assert (given[name].default, given[name].annotation) == (OPTIONS[name].default, OPTIONS[name].type)


def test_an_estimator_takes_all_options():
    keywords = [name for name, p in inspect.signature(mg.Estimator).parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert keywords == [*OPTIONS]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 1),
        ("draws", 0),
        ("dtype", "float16"),
        ("backend", "gpu"),
        ("threads", 0),
        ("nonfinite", "ignore"),
        ("output", "disk"),
    ],
)
def test_an_option_is_refused_without_f_and_q(name, value):
    with pytest.raises(mg.ParameterError, match=rf"^{name}: given {value!r}"):
        Options(**{name: value})


def test_no_parameter_may_have_the_name_of_an_argument_of_a_call():
    """Its new values would be taken for that argument."""
    call = inspect.signature(mg.Estimator.__call__).parameters
    arguments = [name for name, p in call.items() if name != "self" and p.kind is not p.VAR_KEYWORD]
    assert sorted(RESERVED) == sorted(arguments)


def test_names_may_come_from_an_iterator():
    f, q = (lambda z, *, X: np.sum(X * z)), mg.Normal([0.1, 0.2], 1.0)
    data = {"X": np.array([1.0, 2.0])}
    compared = mg.compare(f, q, 2000, data=data, wrt=iter(["loc"]), methods=["pathwise", "score"], backend="numpy")
    assert compared.components == ("loc[0]", "loc[1]")
    assert mg.verify(f, q, 2000, data=data, wrt=iter(["loc"]), backends="numpy").components == 2


def test_a_request_may_be_changed_and_keeps_what_a_pilot_chose():
    f, q = (lambda z, *, tau: tau * np.sin(z)), mg.Normal(0.3, 1.2)
    request = Request(f, q, Options(params={"tau": 2.0}, method="auto", dtype="float32", backend="numpy"))
    first = mg.Estimator.of(request)
    settled = replace(request, plan=first.plan)
    again = mg.Estimator.of(settled)
    assert again.plan is first.plan  # without another pilot
    assert again(100).to_dict()["moments"] == first(100).to_dict()["moments"]
    assert mg.Estimator.of(settled.change(wrt="tau", dtype="float64"))(100).grad.keys() == {"tau"}


def test_verification_of_a_request_reports_draws_that_its_runs_would_refuse():
    f, q = (lambda z: np.log(z)), mg.Normal(1.0, 1.0)
    request = Request(f, q, Options(nonfinite="raise", draws=100, threads=2))
    with pytest.raises(mg.NonFiniteError):
        mg.Estimator.of(request)(100)
    assert str(verified(request, 2000, 0, backends="cpu")) == str(mg.verify(f, q, 2000, backends="cpu"))
