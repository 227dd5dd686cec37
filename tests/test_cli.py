import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.jobs.jobfile import load
from mcgrad.system import atomic
from tests.job_files import signalled

MODEL = """
import numpy as np
import mcgrad as mg

def f(z, *, tau=1.0):
    return tau * np.sum(np.sin(z))

def g(z, *, X):
    return np.sum((X @ z) ** 2)

def jump(z):
    return np.where(z > 0.2, 1.0, 0.0)

def q():
    return mg.Normal(0.3, 1.2)

def bad_q():
    return mg.Normal(0.3, -1.0)

def data():
    return {"X": np.ones((4, 2))}

def transform(eps, *, a, b):
    return np.sinh(a + b * eps)

def logs(z):
    return np.log(z)

def branches(z):
    return 1.0 if z > 0 else 0.0

def parts(z):
    return z["a"] * z["b"][0]

table = {"tau": 2.0}
number = 3
"""

JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3, scale = 1.2}
n = 500
backend = "numpy"
"""


def normal(params):
    return f'{{family = "Normal", {params}}}'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "t.csv").write_text("name, loc ,scale\na,0.5,1\n\nb,-1e-1,2\n")
    np.savez(tmp_path / "t.npz", loc=np.array([1.0, 2.0]))
    np.save(tmp_path / "t.npy", np.array([3.0, 4.0]))
    return tmp_path


def job(folder, **keys):
    """Write the job file with other keys: TOML as text, None to leave one out."""
    base = dict(line.split(" = ", 1) for line in JOB.split("\n") if line)
    lines = [f"{key} = {value}" for key, value in {**base, **keys}.items() if value is not None]
    (folder / "job.toml").write_text("\n".join(lines))


def test_run_prints_and_writes(folder, capsys):
    assert main(["run", "job.toml"]) == 0
    printed = capsys.readouterr()
    expected = mg.estimate(lambda z: np.sum(np.sin(z)), mg.Normal(0.3, 1.2), 500, backend="numpy")
    assert printed.err == ""
    assert str(expected).partition("\n\n")[0] in printed.out
    assert "wrote results/job.json and results/job.npz" in printed.out
    read = mg.Estimate.from_json((folder / "results/job.json").read_text())
    assert read.grad == expected.grad
    with np.load(folder / "results/job.npz") as arrays:
        assert arrays["value"] == expected.value
        assert arrays["grad.loc"] == expected.grad["loc"]
        assert arrays["grad_stderr.scale"] == expected.grad_stderr["scale"]
    assert sorted(os.listdir(folder / "results")) == ["job.json", "job.npz"]


def test_options_go_before_the_file(folder, capsys):
    assert main(["run", "job.toml", "--n", "1e3", "--seed", "7", "--dtype", "float32", "--out", "elsewhere"]) == 0
    est = mg.Estimate.from_json((folder / "elsewhere/job.json").read_text())
    assert (est.n, est.seed, est.dtype) == (1000, 7, "float32")
    assert not (folder / "results").exists()


def test_comparison_with_the_reference(folder, capsys):
    job(folder, backend='"cpu"', n_compare="100")
    assert main(["run", "job.toml", "--threads", "2"]) == 0
    printed = capsys.readouterr().out
    assert "the same first 100 draws" in printed
    assert "times as fast" in printed
    job(folder, backend='"cpu"', compare='"none"')
    assert main(["run", "job.toml"]) == 0
    assert "reference" not in capsys.readouterr().out


def test_method(folder, capsys):
    job(folder, integrand='"model.py:jump"', method='"score"', baseline='"leave_one_out"', k="4", n_compare="402")
    assert main(["run", "job.toml", "--verify"]) == 0
    assert "gradient by score+leave_one_out, in groups of 4 draws" in capsys.readouterr().out
    read = mg.Estimate.from_json((folder / "results/job.json").read_text())
    assert (read.method, read.group, read.n) == ("score+leave_one_out", 4, 500)
    job(folder, method='{ scale = "score+mean" }')
    assert main(["run", "job.toml"]) == 0
    read = mg.Estimate.from_json((folder / "results/job.json").read_text())
    assert read.method == {"loc": "pathwise", "scale": "score+mean"}


def test_verify_decides_the_exit_status(folder, capsys):
    assert main(["run", "job.toml", "--verify", "--backend", "numpy"]) == 0
    assert capsys.readouterr().out.rstrip().rpartition("\n\n")[0].endswith("ok")
    job(folder, integrand='"model.py:jump"')
    with pytest.warns(mg.JumpWarning, match="zero for every draw in loc, scale"):
        assert main(["run", "job.toml", "--verify"]) == 1
    assert "NOT OK" in capsys.readouterr().out
    assert (folder / "results/job.json").exists()


def test_several_jobs(folder, capsys):
    (folder / "job.toml").write_text(
        'n = 100\nbackend = "numpy"\nintegrand = "model.py:f"\n'
        '[[job]]\nname = "first"\ndistribution = "model.py:q"\n'
        '[[job]]\ndistribution = {family = "Uniform", low = 0, high = 1}\nn = 50\n'
    )
    assert main(["run", "job.toml"]) == 0
    assert sorted(os.listdir(folder / "results")) == ["first.json", "first.npz", "job-2.json", "job-2.npz"]
    assert json.loads((folder / "results/job-2.json").read_text())["n"] == 50


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('{family = "Normal", loc = [0.5, -0.1], scale = [1, 2]}', mg.Normal([0.5, -0.1], [1, 2])),
        ('{family = "Normal", loc = "t.csv:loc", scale = "t.csv:scale"}', mg.Normal([0.5, -0.1], [1, 2])),
        ('{family = "Normal", loc = "t.csv:loc,scale"}', mg.Normal([[0.5, 1], [-0.1, 2]])),
        ('{family = "Normal", loc = {file = "t.csv", columns = "loc"}}', mg.Normal([0.5, -0.1])),
        ('{family = "LogNormal", loc = "t.npz:loc"}', mg.LogNormal([1.0, 2.0])),
        ('{family = "Normal", loc = "t.npy", scale = "model.py:number"}', mg.Normal([3.0, 4.0], 3)),
        ('{family = "MultivariateNormal", loc = [0, 0], scale_tril = [[1, 0], [0.5, 1]]}',
         mg.MultivariateNormal([0, 0], [[1, 0], [0.5, 1]])),
        ('{family = "Joint", a = {family = "Normal"}, b = "model.py:q"}',
         mg.Joint(a=mg.Normal(), b=mg.Normal(0.3, 1.2))),
        ('"model.py:q"', mg.Normal(0.3, 1.2)),
    ],
)  # fmt: skip
def test_distributions(folder, table, expected):
    job(folder, distribution=table)
    q = load("job.toml")[0].q
    assert q.signature == expected.signature
    for path, array in q.flat_params.items():
        np.testing.assert_array_equal(array, expected.flat_params[path])


def test_reparameterized_params_and_data(folder, capsys):
    values = 'noise = {kind = "normal"}, params = {a = 0.1, b = "model.py:number"}'
    job(
        folder,
        distribution=f'{{family = "Reparameterized", transform = "model.py:transform", {values}}}',
        params='"model.py:table"',
        wrt='["tau", "b"]',
    )
    assert main(["run", "job.toml"]) == 0
    assert mg.Estimate.from_json((folder / "results/job.json").read_text()).grad.keys() == {"b", "tau"}
    job(folder, integrand='"model.py:g"', distribution='{family = "Normal", loc = [0, 0]}', data='"model.py:data"')
    assert main(["run", "job.toml"]) == 0
    np.savez(folder / "t.npz", X=np.ones((4, 2)))
    job(folder, integrand='"model.py:g"', distribution='{family = "Normal", loc = [0, 0]}', data='{X = "t.npz:X"}')
    assert main(["run", "job.toml"]) == 0


@pytest.mark.parametrize(
    ("keys", "where", "given", "accepted"),
    [
        ({"integrand": None}, "integrand", "nothing", "FILE.py:NAME"),
        ({"n": None}, "n", "nothing", "a number of draws"),
        ({"draws": "5"}, "draws", "no such key", "integrand"),
        ({"n": "1"}, "n", "1", "at least 2"),
        ({"n": "2.5"}, "n", "2.5", "a whole number"),
        ({"seed": "-1"}, "seed", "-1", "from 0"),
        ({"dtype": '"float16"'}, "dtype", "'float16'", "'float32' or 'float64'"),
        ({"backend": '"gpu"'}, "backend", "'gpu'", "'numpy'"),
        ({"threads": "0"}, "threads", "0", "from 1 to"),
        ({"nonfinite": '"ignore"'}, "nonfinite", "'ignore'", "'omit'"),
        ({"compare": "true"}, "compare", "True", "'none'"),
        ({"n_compare": "0"}, "n_compare", "0", "at least 2"),
        ({"wrt": '["mean"]'}, "wrt", "'mean'", "loc, scale"),
        ({"wrt": "1"}, "wrt", "1", "a list"),
        ({"method": '"reinforce"'}, "method", "'reinforce'", "'score'"),
        ({"method": "1"}, "method", "1", "a table"),
        ({"method": '{ mean = "score" }'}, "method", "'mean'", "loc, scale"),
        ({"method": '"score"', "baseline": '"median"'}, "baseline", "'median'", "'leave_one_out'"),
        ({"k": "1"}, "k", "1", "at least 2"),
        ({"name": '"a/b"'}, "name", "'a/b'", "a name"),
        ({"out": '""'}, "out", "''", "a path"),
        ({"integrand": '"f"'}, "integrand", "'f'", "FILE.py:NAME"),
        ({"integrand": '"gone.py:f"'}, "integrand", "gone.py, which is not there", "FILE.py:NAME"),
        ({"integrand": '"model.py:h"'}, "integrand", "'h', which model.py does not define", "f, g"),
        ({"integrand": '"model.py:number"'}, "integrand", "which is 3", "a function"),
        ({"distribution": "3"}, "distribution", "3", "a table"),
        ({"distribution": '{loc = 1}'}, "distribution.family", "nothing", "'Normal'"),
        ({"distribution": '{family = "Norml"}'}, "distribution.family", "'Norml'", "'Normal'"),
        ({"distribution": normal('scale = -1')}, "distribution.scale", "-1.0", "> 0"),
        ({"distribution": normal('mean = 1')}, "distribution.mean", "no parameter of Normal", "loc, scale"),
        ({"distribution": normal('loc = [[1], [2, 3]]')}, "distribution.loc", "[[1], [2, 3]]", "numbers"),
        ({"distribution": normal('loc = "t.csv:mean"')}, "distribution.loc", "'mean' of t.csv", "'name', 'loc'"),
        ({"distribution": normal('loc = "t.csv:name"')}, "distribution.loc", "'a' in column 'name', line 2", "numbers"),
        ({"distribution": normal('loc = "t.npz:x"')}, "distribution.loc", "without such an entry", "loc"),
        ({"distribution": normal('loc = "t.txt"')}, "distribution.loc", "'t.txt'", "FILE.csv:COLUMNS"),
        ({"distribution": normal('loc = {file = "t.npy", header = true}')}, "distribution.loc.header", "no key", ""),
        ({"distribution": normal('loc = true')}, "distribution.loc", "True", "a number"),
        ({"distribution": '{family = "MultivariateNormal", loc = 1}'},
         "distribution.scale_tril, covariance_matrix, precision_matrix", "none", "one of them"),
        ({"distribution": '{family = "MultivariateNormal"}'}, "distribution.loc", "nothing", "a value"),
        ({"distribution": f'{{family = "Joint", a = {normal("scale = 0")}}}'}, "distribution.a.scale", "0.0", "> 0"),
        ({"distribution": '"model.py:bad_q"'}, "distribution.scale", "-1.0", "> 0"),
        ({"distribution": '"model.py:table"'}, "distribution", "which gives {'tau': 2.0}", "a distribution"),
        ({"params": "{loc = 1.0}"}, "distribution.loc", "in params", "rename"),
        ({"params": '{tau = "x"}'}, "params.tau", "'x'", "a number"),
        ({"params": "{tau = nan}"}, "params.tau", "nan", "finite"),
        ({"data": "3"}, "data", "3", "a table"),
        ({"data": '"model.py:number"'}, "data", "which gives 3", "a dict"),
    ],
)  # fmt: skip
def test_errors_name_file_and_key(folder, capsys, keys, where, given, accepted):
    job(folder, **keys)
    assert main(["run", "job.toml"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"mcgrad: error: job.toml, {where}: given ")
    assert given in message.partition("; accepted:")[0]
    assert accepted in message.partition("; accepted:")[2]
    assert not (folder / "results").exists()


def test_errors_name_the_table_and_the_option(folder, capsys):
    (folder / "job.toml").write_text(f"{JOB}[[job]]\n[[job]]\nn = 0\n")
    assert main(["run", "job.toml"]) == 1
    assert "job.toml, [[job]] 2, n: given 0" in capsys.readouterr().err
    assert main(["run", "job.toml", "--n", "many"]) == 2
    assert "--n: given 'many'" in capsys.readouterr().err
    (folder / "job.toml").write_text(f'{JOB}[[job]]\nname = "a"\n[[job]]\nname = "a"\n')
    assert main(["run", "job.toml"]) == 2
    assert "[[job]] 2, out: given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("n = ", "Invalid value"),
        ("job = 3", "job.toml, job: given 3"),
        (
            'integrand = "broken.py:f"\ndistribution = 1\nn = 2',
            "broken.py, line 2, which raised ModuleNotFoundError: No module named 'not_there'",
        ),
    ],
)
def test_files_that_cannot_be_read(folder, capsys, content, expected):
    (folder / "broken.py").write_text("import math\nimport not_there\n")
    (folder / "job.toml").write_text(content)
    assert main(["run", "job.toml"]) == 2
    assert expected in capsys.readouterr().err
    assert main(["run", "gone.toml"]) == 2
    assert "gone.toml: given No such file" in capsys.readouterr().err


def test_untraceable_code_names_the_line(folder, capsys):
    job(folder, integrand='"model.py:branches"')
    assert main(["run", "job.toml"]) == 2
    message = capsys.readouterr().err
    assert "model.py" in message
    assert "return 1.0 if z > 0 else 0.0" in message


def test_nonfinite_raise(folder, capsys):
    job(folder, integrand='"model.py:logs"', nonfinite='"raise"')
    assert main(["run", "job.toml"]) == 2
    assert "not finite" in capsys.readouterr().err


def test_out_is_refused_before_anything_runs(folder, capsys):
    (folder / "results").write_text("a file")
    assert main(["run", "job.toml"]) == 2
    assert "job.toml, out: given" in capsys.readouterr().err
    assert main(["run", "job.toml", "--out", "model.py"]) == 2
    assert "--out: given" in capsys.readouterr().err


def test_writes_are_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    atomic.write(path, b"old")

    def fails(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        atomic.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.json"]


def test_info(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for version in (f"mcgrad         {mg.__version__}", f"numpy          {np.__version__}"):
        assert version in printed
    for word in ("processor", "threads", "BLAS", "cache", "backend cpu", "backend numpy"):
        assert word in printed


def test_explain(folder, capsys):
    assert main(["explain", "job.toml"]) == 0
    assert "backend: numpy" in capsys.readouterr().out


def test_progress_bar(folder, capsys):
    assert main(["run", "job.toml", "--progress"]) == 0
    assert "500/500" in capsys.readouterr().err


def test_usage():
    with pytest.raises(SystemExit) as left:
        main(["fly"])
    assert left.value.code == 2


def test_interrupt(folder):
    job(folder, n="1_000_000")
    run = [*signalled("job", signal.SIGINT), "job.toml", "--progress"]
    found = subprocess.run(run, cwd=folder, capture_output=True, text=True)
    assert found.returncode == 130
    assert found.stderr.rstrip().endswith("mcgrad: interrupted")
    assert "of 1,000,000 draws are kept; --resume goes on from there" in found.stderr
    assert "Traceback" not in found.stderr
    assert os.listdir(folder / "results") == [".job.checkpoint.json"]


def test_python_m_mcgrad(folder):
    run = [sys.executable, "-m", "mcgrad", "--version"]
    found = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"mcgrad {mg.__version__}\n"


@pytest.mark.parametrize("args", [["explain", "job.toml"], ["info"], ["run", "job.toml"]])
def test_a_reader_that_has_gone_ends_it_quietly(folder, args):
    """As in `mcgrad explain job.toml | head`; what `run` writes to files is written all the same."""
    read, write = os.pipe()
    os.close(read)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mcgrad", *args], cwd=folder, stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    _, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (141, "")
    assert (folder / "results/job.npz").exists() == (args[0] == "run")
