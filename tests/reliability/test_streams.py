"""Results are written where nothing can be printed, and the exit status says so."""

import os
import subprocess
import sys
import warnings

import pytest

import mcgrad as mg
from mcgrad.cli import main, standard_streams
from mcgrad.system.printable import line, printable

JOB = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3}
n = 500
backend = "numpy"
[[job]]
name = "first"
[[job]]
name = "second"
"""
MODEL = """
import numpy as np
print("imported", flush=True)

def f(z):
    print("traced", flush=True)
    return np.sin(z)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


@pytest.mark.parametrize(
    ("redirected", "status", "says"),
    [
        (">&-", 1, "mcgrad: cannot print to standard output: it is closed\n"),
        pytest.param(
            "> /dev/full",
            1,
            "mcgrad: cannot print to standard output: [Errno 28] No space left on device\n",
            marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here"),
        ),
        ("<&- >&- 2>&-", 1, ""),
    ],
)
def test_jobs_go_on_where_nothing_can_be_printed(folder, redirected, status, says):
    """Also where the user's own file prints."""
    command = f'"{sys.executable}" -m mcgrad run job.toml --progress {redirected}'
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == status
    assert done.stderr.endswith(says)
    assert "Traceback" not in done.stderr
    names = ["first.json", "first.npz", "second.json", "second.npz"]
    assert sorted(os.listdir(folder / "results")) == names
    assert all((folder / "results" / name).read_bytes()[:1] in (b"{", b"P") for name in names)


def test_a_stream_drops_what_follows_an_error(tmp_path):
    class Full:
        def write(self, text):
            raise OSError("full")

    stream = standard_streams.Stream(Full())
    assert not standard_streams.lost(stream)
    assert print("one", file=stream) is None
    assert standard_streams.lost(stream)
    assert str(stream.error) == "full"
    with open(tmp_path / "x", "w") as file:
        stream = standard_streams.Stream(file)
    print("closed by somebody else", file=stream, flush=True)
    assert standard_streams.lost(stream)


def test_standard_output_that_cannot_encode_gets_escapes(folder, tmp_path, monkeypatch):
    (folder / "job.toml").rename(folder / "é.toml")
    (folder / "é.toml").write_text(JOB.partition("[[job]]")[0], encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "mcgrad", "run", "é.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xe9: \xe9.toml" in done.stdout


ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\x7f\r"


def test_nothing_from_files_reaches_the_terminal_raw(folder, capsys):
    """File names, job names, keys, values and what users' code raises."""
    written = ESCAPES.encode("unicode_escape").decode()
    for part in ("\\x1b", "\\x07", "\\x9b", "\\x7f"):
        written = written.replace(part, f"\\u00{part[2:]}")
    (folder / "model.py").write_text(f"def f(z): return z\ndef raises(z):\n    raise ValueError('{written}')")
    keys = [f'out = "out{written}"', f'"{written}" = 1', f'wrt = ["{written}"]', 'integrand = "model.py:raises"']
    name = f"job{ESCAPES}.toml".replace("/", "")
    (folder / name).write_text(JOB.partition("[[job]]")[0] + "".join(f"[[job]]\n{key}\n" for key in keys))
    assert main(["run", name, "--progress"]) in (1, 2)
    printed = "".join(capsys.readouterr())
    assert "\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\u202e\\u2066\\x7f\\r" in printed
    assert printed == printable(printed)


def test_warnings_print_no_control_characters(folder, capsys, recwarn):
    with standard_streams.lasting():
        print(warnings.formatwarning(UserWarning("\x1b[2J"), UserWarning, "file\x9b.py", 3, "line"), file=sys.stderr)
    assert capsys.readouterr().err == "file\\x9b.py:3: UserWarning: \\x1b[2J\n  line\n\n"


def test_warnings_of_the_machine_name_no_line_of_code(capsys):
    with standard_streams.lasting():
        for kind in (mg.CacheWarning, mg.BackendWarning):
            text = warnings.formatwarning(kind("/tmp\x1b is not used"), kind, "thread.py", 58, "self.fn()")
            print(text, end="", file=sys.stderr)
    assert capsys.readouterr().err == 2 * "mcgrad: warning: /tmp\\x1b is not used\n"


def test_printable():
    assert printable("Σ naïve \u200d\n\t日本") == "Σ naïve \u200d\n\t日本"
    assert printable("a\x00\x1b[31m\x85\udcff\u2028") == "a\\x00\\x1b[31m\\x85\\udcff\\u2028"
    assert line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"
