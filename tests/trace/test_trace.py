"""Trees in, trees out; what an integrand may be, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mcgrad.errors import McgradError, ParameterError, TraceError
from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.trace import trace, trace_integrand, trace_number
from mcgrad.trace.tracer import Tracer

Z = build.noise(0, "normal", (3,))
TAU = build.input_("tau", ())


def test_trees_keep_their_shape():
    result = trace(
        lambda a, b, *, c: {"x": a["u"] + a["v"]["w"], "y": (b, 1.5), "z": [c]},
        ({"u": Z, "v": {"w": Z}}, np.array([1, 2])),
        {"c": TAU},
    )
    assert list(result) == ["x", "y", "z"]
    assert [result["x"].shape, result["y"][0].shape, result["y"][1].attrs.array] == [(3,), (2,), 1.5]
    assert result["z"] == [TAU]


def test_concrete_arrays_stay_numpy_and_can_index():
    def f(z, *, index, weight):
        assert isinstance(index, np.ndarray)
        assert isinstance(weight, Tracer)
        return np.sum(z[index] * weight)

    result = trace_integrand(f, Z, {}, {"index": np.array([2, 0]), "weight": build.input_("weight", (2,))})
    assert result.shape == ()


def test_joint_draws_arrive_by_name():
    f = lambda z: z["a"] * z["b"]["c"]  # noqa: E731
    assert trace_integrand(f, {"a": TAU, "b": {"c": build.noise(0, "normal", ())}}).by_draw


def test_draws_that_are_inputs_count_as_draws():
    assert trace_integrand(lambda z: z**2, TAU).shape == ()


def test_a_condition_is_a_probability():
    assert trace_integrand(lambda z: z[0] > 0, Z).kind == "float"


def no_return(z):
    np.sum(z)


def misnamed(z, sigma=1.0, *, rate):
    return z.sum() * rate


def scalar(z, *, tau):
    return z.sum() * tau


@pytest.mark.parametrize(
    ("f", "named", "error", "words"),
    [
        (lambda z: z[:0], {}, TraceError, ["without elements", "shape (0,)"]),
        (lambda z: 3.0, {}, TraceError, ["ignores z"]),
        (lambda z, tau: tau**2, {"tau": TAU}, TraceError, ["ignores z"]),
        (no_return, {}, TraceError, ["no_return returns None", "return statement"]),
        (lambda z: (z[0], z[1]), {}, TraceError, ["returns a tuple"]),
        (lambda z: {"a": (z[0], z[1])}, {}, TraceError, ["returns a tuple", "np.stack"]),
        (lambda z: {}, {}, TraceError, ["empty dict"]),
        (lambda z: {"a.b": z[0]}, {}, TraceError, ["a.b"]),
        (lambda z: {"a": 3.0}, {}, TraceError, ["ignores z"]),
        (lambda z: 1j, {}, TraceError, ["complex", "real part"]),
        (lambda z: "text", {}, TraceError, ["'text'", "str", "array or a number"]),
        (lambda z: object(), {}, TraceError, ["object"]),
        (scalar, {"tua": TAU}, ParameterError, ["params['tua']", "scalar does not accept", "tau"]),
        (lambda z: z[0], {"tau": TAU}, ParameterError, ["params['tau']", "takes the draw only"]),
        (misnamed, {}, ParameterError, ["misnamed", "'rate'"]),
        (scalar, {"z": TAU, "tau": TAU}, ParameterError, ["params['z']", "the draw"]),
        (lambda: 1.0, {}, ParameterError, ["f(z, **params, **data)"]),
    ],
)
def test_integrands_that_are_refused(f: Any, named: dict[str, Var], error: type[McgradError], words: list[str]):
    with pytest.raises(error) as caught:
        trace_integrand(f, Z, named)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    if error is TraceError:
        assert caught.value.filename == __file__


def test_a_name_in_params_and_data_is_refused():
    with pytest.raises(ParameterError, match="tau"):
        trace_integrand(scalar, Z, {"tau": TAU}, {"tau": TAU})


def test_data_that_the_integrand_does_not_accept():
    with pytest.raises(ParameterError, match=r"data\['X'\]"):
        trace_integrand(scalar, Z, {"tau": TAU}, {"X": TAU})


def test_arrays_and_dicts_of_arrays():
    assert trace_integrand(lambda z: z > 0, Z).kind == "float"
    found = trace_integrand(lambda z: {"a": z, "b": {"c": 1.0}}, Z)
    assert (found["a"].shape, found["b"]["c"].shape) == ((3,), ())
    with pytest.raises(TraceError, match=r"shape \(3,\); a log joint returns one number .* np.sum"):
        trace_number(lambda z: z, Z)
    with pytest.raises(TraceError, match="returns a dict; a log joint"):
        trace_number(lambda z: {"a": z}, Z)


def test_callables_without_a_signature_are_called():
    assert trace_integrand(np.sum, Z).shape == ()
    assert trace_integrand(np.linalg.norm, Z).shape == ()


def test_any_keyword_where_the_integrand_takes_any():
    assert trace_integrand(lambda z, **named: z.sum() * named["tau"], Z, {"tau": TAU}).shape == ()
