"""Greek names and text work in any locale, the C locale with ASCII among them."""

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
from mcgrad import compile
print(sum(sum(function.stats.cache_hits.values()) for function in compile._loaded.values()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="locales of POSIX")
def test_compiled_and_found_again_in_the_c_locale(tmp_path):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment["MCGRAD_CACHE_DIR"] = str(tmp_path / "cache")
    script = tmp_path / "script.py"
    script.write_text(RUN, encoding="utf-8")
    for hits in "01":
        command = [sys.executable, "-W", "error", str(script)]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="ascii")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [r"['loc', 'scale', '\u03b8']", hits]
