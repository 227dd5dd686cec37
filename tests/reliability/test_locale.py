"""Greek names and text work in any locale, the C locale with ASCII among them."""

import json
import os
import subprocess
import sys

import pytest

RUN = """
import locale, sys
assert locale.getpreferredencoding(False).upper() != "UTF-8", locale.getpreferredencoding(False)
import numpy as np
import mcgrad as mg

def f(z, *, θ):
    return np.sum(np.sin(z) * θ)

found = mg.estimate(f, mg.Normal(np.zeros(2), 1.0), 1000, params={"θ": 0.5}, backend="cpu")
print(ascii(sorted(found.grad)))
from mcgrad.toolchain import compile
print(sum(sum(function.stats.cache_hits.values()) for function in compile._loaded.values()))
"""


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
JOB = """
name = "{name}"
integrand = "integrands.py:f"
n = 1000
backend = "numpy"
[distribution]
family = "Normal"
[params]
"θ" = 0.5
"""
INTEGRANDS = """
import numpy as np
def f(z, *, θ):
    return np.sin(z) * θ
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locales of POSIX")


def test_compiled_and_found_again_in_the_c_locale(tmp_path):
    environment = {**os.environ, **C_LOCALE, "MCGRAD_CACHE_DIR": str(tmp_path / "cache")}
    script = tmp_path / "script.py"
    script.write_text(RUN, encoding="utf-8")
    for hits in "01":
        command = [sys.executable, "-W", "error", str(script)]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="ascii")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [r"['loc', 'scale', '\u03b8']", hits]


@pytest.mark.parametrize(("name", "status"), [("study", 0), ("μελέτη", 2)])
def test_a_job_in_the_c_locale(tmp_path, name, status):
    """Greek in the files and in what is printed; where files cannot be called so, the name is refused."""
    (tmp_path / "integrands.py").write_text(INTEGRANDS, encoding="utf-8")
    (tmp_path / "job.toml").write_text(JOB.format(name=name), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "mcgrad", "run", "job.toml"]
    search = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    environment = {**os.environ, **C_LOCALE, "PYTHONPATH": search}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True)
    assert done.returncode == status, done.stderr
    if status:
        assert b"job.toml, name: given" in done.stderr
    else:
        assert "θ" in json.loads((tmp_path / "results" / "study.json").read_bytes())["grad"]
