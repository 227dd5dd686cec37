"""Errors: they are the built-in ones too, they pickle, and they say where."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from mcgrad import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ParameterError("scale", "-1.0", "finite and > 0"), ValueError),
        (errors.TraceError("float(z)", "f.py", 3, "x = float(z)"), TypeError),
        (errors.NonFiniteError("3 draws"), ArithmeticError),
        (errors.BackendError("no CUDA"), RuntimeError),
        (errors.MergeError("seeds"), ValueError),
    ],
)
def test_errors_are_builtin_errors_and_pickle(error, builtin):
    assert isinstance(error, errors.McgradError)
    assert isinstance(error, builtin)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_parameter_error_says_name_given_accepted():
    assert str(errors.ParameterError("n", "1", "2 or more")) == "n: given 1; accepted: 2 or more"


def test_trace_error_shows_the_users_line(tmp_path: Path):
    file = tmp_path / "user.py"
    file.write_text("def f(z):\n    return float(z)\n")
    error = errors.TraceError("float(z) cannot be traced", str(file), 2)
    assert error.line == "return float(z)"
    assert str(error).splitlines() == ["float(z) cannot be traced", f'  File "{file}", line 2', "    return float(z)"]
    assert str(errors.TraceError("no place")) == "no place"


def test_shown_is_short():
    assert errors.shown(np.zeros((2, 3))) == "float64 array of shape (2, 3)"
    assert errors.shown("gpu") == "'gpu'"
    assert len(errors.shown(list(range(1000)))) == 60
