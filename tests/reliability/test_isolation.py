"""What a job's own code does ends no other job."""

import re

import pytest

from mcgrad.cli import main, run
from mcgrad.errors import ParameterError
from mcgrad.jobs.jobfile import load

JOB = """
integrand = "fine.py:f"
distribution = {family = "Normal", loc = 0.3}
n = 500
backend = "numpy"
"""

RAISES = {  # what users' code raises, and how the table names it
    "import sys; sys.exit(0)": "SystemExit: 0",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit('x')": "GeneratorExit: x",
    "raise BaseException('x')": "BaseException: x",
    "raise StopIteration": "StopIteration",
    "raise MemoryError": "MemoryError",
    "def again(): again()\n{indent}again()": "RecursionError: maximum recursion",
    "class Silent(Exception):\n{indent}    def __str__(self): raise SystemExit(0)\n{indent}raise Silent": "Silent",
}
PLACES = {  # where that code stands, and the key of the job that refers to it
    "import": ("{raises}\ndef f(z): return z", 'integrand = "{file}:f"'),
    "trace": ("def f(z):\n    {raises}", 'integrand = "{file}:f"'),
    "distribution": ("def q():\n    {raises}", 'distribution = "{file}:q"'),
    "data": ("def load():\n    {raises}", 'data = "{file}:load"'),
    "attribute": (
        "class Odd:\n  def __getattr__(self, name):\n    {raises}\nodd = Odd()",
        'integrand = "{file}:odd.f"',
    ),
    "reference": (  # in the main thread, while the result is compared with the reference
        "import threading, numpy as np\ndef f(z):\n"
        "    if threading.current_thread() is threading.main_thread():\n        {raises}\n    return np.sin(z)",
        'backend = "cpu"\nintegrand = "{file}:f"',
    ),
}
INDENTS = {"import": "", "reference": " " * 8}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fine.py").write_text("import numpy as np\ndef f(z):\n    return np.sin(z)\n")
    return tmp_path


@pytest.mark.parametrize("place", PLACES)
def test_whatever_users_code_raises_is_its_own_jobs_failure(folder, place, capsys):
    """None of it ends the batch, and none leaves status 0."""
    code, key = PLACES[place]
    chosen = dict(list(RAISES.items())[:2]) if place == "reference" else RAISES  # which compiles
    tables = []
    for i, raises in enumerate(chosen):
        text = code.replace("{raises}", raises).replace("{indent}", INDENTS.get(place, " " * 4))
        (folder / f"bad{i}.py").write_text(text)
        tables.append(f'[[job]]\nname = "bad{i}"\n{key.format(file=f"bad{i}.py")}\n[[job]]\nname = "after{i}"\n')
    (folder / "job.toml").write_text(JOB + "".join(tables))
    assert main(["run", "job.toml"]) == 1
    printed = capsys.readouterr()
    bad = "NOT OK" if place == "reference" else "failed"  # there the result is written already
    assert f"{2 * len(chosen)} jobs: {len(chosen)} {bad}, {len(chosen)} done" in printed.out
    for i, why in enumerate(chosen.values()):
        assert re.search(rf"^bad{i} .*{why}", printed.out, re.MULTILINE)
        assert (folder / f"results/after{i}.json").exists()


def test_a_job_that_ends_the_process_has_no_result(folder, capsys):
    (folder / "leaves.py").write_text("raise SystemExit(0)")
    (folder / "job.toml").write_text(JOB.replace("fine.py", "leaves.py"))
    assert main(["run", "job.toml"]) == 2
    assert "leaves.py, line 1, which raised SystemExit: 0" in capsys.readouterr().err
    assert main(["explain", "job.toml"]) == 2
    (folder / "leaves.py").write_text("def f(z):\n    raise SystemExit(0)")
    assert main(["explain", "job.toml"]) == 2
    assert "mcgrad: error: SystemExit: 0" in capsys.readouterr().err
    (folder / "fine.toml").write_text(JOB)
    assert main(["explain", "job.toml", "fine.toml"]) == 1
    assert "\n# fine\nbackend: numpy" in f"\n{capsys.readouterr().out}"


def test_data_that_change_after_a_job_was_prepared_are_no_fault_of_a_backend(folder, capsys):
    """As where the loader of the next job, which runs meanwhile, fills the same array."""
    (folder / "fine.py").write_text(
        "import numpy as np\nx = np.ones(3)\ndef load():\n    return {'x': x}\n"
        "def f(z, x):\n    return np.sum(np.sin(z) * x)\n"
    )
    (folder / "job.toml").write_text(JOB.replace('"numpy"', '"cpu"') + 'data = "fine.py:load"')
    (job,) = load("job.toml")
    estimator = job.estimator()
    estimate = estimator(job.n, job.seed)

    def say(*words, style=None):
        return None

    assert run._compare(job, estimator, estimate, say)
    job.options.data["x"][0] = 2.0
    with pytest.raises(ParameterError, match=r"^job\.toml, data: given other numbers than when"):
        run._compare(job, estimator, estimate, say)
