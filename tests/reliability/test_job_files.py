"""Whatever a job file is or holds, its other jobs and the other files run, and the refusal names the key."""

import os
import re

import pytest

from mcgrad.cli import main
from mcgrad.errors import ParameterError
from mcgrad.jobs import jobfile
from mcgrad.jobs.jobfile import LONGEST, Refused, read
from mcgrad.jobs.toml_tables import DEEPEST

KEYS = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3}
n = 500
backend = "numpy"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("import numpy as np\ndef f(z):\n    return np.sin(z)\n")
    return tmp_path


FILES = {
    "": "integrand: given nothing",
    "n = 1\nn = 2": "Cannot overwrite a value",
    f"n = {'9' * 5000}": "Exceeds the limit",
    f"n = {'[' * 50_000}": "nested deeper",
    "n = '\ud800'": "'utf-8' codec can't decode",
    "job = []": "job: given []",
}


def test_files_that_are_no_job_files_stop_no_other(folder, capsys):
    for i, content in enumerate(FILES):
        (folder / f"bad{i}.toml").write_bytes(content.encode(errors="surrogatepass"))
    (folder / "folder.toml").mkdir()
    os.mkfifo(folder / "pipe.toml")  # which would wait for a writer
    (folder / "fine.toml").write_text(KEYS)
    names = [f"bad{i}.toml" for i in range(len(FILES))]
    assert main(["run", *names, "folder.toml", "pipe.toml", "nul\0.toml", "/dev/null", "fine.toml"]) == 1
    printed = capsys.readouterr()
    for i, why in enumerate(FILES.values()):
        assert re.search(rf"^bad{i} +failed +bad{i}.toml +.*({why.replace('[', '.')})", printed.out, re.MULTILINE)
    assert "folder.toml: given Is a directory" in printed.err
    assert "pipe.toml: given no regular file" in printed.err
    assert re.search(r"nul\\x00\.toml: given .*embedded null", printed.err)
    assert "/dev/null: given no regular file" in printed.err
    assert f"{len(FILES) + 5} jobs: {len(FILES) + 4} failed, 1 done" in printed.out


def test_a_byte_order_mark_is_no_part_of_a_job_file(folder):
    (folder / "marked.toml").write_bytes(b"\xef\xbb\xbf" + KEYS.replace("\n", "\r\n").encode())
    assert main(["run", "marked.toml"]) == 0


NAMES = ["a\0b", "x" * 241, "é" * (LONGEST // 2 + 1), "", ".", "..", "a/b", "/", "a\\b", "a\nb", "\x1b[31m", "\x7f"]


def test_names_that_no_file_can_have_are_refused_before_anything_runs(folder):
    def toml(text):
        return "".join(f"\\U{ord(letter):08x}" for letter in text)

    wrong = [f'name = "{toml(name)}"' for name in NAMES]
    wrong += [f'out = "results/{toml(name)}"' for name in NAMES if name not in ("", ".", "a/b", "/")]
    right = [f'name = "{toml(name)}"' for name in ("Σ b.c", "x" * LONGEST, "é" * (LONGEST // 2), "NUL", "-", "~")]
    (folder / "job.toml").write_text(KEYS + "".join(f"[[job]]\n{key}\n" for key in wrong + right))
    entries = read("job.toml")
    refused = [entry for entry in entries if isinstance(entry, Refused)]
    assert len(refused) == len(wrong)
    assert all(entry.error.parameter.endswith((", name", ", out")) for entry in refused)
    assert all(len(entry.name) <= LONGEST for entry in refused)
    assert main(["run", "job.toml"]) == 1
    assert len(os.listdir("results")) == 2 * len(right)


def test_names_that_are_one_where_capitals_do_not_count(folder, monkeypatch):
    (folder / "job.toml").write_text(f'{KEYS}[[job]]\nname = "caf\\u00e9"\n[[job]]\nname = "CAFE\\u0301"\n')
    for folding in (False, True):
        monkeypatch.setattr(jobfile, "FOLDING", folding)
        assert main(["run", "job.toml"]) == (2 if folding else 0)


DEEP = {depth: "[" * depth + "1" + "]" * depth for depth in (DEEPEST, DEEPEST + 1)}


@pytest.mark.parametrize("key", ["name", "integrand", "distribution", "params", "data", "wrt", "n", "method", "out"])
def test_nesting_is_refused_by_the_name_of_the_key(folder, key):
    keys = dict(line.split(" = ", 1) for line in KEYS.split("\n") if line)
    for depth, value in DEEP.items():
        (folder / "job.toml").write_text("\n".join(f"{k} = {v}" for k, v in {**keys, key: value}.items()))
        (entry,) = read("job.toml")
        with pytest.raises(ParameterError, match=f"^job.toml, {key}: given ") as error:
            raise entry.error if isinstance(entry, Refused) else entry.job()
        assert ("nested deeper" in str(error.value)) == (depth > DEEPEST)
    dotted = ".".join("a" * 5000)
    others = [f"{k} = {v}" for k, v in keys.items() if k != key]
    (folder / "job.toml").write_text("\n".join([*others, f"[{key}.{dotted}]"]))
    (entry,) = read("job.toml")
    assert isinstance(entry, Refused)
    assert "nested deeper" in str(entry.error)
