"""A Program as bytes: what is read back prints, emits and averages the same; damaged bytes are refused."""

import hashlib
import json
import os
import pickle
import subprocess
import sys

import numba
import numpy as np
import pytest
from bench.problems import problems

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.backends.registry import find
from mcgrad.codegen.cpu import chunk
from mcgrad.codegen.cuda import choose
from mcgrad.ir import build, serial
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import Space
from mcgrad.simplify.fixed_point import simplify
from tests.families import FAMILIES
from tests.ops.problems import pack
from tests.ops.samples import SAMPLES

PROBLEMS = problems()
Q = mg.Normal(np.linspace(-0.5, 0.5, 3), 0.7)


@numba.njit
def value(z):
    return z[0] ** 2


@numba.njit
def value_and_grad(z, grad):
    grad[:] = 0.0
    grad[0] = 2 * z[0]
    return z[0] ** 2


PAIR = mg.Integrand(value=value, value_and_grad=value_and_grad)


def estimator(name, dtype="float64"):
    problem = PROBLEMS[name]
    q = mg.MultivariateNormal(**problem.q) if "scale_tril" in problem.q else mg.Normal(**problem.q)
    given = {"params": problem.params, "data": problem.data, "wrt": problem.wrt}
    return mg.Estimator(problem.f, q, **given, dtype=dtype, backend="numpy")


def again(program):
    content = program.to_bytes()
    read = Program.from_bytes(content, serial.functions(program))
    assert read is not program
    assert read.to_bytes() == content
    assert str(read) == str(program)
    return read


def sources(program):
    return [emit(program, checked).source for emit in (chunk.emit, choose.emit) for checked in (False, True)]


def moments(program, inputs):
    found = one_chunk(NumpyBackend().compile(program).bind(inputs), 3, 5, 21, omit=False).moments
    return found.mean.tobytes() + found.norm.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_benchmarks(name, dtype):
    here = estimator(name, dtype)
    read, inputs = again(here.program), here.inputs.values({})
    assert sources(read) == sources(here.program)
    assert moments(read, inputs) == moments(here.program, inputs)


@pytest.mark.parametrize("op", SAMPLES)
def test_ops(op):
    packed = pack(SAMPLES[op], "float64", simplified=False)
    read, program = again(packed.program), packed.program
    if OPS[op].category == "matrices":  # of which `simplify` makes what can be emitted
        assert sources(simplify(read)) == sources(simplify(program))
    else:
        assert sources(read) == sources(program)
    assert moments(read, packed.inputs) == moments(packed.program, packed.inputs)


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    """Some look up tables, which are found by name."""
    family = FAMILIES[name]
    method = "pathwise" if family.pathwise else "score"
    here = mg.Estimator(family.f, family.q, method=method, backend="numpy")
    assert sources(again(here.program)) == sources(here.program)


def test_functions_go_beside():
    program = mg.Estimator(PAIR, mg.Normal(np.zeros(2), 1.0), backend="numpy").program
    assert serial.functions(program) == (PAIR,)
    assert sources(again(program)) == sources(program)
    content = program.to_bytes()
    other = mg.Integrand(value=value, value_and_grad=numba.njit(lambda z, grad: 0.0))
    for functions in ((), (other,), (PAIR, PAIR)):
        with pytest.raises(mg.ParameterError, match="f: given functions that do something else"):
            Program.from_bytes(content, functions)


def test_pickles_are_the_bytes():
    here = estimator("scalar").program
    there = pickle.loads(pickle.dumps(here))
    assert there.to_bytes() == here.to_bytes()


def test_a_long_chain_has_no_limit():
    """Neither bytes nor pickles go as deep as the equations do."""
    x = z = build.noise(0, "normal", ())
    for _ in range(5000):
        x = build.apply("add", build.apply("sin", x), z)
    program = Program((Output("value", x),), "float64")
    assert len(pickle.loads(pickle.dumps(program)).equations()) == 10_001


CODE = """
import numpy as np
import mcgrad as mg
from mcgrad.ir import serial
q = mg.Joint(a=mg.Gamma([0.5, 3.0], 2.0), b=mg.VonMises(0.1, 2.0), c=mg.Normal(np.zeros(3), 1.0))
f = lambda z, *, w, X: np.sum(np.sin(z["a"])) * np.cos(z["b"]) + w["u"] @ np.tanh(X @ z["c"])
est = mg.Estimator(f, q, params={"w": {"u": np.ones(4)}}, data={"X": np.ones((4, 3))}, backend="numpy")
print(serial.digest(est.program).hex(), est.fingerprint)
"""


def test_the_same_bytes_in_processes_with_other_hash_seeds():
    found = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1
    assert len(found.pop()) == 66


def test_the_order_in_which_equations_were_made_does_not_count():
    def program(swapped):
        z, c = build.noise(0, "normal", (2,)), build.input_("c", (2,))
        makers = {"left": lambda: build.apply("sin", z), "right": lambda: build.apply("exp", c)}
        made = {name: makers[name]() for name in (sorted(makers) if swapped else sorted(makers, reverse=True))}
        return Program((Output("value", build.apply("multiply", made["left"], made["right"])),), "float64")

    assert program(True).to_bytes() == program(False).to_bytes()


def test_literals_keep_every_bit():
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1 + 2**-52])
    z = build.noise(0, "normal", special.shape)
    read = again(Program((Output("value", build.apply("add", z, special)),), "float64"))
    (literal,) = (var.attrs.array for var in read.equations() if var.is_const)
    assert literal.tobytes() == special.tobytes()


def test_other_literals_and_other_inputs_are_other_bytes():
    z = build.noise(0, "normal", ())
    kinds = [build.const(0.0), build.const(-0.0), build.input_("x", ()), build.input_("x", (), Space.DATA)]
    found = {Program((Output("value", build.apply("maximum", z, x)),), "float64").to_bytes() for x in kinds}
    assert len(found) == len(kinds)


def test_damaged_bytes_are_refused():
    content = estimator("scalar").program.to_bytes()
    rng = np.random.default_rng(0)
    for place in [*range(40), *rng.integers(0, len(content), 60)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(mg.ParameterError, match="program"):
            Program.from_bytes(bytes(damaged))
    for damaged in (b"", content[:-1], content[:20], content + b"0", b"mcgrad program 2\n" + content):
        with pytest.raises(mg.ParameterError, match="program"):
            Program.from_bytes(damaged)


def signed(header):
    """Bytes of a Program without literals, whose digest is right."""
    body = json.dumps(header).encode() + b"\n"
    return b"mcgrad program 1\n" + hashlib.blake2b(body, digest_size=16).digest() + body


def test_equations_that_are_not_known_are_refused():
    """As of a later version that forgot to change its number, or of another program that writes such bytes."""
    eps = ["noise", [], [0, "normal", "philox"], [2]]
    table = ["table", [0], [{"table": ["os", "getenv", [], [], None]}]]
    right = {"dtype": "float64", "literals": [], "functions": [], "equations": [eps], "outputs": [["value", 0, None]]}
    assert Program.from_bytes(signed(right)).outputs[0].var.shape == (2,)
    for wrong in (
        {"equations": [["later", [], None]]},
        {"equations": [eps, ["sin", [1], None]]},
        {"equations": [eps, ["sum", [0], [[3]]]]},
        {"equations": [["input", [], ["later", "x"], []]]},
        {"equations": [["input", [], ["param", "x"], []], table], "outputs": [["value", 1, None]]},
        {"outputs": [["value", 1, None]]},
        {"dtype": "float16"},
        {"literals": [["<f8", [3]]]},
    ):
        with pytest.raises(mg.ParameterError, match="program: given"):
            Program.from_bytes(signed(right | wrong))


WORKER = """
import pickle, sys
from mcgrad.backends.registry import find
from mcgrad.ir.program import Program
content, inputs, seed, shift, chunks, name = pickle.load(sys.stdin.buffer)
bound = find(name).compile(Program.from_bytes(content)).bind(inputs)
parts = [bound.partial(shift, seed, start, stop, False).moments for start, stop in chunks]
sys.stdout.buffer.write(pickle.dumps([part.mean.tobytes() + part.norm.tobytes() for part in parts]))
"""


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_a_process_that_never_saw_f_averages_any_chunk(backend):
    """What a chunk gives is a function of the Program's bytes, the values of its inputs, shift, seed and range."""
    here, seed, chunks = estimator("logistic"), 3, [(0, 512), (512, 1000)]
    inputs = here.inputs.values({})
    bound = find(backend).compile(here.program).bind(inputs)
    shift, _ = bound.shift(seed, *chunks[0], False)
    ours = [bound.partial(shift, seed, *chunk, False).moments for chunk in chunks]
    task = pickle.dumps((here.program.to_bytes(), inputs, seed, shift, chunks, backend))
    there = subprocess.run([sys.executable, "-c", WORKER], input=task, capture_output=True, check=True).stdout
    assert pickle.loads(there) == [part.mean.tobytes() + part.norm.tobytes() for part in ours]
