"""An Estimator, and what goes into it and comes out of it, pickles and copies: equal bits, no second pilot."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.backends import registry
from mcgrad.distributions import constraints
from mcgrad.engine import auto, derivation, pickling
from mcgrad.ir import serial
from mcgrad.results.ratio import Part
from tests.families import FAMILIES
from tests.reliability.trips import LOC, SEED, TRIPS, N, bits, log_joint, make, q


def wave(z, *, a):
    return np.sum(np.sin(a * z))


def nested(z, *, net, X, rows):
    return np.sum(X[rows] @ z["a"]) * net["w"] + np.sum(net["b"] * z["b"])


def stretched(x, *, by):
    return np.sinh(by * x)


@numba.njit
def square(z):
    return z[0] ** 2


@numba.njit
def square_and_grad(z, grad):
    grad[0] = 2 * z[0]
    return z[0] ** 2


X = np.random.default_rng(0).standard_normal((4, 3))
DATA = {"X": X, "rows": np.array([0, 2, 2])}
NET = {"net": {"w": np.float32(0.5), "b": np.ones(2)}}
ESTIMATORS = {
    "pathwise": lambda: make(wave, q(), params={"a": 0.5}),
    "compiled": lambda: make(wave, q(), "cpu", params={"a": 0.5}),
    "float32": lambda: make(wave, q(), params={"a": 0.1}, dtype="float32", threads=1, wrt="loc"),
    "nested": lambda: make(nested, mg.Joint(a=q(), b=mg.Laplace([0.1, 0.2])), params=NET, data=DATA, dtype="float32"),
    "baseline": lambda: make(wave, q(), params={"a": 0.5}, method="score", baseline="mean"),
    "groups": lambda: make(wave, q(), params={"a": 0.5}, method={"loc": "score+leave_one_out"}, k=4),
    "auto": lambda: make(lambda z: np.sum(z > 0.2), mg.Normal(0.1, 1.0), method="auto"),
    "difference": lambda: make(wave, q(), params={"a": 0.5}, method="difference"),
    "objective": lambda: make(mg.iwae(log_joint, q(), 4), method="dreg"),
    "divergence": lambda: make(mg.kl(q(), mg.Laplace(LOC, 2.0)), nonfinite="omit"),
    "Integrand": lambda: make(mg.Integrand(value=square, value_and_grad=square_and_grad), mg.Normal(0.3, 1.2)),
    "lambda": lambda: make(lambda z, *, a: np.sum(np.cos(a * z)), q(), params={"a": 0.5}),
    "own transform": lambda: make(log_joint, mg.Reparameterized(lambda e, *, m: m + e, {"m": 0.2}, mg.noise.normal())),
    "mapped": lambda: make(log_joint, mg.Normal(0.0, 1.0).transformed(stretched, params={"by": 0.5})),
}


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in ESTIMATORS.items()}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(name, made):
    here = made[name]
    ours = here(N, SEED)
    for trip in TRIPS.values():
        there = trip(here)
        theirs = there(N, SEED)
        assert there is not here
        assert bits(theirs) == bits(ours)
        assert (theirs.method, theirs.choice, theirs.backend) == (ours.method, ours.choice, ours.backend)
        assert there.fingerprint == here.fingerprint
        assert there.program.dtype == here.program.dtype
        assert ours.merge(there(N, SEED, first=N)).n == 2 * N


@pytest.mark.parametrize("name", FAMILIES)
def test_distributions(name):
    here = FAMILIES[name].q
    by_name = "lambda" not in repr(vars(here))  # one that is pickled as code arrives as another function
    for trip in TRIPS:
        there = TRIPS[trip](here)
        ours, theirs = here.flat_params, there.flat_params
        assert {path: x.tobytes() for path, x in theirs.items()} == {path: x.tobytes() for path, x in ours.items()}
        assert not any(x.flags.writeable for x in theirs.values())
        assert there.signature == here.signature or not by_name
    draws = [np.concatenate([np.ravel(x) for x in tree.flatten(q.sample(4)).values()]) for q in (here, there)]
    np.testing.assert_array_equal(*draws)


PARTS = [mg.MultivariateNormal([0.0, 1.0], np.eye(2)), mg.MultivariateNormal([1.0, 0.0], 2 * np.eye(2))]


def both(z):
    return {"a": np.sum(z), "b": np.sum(z**2)}


def two_numbers(over=None, **options):
    return mg.estimate(both, over or q(), N, backend="numpy", covariance=True, **options)


def ratio():
    est = two_numbers()
    return mg.ratio(est["a"], est["b"])


VALUES = {
    "mixture": lambda: mg.MixtureSameFamily(PARTS, probs=[0.25, 0.75]),
    "elbo": lambda: mg.elbo(log_joint, q()),
    "kl": lambda: mg.kl(q(), mg.Laplace(LOC, 1.0)),
    "bijection": mg.bijections.Exp,
    "noise": lambda: mg.noise.normal(3),
    "estimate": lambda: mg.estimate(log_joint, q(), N, backend="numpy"),
    "batch": lambda: mg.estimate(log_joint, mg.Normal(np.zeros((2, 3)), 1.0, batch_ndim=1), N, backend="numpy"),
    "covariances": two_numbers,
    "points": lambda: mg.estimate(log_joint, q(), N, backend="numpy", sampler="sobol"),
    "controlled": lambda: mg.estimate(log_joint, q(), N, backend="numpy", control="linear"),
    "part": lambda: two_numbers()["a"],
    "part of a batch": lambda: two_numbers(mg.Normal(np.zeros((2, 3)), 1.0, batch_ndim=1))["a"],
    "part of a sum": lambda: two_numbers(mg.Normal(np.zeros((2, 3)), 1.0, batch_ndim=1), reduce="sum")["a"],
    "ratio": ratio,
    "control": lambda: mg.Control(log_joint, mean=0.5),
    "comparison": lambda: mg.compare(log_joint, q(), N, methods=["pathwise", "score"], backend="numpy"),
    "verification": lambda: mg.verify(log_joint, q(), N, backends=["numpy"]),
    "error": lambda: mg.ParameterError("n", "1", "2"),
}


@pytest.mark.parametrize("name", VALUES)
def test_other_values(name):
    here = VALUES[name]()
    for trip in TRIPS.values():
        there = trip(here)
        assert type(there) is type(here)
        assert repr(there) == repr(here)
        assert str(there) == str(here)


@pytest.mark.parametrize("name", ["covariances", "part", "part of a batch", "part of a sum"])
def test_parts_have_their_ratio_where_they_arrive(name):
    made = VALUES[name]()
    a, b = (made.whole.part(x) for x in ("a", "b")) if isinstance(made, Part) else (made["a"], made["b"])
    there = mg.ratio(*pickle.loads(pickle.dumps((a, b))))
    here = mg.ratio(a, b)
    np.testing.assert_array_equal(there.stderr, here.stderr)
    for path, x in tree.flatten(here.grad).items():
        np.testing.assert_array_equal(tree.flatten(there.grad)[path], x)


def test_constraints_stay_the_same_objects():
    for constraint in (constraints.positive, constraints.lower_cholesky):
        assert pickle.loads(pickle.dumps(constraint)) is constraint
    own = constraints.interval("own", 0.0, 2.0, describe="between 0 and 2")
    assert pickle.loads(pickle.dumps(own)).check(np.array([1.0]))


def test_no_pilot_and_no_warning_comes_again(made, monkeypatch):
    with pytest.warns(mg.JumpWarning):
        jumping = make(lambda z, *, a: np.sum(np.where(z > a, a * z, 0.0)), q(), params={"a": 0.5})

    def no_pilot(*args):
        raise AssertionError("a second pilot")

    content = pickle.dumps(made["auto"])
    monkeypatch.setattr(auto, "select", no_pilot)
    assert pickle.loads(content).plan == made["auto"].plan
    pickle.loads(pickle.dumps(jumping))  # warnings are errors here


def test_threads_are_counted_where_it_arrives(made, monkeypatch):
    content = pickle.dumps(made["pathwise"])
    monkeypatch.setenv("MCGRAD_NUM_THREADS", "3")
    assert pickle.loads(content).threads == 3
    assert pickle.loads(pickle.dumps(made["float32"])).threads == 1


def test_auto_stays_with_its_backend_on_such_a_machine_and_chooses_again_on_another(monkeypatch):
    here = make(wave, q(), "auto", params={"a": 0.5}, draws=100)
    assert here.backend == "numpy"
    content = pickle.dumps(here)
    monkeypatch.setattr(registry.BACKENDS["numpy"].__class__, "cost", _dear)
    there = pickle.loads(content)
    assert (there.backend, there(N).value) == ("numpy", here(N).value)
    assert "as before it was pickled" in there.explain()
    monkeypatch.setattr(pickling, "processor", lambda: "another")
    assert pickle.loads(content).backend == "cpu"


def _dear(self, program, draws, threads):
    return mg.backends.base.Cost(1e6, 1e6, 1e6)


def test_the_integrand_does_not_go_along(monkeypatch):
    """Where the pickle arrives it may be another function, or none; it may hold what cannot be pickled."""
    lock = threading.Lock()

    def locked(z, *, a):
        with lock:
            return wave(z, a=a)

    here = make(locked, q(), params={"a": 0.5})
    content, ours = pickle.dumps(here), bits(here(N, SEED))
    monkeypatch.setitem(globals(), "wave", None)
    assert bits(pickle.loads(content)(N, SEED)) == ours


def test_nothing_is_traced_where_it_arrives(made, monkeypatch):
    contents = {name: pickle.dumps(made[name]) for name in ESTIMATORS}

    def no_trace(*args):
        raise AssertionError("traced again")

    monkeypatch.setattr(derivation, "Problem", no_trace)
    for name, content in contents.items():
        assert bits(pickle.loads(content)(N, SEED)) == bits(made[name](N, SEED))


def test_other_functions_of_an_integrand_are_refused(monkeypatch):
    content = pickle.dumps(make(mg.Integrand(value=square, value_and_grad=square_and_grad), mg.Normal(0.3, 1.2)))
    monkeypatch.setattr(serial, "identity", lambda function: "another")
    with pytest.raises(mg.ParameterError, match=r"f: given functions that do something else"):
        pickle.loads(content)


def test_what_cannot_be_pickled_is_named():
    lock = threading.Lock()

    def locked(eps, *, m):
        with lock:
            return m + eps

    own = mg.Reparameterized(locked, {"m": 0.2}, mg.noise.normal())
    with pytest.raises(
        mg.ParameterError, match=r"transform: given locked of .*test_pickle.py, line .*cannot be pickled.*lock"
    ):
        pickle.dumps(make(log_joint, own))


class Named(mg.Estimator):
    def __init__(self, name, *args, **options):
        super().__init__(*args, **options)
        self.name = name


def test_what_a_subclass_adds_goes_along():
    here = Named("first", wave, q(), params={"a": 0.5}, backend="numpy")
    here.note = ["later"]
    for trip in TRIPS.values():
        there = trip(here)
        assert (type(there), there.name, there.note) == (Named, "first", ["later"])
        assert bits(there(N, SEED)) == bits(here(N, SEED))


class Problem:
    """An object that holds the Estimator of a method of its own."""

    def __init__(self):
        self.rate = 0.7
        self.first = make(self.f, q(), backend="numpy")
        self.second = make(self.f, q(), backend="numpy")

    def f(self, z):
        return np.sum(np.sin(self.rate * z))


def test_an_estimator_of_a_method_of_what_holds_it():
    here = Problem()
    ours = bits(here.first(N, SEED))
    for there in (copy.copy(here), copy.deepcopy(here), pickle.loads(pickle.dumps(here))):
        assert bits(there.first(N, SEED)) == ours
    assert bits(pickle.loads(pickle.dumps(here.first))(N, SEED)) == ours


class Sampler:
    """An object that holds the Estimator of a distribution whose transform is a method of its own."""

    def __init__(self):
        self.rate = 0.7
        self.estimator = make(log_joint, mg.Reparameterized(self.transform, {"m": 0.2}, mg.noise.normal()))

    def transform(self, eps, *, m):
        return m + self.rate * eps


def test_an_estimator_of_a_transform_of_what_holds_it():
    """It copies with what holds it. A pickle would have no end, or take one for each level of Python's stack."""
    here = Sampler()
    ours = bits(here.estimator(N, SEED))
    for there in (copy.copy(here), copy.deepcopy(here)):
        assert bits(there.estimator(N, SEED)) == ours
    for whole in (here, here.estimator):
        with pytest.raises(mg.ParameterError, match=r"q: given .*holds its own Estimator.*__getstate__"):
            pickle.dumps(whole)


def test_copies_are_of_the_function_as_it_was_traced():
    here = Problem()
    ours = bits(here.first(N, SEED))
    here.rate = 0.9
    for there in (copy.copy(here.first), copy.deepcopy(here.first)):
        assert bits(there(N, SEED)) == ours


def test_an_estimator_among_its_own_attributes():
    here = make(wave, q(), params={"a": 0.5}, backend="numpy")
    here.me, here.notes = here, ["kept"]
    for there in (copy.deepcopy(here), pickle.loads(pickle.dumps(here))):
        assert there.me is there
        assert there.notes == ["kept"]
        assert there.notes is not here.notes


def test_data_are_written_once():
    rows = np.random.default_rng(0).standard_normal((1000, 3))
    here = make(lambda z, *, X: np.sum(X @ z), q(), data={"X": rows})
    assert len(pickle.dumps(here)) < 1.2 * rows.nbytes


def _in_another_process(estimator):
    return bits(estimator(N, SEED))


NOTEBOOK = """
import pickle, sys
import numpy as np
import mcgrad as mg

def f(z):
    return shape(z)

def shape(z):
    return np.sum(z**2)

def q():
    return mg.Normal(np.zeros(2), 1.0)

estimator = mg.Estimator(f, q(), backend="numpy")
with open(sys.argv[1], "wb") as file:
    pickle.dump(estimator, file)
print(estimator(100, 3).value)
"""
READER = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(100, 3).value)"


@pytest.mark.parametrize("program", ["-c", "-"])
def test_functions_of_a_notebook(tmp_path, program):
    """What is defined where `__main__` is no file is not found by name in another process."""
    path = str(tmp_path / "estimator")

    def printed(*arguments, **options):
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout

    here = printed("-c", NOTEBOOK, path) if program == "-c" else printed("-", path, input=NOTEBOOK)
    assert here == printed("-c", READER, path) != ""


def test_a_process_that_starts_afresh(made):
    names = ["pathwise", "lambda", "nested", "Integrand"]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(_in_another_process, [made[name] for name in names], chunksize=len(names))
    assert there == [bits(made[name](N, SEED)) for name in names]
