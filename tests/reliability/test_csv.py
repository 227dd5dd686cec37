"""CSV files are read as they are written, or refused by line and column: no number is taken for another."""

import math
import re
import tomllib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mcgrad.errors import ParameterError
from mcgrad.jobs.references import References


@pytest.fixture
def read(tmp_path):
    """Return a function that writes t.csv and reads a value of it, as a job does."""

    def reader(content, **options):
        (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return References(tmp_path).value("x", {"file": "t.csv", **options})

    return reader


READ = [
    ("a,b\n1,2\n3,4\n", {}, [[1, 2], [3, 4]]),
    ("a,b\n1,2\n3,4", {"columns": "b"}, [2, 4]),
    ("a,b\n1,2\n3,4\n", {"columns": ["b"]}, [[2], [4]]),
    ("a,b\n1,2\n", {"columns": ["b", "a", 1]}, [[2, 1, 1]]),
    ("a,b\r\n1,2\r\n", {}, [[1, 2]]),
    ("a,b\r1,2\r3,4\r", {}, [[1, 2], [3, 4]]),
    ("\ufeffa,b\n1,2\n", {"columns": "a"}, [1]),
    ("\n\na,b\n\n1,2\n\n3,4\n\n\n", {}, [[1, 2], [3, 4]]),
    ("a\n1\n2\n\n\n", {"columns": "a"}, [1, 2]),
    (' a , "b, c"\n "1", 2 \n', {"columns": "b, c"}, [2]),
    ('"a\nb",c\n1,2\n', {"columns": "a\nb"}, [1]),
    ('"say ""a""",c\n1,2\n', {"columns": 'say "a"'}, [1]),
    ("a;b\n1;2\n", {"delimiter": ";"}, [[1, 2]]),
    ("a;b\n1,5;-2,5e3\n", {"delimiter": ";", "decimal": ","}, [[1.5, -2500]]),
    ('a,b\n"1,5",2\n', {"decimal": ","}, [[1.5, 2]]),
    ("a\tb\n1\t2\n", {"delimiter": "\t", "columns": "b"}, [2]),
    ("1,2\n3,4\n", {"header": False}, [[1, 2], [3, 4]]),
    ("1,2\n3,4\n", {"header": False, "columns": 2}, [2, 4]),
    ("2019,2020\n3,4\n", {"header": True, "columns": "2020"}, [4]),
    ("id,x,x\nk,3,4\n", {"columns": [2, 3]}, [[3, 4]]),
    ("id,x,x,y\nk,3,4,5\n", {"columns": "y"}, [5]),
    (",x\n0,3\n", {"columns": "x"}, [3]),
    ("größe,x\n1,2\n", {"columns": "größe"}, [1]),
    ("a\n+1.5\n-.5e-3\n1e308\n1e-400\n", {"columns": "a"}, [1.5, -0.0005, 1e308, 0]),
    ("a,b\n1e308,1e308\n", {}, [[1e308, 1e308]]),
    ("a\nnan\n-inf\nInfinity\nNaN\n", {"columns": "a"}, [math.nan, -math.inf, math.inf, math.nan]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "options", "expected"), READ)
def test_what_is_read(read, content, options, expected):
    np.testing.assert_array_equal(read(content, **options), np.array(expected, float), strict=True)


REFUSED = [  # content, options, what is named as given, and as accepted
    ("a\n1,5\n", {"columns": "a"}, "2 fields in line 2 of t.csv, whose first line has 1", "a decimal comma"),
    ("a,b\n1,2\n1,5,2\n", {}, "3 fields in line 3 of t.csv", "as many in each line"),
    ("a;b\n1;2;\n", {"delimiter": ";"}, "3 fields in line 2 of t.csv, whose first line has 2", "as many in each line"),
    ("a,b\n1,2\n1\n", {}, "1 field in line 3 of t.csv", "as many in each line"),
    ("a,b\n1,2,\n", {}, "3 fields in line 2", "as many"),
    ('a,b\n"1,5",2\n', {}, "'1,5' in column 'a', line 2 of t.csv", 'decimal = ","'),
    ("a;b\n1,5;2\n", {"delimiter": ";"}, "'1,5' in column 'a', line 2", 'decimal = ","'),
    ("a;b\n1.234,5;2\n", {"delimiter": ";", "decimal": ","}, "'1.234,5' in column 'a', line 2", "numbers"),
    ("a;b\n1.5;2\n", {"delimiter": ";", "decimal": ","}, "'1.5' in column 'a', line 2", "numbers"),
    ("1,5;2\n", {"delimiter": ";", "decimal": ","}, "the number '1,5' in line 1 of t.csv", "header = false"),
    ("a;b\n1;2\n", {}, "'1;2' in column 'a;b', line 2", 'delimiter = ";"'),
    ("a\tb\n1\t2\n", {"columns": "a"}, "column 'a' of t.csv", 'delimiter = "\\t"'),
    ("a,a\n1,2\n", {}, "column 'a' of t.csv, which has 2 of that name", "their numbers"),
    ("a,b,a\n1,2,3\n", {"columns": "a"}, "column 'a' of t.csv, which has 2 of that name", "their numbers"),
    ("a,\n1,2\n", {}, "a column of t.csv that has no name", "its columns: 'a', ''"),
    (",a\n0,1\n1,2\n", {}, "a column of t.csv that has no name", "its columns"),
    ("1,2\n3,4\n", {}, "the number '1' in line 1 of t.csv", "header = false"),
    ("x,2\n3,4\n", {"columns": "2"}, "the number '2' in line 1 of t.csv", "header = false"),
    ("1,2\n3,4\n", {"columns": 2}, "the number '2' in line 1 of t.csv", "header = false"),
    ("\n1,2\n3,4\n", {}, "the number '1' in line 2 of t.csv", "header = false"),
    ("a,b\n1,2\n", {"header": False}, "'a' in column 1, line 1 of t.csv", "numbers"),
    ("1,2\n", {"header": False, "columns": "a"}, "column 'a' of t.csv, whose columns have no names", "1 to 2"),
    ("1,2\n", {"header": False, "columns": 3}, "column 3 of t.csv", "1 to 2"),
    ("1,2\n", {"header": False, "columns": [0]}, "column 0 of t.csv", "1 to 2"),
    ("a,b\n1,2\n", {"columns": "a,b"}, "column 'a,b' of t.csv", "its columns: 'a', 'b'"),
    ("a,b\n1,\n", {}, "nothing in column 'b', line 2 of t.csv", "nan where there is none"),
    ("a,b\n1,2\n, \n", {}, "nothing in column 'a', line 3", "nan"),
    ("a\n1\n\n3\n", {"columns": "a"}, "nothing in line 3 of t.csv", "a number in each line"),
    ("a\n1_000\n", {"columns": "a"}, "'1_000' in column 'a', line 2", "numbers"),
    ("a\n0x10\n", {"columns": "a"}, "'0x10' in column 'a', line 2", "numbers"),
    ("a\n\u0661\n", {"columns": "a"}, "in column 'a', line 2", "numbers"),
    ("a\n1\u00a0\n", {"columns": "a"}, "in column 'a', line 2", "numbers"),
    ("a\n1 000\n", {"columns": "a"}, "'1 000' in column 'a', line 2", "numbers"),
    ("a\n1e400\n", {"columns": "a"}, "'1e400' in column 'a', line 2", "within the range of float64"),
    ("a\ntrue\n", {"columns": "a"}, "'true' in column 'a', line 2", "numbers"),
    ("a\n1\n# 2\n", {"columns": "a"}, "'# 2' in column 'a', line 3", "numbers"),
    ('"a\nb",c\n1,2\n\n\n3,x\n', {}, "'x' in column 'c', line 6 of t.csv", "numbers"),
    ('a,b\n"1\n",2\n3,x\n', {}, "'x' in column 'b', line 4 of t.csv", "numbers"),
    ("", {}, "t.csv, which is empty", "a line of names"),
    ("\n\n", {}, "t.csv, which is empty", "a line of names"),
    ("a,b\n", {}, "t.csv, which has names only", "lines of numbers"),
    ("größe\n1\n".encode("latin-1"), {}, "line 1 of t.csv, which is not UTF-8", "UTF-8"),
    ("a,b\n1,2\n1,2\xb0\n".encode("latin-1"), {}, "line 3 of t.csv, which is not UTF-8", "UTF-8"),
    ("a,b\n1,2\n".encode("utf-16"), {}, "line 1 of t.csv, which is not UTF-8", "UTF-8"),
    ("a,b\n1,2\n".encode("utf-16-le"), {}, "line 1 of t.csv, which is not UTF-8", "UTF-8"),
    (b"a,b\n1,\x002\n", {}, "line 2 of t.csv, which is not UTF-8", "UTF-8"),
    ('a,b\n"1,2\n3,4\n', {}, "line 2 of t.csv, which is not CSV", "quoted"),
    ('a,b\n"1"5,2\n', {}, "line 2 of t.csv, which is not CSV", "quoted"),
    ("a" * 200_000 + "\n1\n", {}, "line 1 of t.csv, which is not CSV (field larger", "quoted"),
]


@pytest.mark.parametrize(("content", "options", "given", "accepted"), REFUSED)
def test_what_is_refused(read, content, options, given, accepted):
    with pytest.raises(ParameterError) as caught:
        read(content, **options)
    assert caught.value.parameter == "x"
    assert given in caught.value.given
    assert accepted in caught.value.accepted


@pytest.mark.parametrize(
    ("options", "parameter", "given"),
    [
        ({"colums": "a"}, "x.colums", "no key for a .csv file"),
        ({"entry": "a"}, "x.entry", "no key for a .csv file"),
        ({"columns": True}, "x.columns", "True"),
        ({"columns": []}, "x.columns", "[]"),
        ({"columns": ["a", 1.5]}, "x.columns", "['a', 1.5]"),
        ({"header": "false"}, "x.header", "'false'"),
        *[({"delimiter": text}, "x.delimiter", repr(text)) for text in ("", ";;", "1", ".", "-", '"', "\n", "e")],
        ({"delimiter": 1}, "x.delimiter", "1"),
        ({"decimal": ";"}, "x.decimal", "';'"),
        ({"decimal": ["."]}, "x.decimal", "['.']"),
        ({"file": "t.txt"}, "x.file", "'t.txt'"),
        ({"file": "t.csv:a"}, "x.file", "'t.csv:a'"),
    ],
)
def test_keys_of_the_table_are_checked(read, options, parameter, given):
    with pytest.raises(ParameterError) as caught:
        read("a\n1\n", **options)
    assert (caught.value.parameter, caught.value.given) == (parameter, given)


def test_names_in_a_reference(tmp_path):
    (tmp_path / "T.CSV").write_text("a:b,c\n1,2\n")
    value = References(tmp_path).value
    np.testing.assert_array_equal(value("x", "T.CSV:a:b"), [1.0])
    np.testing.assert_array_equal(value("x", "T.CSV:c, a:b"), [[2.0, 1.0]])


def test_very_many_columns(read):
    width = 30_000
    names = ",".join(f"c{i}" for i in range(width))
    assert read(names + "\n" + "1," * (width - 1) + "2\n").shape == (1, width)
    with pytest.raises(ParameterError) as caught:
        read(names + "\n1\n", columns="x" * 100_000)
    assert len(str(caught.value)) < 2000


def test_a_line_without_an_end(read, monkeypatch):
    monkeypatch.setattr("mcgrad.jobs.csvfile.LONGEST_LINE", 1000)
    with pytest.raises(ParameterError, match=r"line 2 of t\.csv, which has 1,000 characters or more"):
        read("a\n" + "1" * 1500)


def test_tables_of_values_stay_tables(tmp_path):
    """A table describes a file where its `file` is a string, and only inside `params` or `data`."""
    (tmp_path / "t.csv").write_text("a\n1\n")
    found = References(tmp_path).values("params", {"file": "t.csv:a", "net": {"file": 2.0}, "x": {"file": "t.csv"}})
    assert (found["file"].tolist(), found["net"], found["x"].tolist()) == ([1.0], {"file": 2.0}, [[1.0]])


def test_the_example_in_the_docs(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "job-files.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "delimiter" in block]
    (tmp_path / "measured.csv").write_text('no;"x, cm";"y, cm"\n1;0,5;-1\n2;1,25;3\n')
    (tmp_path / "t.csv").write_text("0,1\n2,3\n")
    found = {key: References(tmp_path).values(key, table) for key, table in tomllib.loads(block).items()}
    np.testing.assert_array_equal(found["data"]["y"], [[0.5, -1], [1.25, 3]])
    np.testing.assert_array_equal(found["params"]["t"], [[0, 1], [2, 3]])


def test_memory_is_that_of_the_numbers(read):
    rows = 10_000
    content = "a,b,c\n" + "1.25,2.5,name\n" * rows
    read("a\n1\n")
    tracemalloc.start()
    found = read(content.encode(), columns=["a", "b"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (rows, 2)
    assert peak < 4 * found.nbytes  # as the array grows there are two of it for a moment


def test_damage_is_refused_or_read_right(read):
    """Bytes that are dropped or changed: our own error, or the numbers that the changed text says."""
    rng = np.random.default_rng(0)
    content = b"a,b,c\n" + b"".join(b"%d,%.3f,%.2e\n" % (i, i / 7, 10.0**i) for i in range(12))
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(len(changed))] = rng.integers(256)
        del changed[rng.integers(1, len(changed) * 3) :]
        try:
            found = read(bytes(changed))
        except ParameterError:
            refused += 1
        else:
            lines = [line for line in re.split(r"[\r\n]+", changed.decode()) if line][1:]
            np.testing.assert_array_equal(found, [[float(text) for text in line.split(",")] for line in lines])
    assert 100 < refused < 300
