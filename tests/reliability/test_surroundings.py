"""What a job's Python files change in the process, other jobs do not see; what lies beside them, neither."""

import json
import os
import sys
import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.jobs.jobfile import KEYS, load
from mcgrad.jobs.surroundings import Surroundings

JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3, scale = 1.0}
n = 500
backend = "numpy"
"""
SEES = """
import json, os, sys, warnings
import numpy as np

def seen():
    return {
        "folder": os.getcwd(),
        "here": os.environ.get("MCGRAD_TEST"),
        "home": os.environ.get("HOME"),
        "path": "/planted" in sys.path,
        "argv": sys.argv[1:] == ["planted"],
        "errors": any(rule[0] == "error" and rule[2] is ResourceWarning for rule in warnings.filters),
        "over": np.geterr()["over"],
        "stdout": type(sys.stdout).__name__,
        "limit": sys.getrecursionlimit() < 500,
    }

def write(name):
    with open(name, "w") as file:
        json.dump(seen(), file)

def f(z, x=0.0):
    return np.sin(z) + x

def data():
    write(NAME)
    return {"x": np.loadtxt(DATA)}
"""
CHANGES = """
os.chdir("/")
os.environ["MCGRAD_TEST"] = "planted"
del os.environ["HOME"]
sys.path.insert(0, "/planted")
sys.argv[1:] = ["planted"]
warnings.simplefilter("error", ResourceWarning)
np.seterr(over="raise")
os.umask(0o077)
sys.stdout = None
sys.setrecursionlimit(400)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_what_a_file_changes_lasts_for_its_own_job_file(folder, capsys):
    """Working folder, environment, filters of warnings and more; results and data are where they were meant to be."""
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "x.csv").write_text("1.5")
        numbers, seen = (str(folder / name / file) for file in ("x.csv", "seen.json"))
        text = SEES.replace("NAME", repr(seen)).replace("DATA", repr(numbers)) + (CHANGES if name == "a" else "")
        (folder / name / "model.py").write_text(text)
        (folder / name / f"{name}.toml").write_text(JOB + 'data = "model.py:data"\n[[job]]\n[[job]]\nout = "two"\n')

    def planted():
        return sum(rule[0] == "error" and rule[2] is ResourceWarning for rule in warnings.filters)

    mask = os.umask(0o022)
    before = Surroundings()
    before.__enter__()
    state, rules = dict(before._outside), planted()
    before.__exit__()
    try:
        assert main(["run", "a/a.toml", "b/b.toml"]) == 0
        assert main(["run", "a/a.toml", "b/b.toml", "--resume"]) == 0
        printed = capsys.readouterr().out
        (folder / "b/two.npz").unlink()
        assert main(["run", "a/a.toml", "--out", "there"]) == 0
        with before:
            assert before._outside == {**state, "standard streams": before._outside["standard streams"]}
        assert planted() == rules
    finally:
        assert os.umask(mask) == 0o022
    assert "4 complete already" in printed
    assert f"\nwrote {os.path.join('b', 'two.json')} and " in printed
    for path in (
        "a/results/a-1.npz",
        "a/two.npz",
        "b/results/b-1.npz",
        "b/two.json",
        "there/a-1.npz",
        "there/two.json",
    ):
        assert (folder / path).stat().st_mode & 0o777 == 0o644
    a, b = (json.loads((folder / name / "seen.json").read_text()) for name in "ab")
    changed = {
        "folder": "/",
        "here": "planted",
        "home": None,
        "path": True,
        "argv": True,
        "errors": True,
        "over": "raise",
    }
    before = {"folder": str(folder), "here": None, "home": str(folder), "path": False, "argv": False, "errors": False}
    assert {**a, **changed} == a
    assert {**b, **before} == b
    assert b["over"] == np.geterr()["over"]
    assert a["stdout"] == b["stdout"]
    assert not a["limit"]


def test_a_recursion_limit_may_be_raised_for_good(folder):
    """As the refusal of functions that unroll into many loops says one should."""
    limit = sys.getrecursionlimit()
    try:
        for given, left in ((limit + 1000, limit + 1000), (limit, limit + 1000)):
            with Surroundings():
                sys.setrecursionlimit(given)
            assert sys.getrecursionlimit() == left
    finally:
        sys.setrecursionlimit(limit)


def test_neighbours_of_one_name_in_two_folders(folder, capsys):
    """Also where a function imports them when it is traced, before and after the other folder's."""
    for name in ("a", "b"):
        (folder / name / "package").mkdir(parents=True)
        (folder / name / "near.py").write_text(f"import package.part\nscale = {ord(name)}.0 * package.part.one")
        (folder / name / "package/__init__.py").touch()
        (folder / name / "package/part.py").write_text("from constants import one")  # a neighbour of the package
        (folder / name / "constants.py").write_text("from spaces.factor import one")
        (folder / name / "spaces").mkdir()  # without __init__.py
        (folder / name / "spaces/factor.py").write_text("one = 1.0")
        (folder / name / "model.py").write_text(
            "def f(z):\n    import near\n    return near.scale * z\n"
            "def data():\n    import near\n    assert near.scale == SCALE\n    return {}".replace(
                "SCALE", f"{ord(name)}.0"
            )
        )
    tables = ['integrand = "../{}/model.py:f"\ndata = "../{}/model.py:data"'.format(*name * 2) for name in "abab"]
    (folder / "a/job.toml").write_text(
        JOB.replace('integrand = "model.py:f"', "") + "".join(f"[[job]]\n{table}\n" for table in tables)
    )
    before = [*sys.path]
    assert main(["run", "a/job.toml"]) == 0
    assert main(["explain", "a/job.toml"]) == 0  # which traces in this thread, and all after all are imported
    assert sys.path == before
    for i, name in enumerate("abab"):
        found = mg.Estimate.from_json((folder / f"a/results/job-{i + 1}.json").read_text())
        assert found.grad["loc"] == pytest.approx(ord(name))


SHADOWS = ("numpy", "scipy", "numba", "colorsys", "wave")


READS = """
import os, threading
import numpy as np
os.chdir("a")
os.environ["MCGRAD_TEST"] = "scale.txt"

def f(z):
    print("in the main thread:", threading.current_thread() is threading.main_thread())
    return np.loadtxt(os.environ["MCGRAD_TEST"]) * z
"""


def test_the_surroundings_are_those_of_the_file_where_a_result_is_compared(folder, capsys):
    """Which traces again, in the main thread, while the next job may be prepared in another."""
    (folder / "a").mkdir()
    (folder / "a/scale.txt").write_text("2.0")
    (folder / "model.py").write_text(READS)
    (folder / "job.toml").write_text(JOB.replace('"numpy"', '"cpu"'))
    assert main(["run", "job.toml"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "in the main thread: True" in printed.out
    assert "largest difference" in printed.out
    assert os.getcwd() == str(folder)
    assert "MCGRAD_TEST" not in os.environ


def test_neighbours_that_are_called_as_libraries_hide_none(folder, monkeypatch, capsys):
    """Not from other jobs, nor from what is imported while a job's file is being run."""
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    for name in ("a", "b", "library"):
        (folder / name).mkdir()
    for name in SHADOWS:
        (folder / f"a/{name}.py").write_text("raise RuntimeError('planted')")
    (folder / "library/library.py").write_text("import wave")
    (folder / "a/asks.py").write_text("import wave")
    (folder / "a/asks.toml").write_text(JOB.replace("model", "asks"))
    path = str(folder / "library")
    (folder / "a/model.py").write_text(
        f"import sys; sys.path.append({path!r})\nimport library\nimport numpy as np\ndef f(z):\n    return np.sin(z)\n"
    )
    (folder / "a/a.toml").write_text(JOB)
    (folder / "b/model.py").write_text("import colorsys, wave\ndef f(z):\n    return wave.WAVE_FORMAT_PCM * z\n")
    (folder / "b/b.toml").write_text(JOB)
    assert main(["run", "a/asks.toml", "a/a.toml", "b/b.toml"]) == 1
    monkeypatch.delitem(sys.modules, "library")
    printed = capsys.readouterr()
    assert "3 jobs: 1 failed, 2 done" in printed.out, printed.err
    assert "asks.py, line 1, which raised ImportError" in printed.err
    assert "wave.py has the name of a module of Python's or of a library: rename it" in printed.err
    assert "planted" not in printed.err


RAISES = """
import mcgrad as mg

def load():
    return helper()

def helper():
    return {}["key"]

def q():
    return mg.Normal(0.3, -1.0)

class Odd:
    @property
    def f(self):
        raise LookupError("odd")

    def __array__(self, *args, **kwargs):
        raise LookupError("odd")

    def __repr__(self):
        raise LookupError("odd")

odd = Odd()
endless = {}
endless["a"] = endless

def f(z, **others):
    return z
"""


@pytest.mark.parametrize(
    ("key", "value", "names", "why"),
    [
        ("data", "model.py:load", "data", "model.py:load' (model.py, line 8), which raised KeyError: 'key'"),
        ("params", "model.py:helper", "params", "(model.py, line 8), which raised KeyError"),
        ("distribution", "model.py:load", "distribution", "which raised KeyError"),
        ("distribution", "model.py:q", "distribution.scale", "given -1.0"),
        ("integrand", "model.py:odd.f", "integrand", "(model.py, line 16), which raised LookupError: odd"),
        ("integrand", "model.py:odd", "integrand", "Odd, whose repr raises LookupError"),
        ("data.x", "model.py:odd", "data.x", "Odd, whose repr raises LookupError"),
        ("params", "model.py:endless", "params.a", "nested too deep, or without end"),
    ],
)
def test_what_users_code_raises_names_the_key_and_the_line(folder, key, value, names, why, capsys):
    (folder / "model.py").write_text(RAISES)
    keys = dict(line.split(" = ", 1) for line in JOB.split("\n") if line)
    keys[key.partition(".")[0]] = f'{{{key.partition(".")[2]} = "{value}"}}' if "." in key else f'"{value}"'
    (folder / "job.toml").write_text("\n".join(f"{name} = {given}" for name, given in keys.items()))
    assert main(["run", "job.toml"]) == 2
    error = capsys.readouterr().err
    assert f"mcgrad: error: job.toml, {names}: given " in error
    assert why in error
    assert ("Traceback" in error) == ("which raised" in why)
    assert "mcgrad/cli" not in error  # of the user's frames alone


WRONG = (
    "true, -1, 1.5, 1e400, nan, 9223372036854775807, 1979-05-27, '', 'x', 'model.py:f', 'model.py:none', 'model.py:q', "
    "'gone.py:f', 'x.csv:a', 'model.py\\u0000.py:f', [], [[]], ['a'], [[1], [2, 3]], [{}], {}, {'' = 1}, {'a.b' = 1}, "
    "{family = 3}, {family = 'Joint'}, {family = 'Reparameterized'}, {kind = 3}, {file = 3}, {z = 1}, {loc = 1}"
)


def test_wrong_values_of_every_key_are_refused_by_name(folder):
    """Or accepted; whatever else is raised is a fault of ours."""
    (folder / "model.py").write_text(
        "import mcgrad as mg\ndef f(z, **k):\n    return z\nnone = None\ndef q():\n    return mg.Normal()\n"
    )
    names = [*KEYS, "params.tau", "data.X", "distribution.loc", "distribution.family", "distribution.x", "method.loc"]
    names.append("distribution.batch_ndim")
    values = [f"0x{'f' * 400}", f"'{'x' * 300}'", f"{'[' * 40}1{']' * 40}", f"{'[' * 70}1{']' * 70}"]
    values += [
        part.strip().replace("'", '"') for part in WRONG.replace(", 3]", "; 3]").replace(", [2", "; [2").split(",")
    ]
    wrong = []
    for name in names:
        for value in (value.replace(";", ",") for value in values):
            keys = dict(line.split(" = ", 1) for line in JOB.split("\n") if line)
            top, _, inner = name.partition(".")
            keys[top] = f"{{{inner} = {value}}}" if inner else value
            if top == "distribution" and inner not in ("", "family"):
                keys[top] = f'{{family = "Normal", {inner} = {value}}}'
            (folder / "job.toml").write_text("\n".join(f"{key} = {given}" for key, given in keys.items()))
            try:
                for job in load("job.toml"):
                    job.estimator()
            except mg.ParameterError as error:
                if top not in str(error):
                    wrong.append((name, value, error))
            except mg.TraceError:
                pass  # has the line of f
            except Exception as error:
                wrong.append((name, value, error))
    assert wrong == []
