"""Functions that distributions, objectives, controls and Integrands hold: by name in pickles, or as code."""

import copy
import functools
import pickle
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad import pickles
from tests.reliability.trips import SEED, TRIPS, N, bits, log_joint, make, q


def _held(rate):
    """Objects that hold functions which no other process finds by name."""

    def transform(eps, *, m):
        return m + rate * eps

    def joint(z):
        return -np.sum(rate * z**2)

    return {
        "own transform": mg.Reparameterized(transform, {"m": 0.2}, mg.noise.normal()),
        "partial": mg.Reparameterized(functools.partial(shifted, by=rate), {"m": 0.2}, mg.noise.normal()),
        "mapped": mg.Normal(0.0, 1.0).transformed(lambda x, *, by: np.sinh(by * x), params={"by": rate}),
        "part": mg.Joint(a=mg.Normal(0.0, 1.0).transformed(lambda x: np.arctan(rate * x)), b=mg.Laplace(0.1, 0.2)),
        "elbo": mg.elbo(joint, q()),
        "iwae": mg.iwae(lambda z: -np.sum(rate * z**2), q(), 4),
        "kl": mg.kl(mg.Reparameterized(transform, {"m": 0.2}, mg.noise.normal(), density), mg.Normal(0.0, rate)),
    }


def shifted(eps, *, m, by):
    return m + by * eps


def density(z, *, m):
    return -np.sum((z - m) ** 2)


def estimated(held):
    """Return the bits of an estimate of what holds a function."""
    if isinstance(held, mg.Distribution):
        return bits(mg.estimate(of_any, held, N, seed=SEED, backend="numpy"))
    return bits(mg.estimate(held, n=N, seed=SEED, backend="numpy"))


def of_any(z):
    return np.sum(z["a"]) + np.sum(z["b"]) if isinstance(z, dict) else np.sum(z)


@pytest.mark.parametrize("name", _held(0.7))
def test_functions_are_sent_as_code_where_they_have_no_name(name):
    held = _held(0.7)[name]
    expected = estimated(held)
    assert expected != estimated(_held(0.9)[name])
    for trip in TRIPS.values():
        assert estimated(trip(held)) == expected


def test_a_control_with_functions_that_have_no_name():
    control = mg.Control(lambda z: np.sum(z), mean=lambda loc: np.sum(loc))
    here = make(log_joint, q(), control=control)
    for trip in TRIPS.values():
        assert bits(make(log_joint, q(), control=trip(control))(N, SEED)) == bits(here(N, SEED))


def test_an_integrand_of_functions_that_have_no_name():
    value = numba.njit(lambda z: 2 * z[0])

    @numba.njit
    def value_and_grad(z, grad):
        grad[0] = 2.0
        return 2 * z[0]

    here = mg.Integrand(value=value, value_and_grad=value_and_grad)
    for trip in TRIPS.values():
        again = mg.estimate(trip(here), mg.Normal(0.3, 1.2), N, seed=SEED, backend="numpy")
        assert bits(again) == bits(mg.estimate(here, mg.Normal(0.3, 1.2), N, seed=SEED, backend="numpy"))


def test_a_function_is_sent_once_and_stays_one():
    held = _held(0.7)["mapped"]
    assert held.fn is held._map.forward
    there = pickle.loads(pickle.dumps(held))
    assert there.fn is there._map.forward
    assert there.fn is not held.fn
    assert copy.deepcopy(held._map).forward is held.fn
    assert not pickles._codes


class Cyclic:
    """An object of a closure that holds it."""

    def __init__(self):
        self.rate = 0.7
        self.q = mg.Reparameterized(lambda eps, *, m: m + self.rate * eps, {"m": 0.2}, mg.noise.normal())


def test_a_function_that_refers_to_what_holds_it():
    here = Cyclic()
    for trip in TRIPS.values():
        assert estimated(trip(here).q) == estimated(here.q)


HELD = {
    "log_joint": lambda function: mg.elbo(lambda z: function(z), q()),
    "h": lambda function: mg.Control(lambda z: function(z), mean=0.0),
    "transform": lambda function: mg.Reparameterized(lambda eps, m: function(m + eps), {"m": 0.2}, mg.noise.normal()),
    "fn": lambda function: mg.Normal(0.0, 1.0).transformed(lambda x: function(x)),
}


@pytest.mark.parametrize("name", HELD)
def test_a_function_that_holds_what_cannot_be_pickled_is_named(name):
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    held = HELD[name](locked)
    with pytest.raises(
        mg.ParameterError,
        match=rf"^{name}: given <lambda> of .*functions.py, line .*cannot pickle '_thread.lock'",
    ):
        pickle.dumps(held)


PLAIN_READER = """
import pickle, sys
import mcgrad as mg
q, elbo = pickle.load(open(sys.argv[1], "rb"))
print(mg.estimate(elbo, n=100, backend="numpy").value, q.sample(2))
"""
PLAIN_WRITER = """
import pickle, sys
import numpy as np
import mcgrad as mg

def shape(z):
    return np.sum(z**2)

def joint(z):
    return -shape(z)

def transform(eps, *, m):
    return m + shape(eps) * eps

q = mg.Reparameterized(transform, {"m": 0.2}, mg.noise.normal())
elbo = mg.elbo(joint, mg.Normal(np.zeros(2), 1.0))
pickle.dump((q, elbo), open(sys.argv[1], "wb"))
print(mg.estimate(elbo, n=100, backend="numpy").value, q.sample(2))
"""


def test_a_notebooks_functions_in_distributions_and_objectives(tmp_path):
    def printed(code):
        command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "both")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed(PLAIN_WRITER) == printed(PLAIN_READER) != ""
