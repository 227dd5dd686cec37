"""Results that are damaged, forged or reformatted: refused by our own error, or read as what was written."""

import copy
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.jobs.checkpoint import path_for
from mcgrad.jobs.output_lock import locked
from mcgrad.moments import Moments
from mcgrad.results import strict_json
from mcgrad.results.components import Components
from mcgrad.results.files import is_whole, mend, save

X = np.random.default_rng(0).standard_normal((4, 12))
SHAPES = {"b": (2,), "a.loc": ()}


def make(shapes=SHAPES, **changes):
    given = {"seed": 2**64 - 1, "dtype": "float64", "backend": "cpu", "seconds": 0.5}
    return mg.Estimate(Moments.of(X), Components(shapes), ((0, 12),), **{**given, **changes})


EARLIER = {"format": "mcgrad.Estimate/1", **make().to_dict()}  # without a digest, as in earlier versions


def test_a_changed_character_is_refused_or_changes_nothing():
    text = make(nonfinite=3).to_json()
    read = 0
    for i, new in itertools.product(range(len(text)), "1e \x00"):
        try:
            again = mg.Estimate.from_json(text[:i] + new + text[i + 1 :])
        except mg.ParameterError:
            continue
        assert again.to_json() == text
        read += 1
    assert 0 < read < len(text) / 2


@pytest.mark.parametrize("cut", range(0, 700, 37))
def test_a_part_of_a_file_is_refused(cut):
    with pytest.raises(mg.ParameterError, match=r"^text: "):
        mg.Estimate.from_json(make().to_json()[:cut])


@pytest.mark.parametrize(
    "written",
    [
        lambda fields: json.dumps(fields, indent=4),
        lambda fields: "\ufeff\n" + json.dumps(fields, indent=1).replace("\n", "\r\n"),
        lambda fields: json.dumps(fields, ensure_ascii=False).replace(" ", ""),
        lambda fields: json.dumps({name: fields[name] for name in sorted(fields)}, separators=(",\n", " :\t")),
        lambda fields: json.dumps(fields).replace("0.5", "5e-1").replace('"n": 12', '"n": 12.0').replace("12.0", "12"),
    ],
)
def test_what_another_program_formatted_is_read(written):
    est = make(choice="größer")
    for text in (written(json.loads(est.to_json())), written(json.loads(est.to_json())).encode()):
        assert mg.Estimate.from_json(text).to_json() == est.to_json()


def test_other_notations_of_a_number_are_the_same_number_and_other_numbers_are_not():
    assert strict_json.digest({"x": [1.0, 2.5]}) == strict_json.digest({"x": [1, 2.5]})
    assert strict_json.digest({"x": 1e22}) == strict_json.digest({"x": 10**22})
    assert strict_json.digest({"x": -0.0}) == strict_json.digest(strict_json.loads("", '{"x": -0}'))
    others = [0, 0.0, -0.0, 1, True, False, None, "1", "", [], {}, [1], [[1]], [1, 1], {"1": 1}, 2**53 + 1, 2**53]
    digests = {strict_json.digest({"x": other}) for other in others}
    assert len(digests) == len(others) - 1  # 0 and 0.0
    assert strict_json.digest({"shapes": {"a": [1], "b": [1]}}) != strict_json.digest({"shapes": {"b": [1], "a": [1]}})
    assert strict_json.digest({"grad": {"a": 1, "b": 2}}) == strict_json.digest({"grad": {"b": 2, "a": 1}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        '"x"',
        "NaN",
        "{",
        '{"n": NaN}',
        '{"n": 1e400}',
        '{"n": -Infinity}',
        '{"n": 1, "n": 2}',
        '{"n": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"grad":' * 100_000,
        '{"grad":' * 500 + "1" + "}" * 500,
        b"\xff\xfe",
        b"{\xff}",
        "\ud800",
        "results/job.json",
        bytearray(b"{}"),
        3,
        None,
        {},
    ],
)
def test_what_is_no_result_is_refused_by_our_error(text):
    with pytest.raises(mg.ParameterError):
        mg.Estimate.from_json(text)


def test_a_path_in_place_of_json_names_the_remedy(tmp_path):
    for given in ("results/job.json", tmp_path / "job.json"):
        with pytest.raises(mg.ParameterError, match=r"^text: given .*; accepted: JSON .*read_bytes"):
            mg.Estimate.from_json(given)


WRONG = {
    "n": [0, -1, 13, 12.0, True, "12", None, 2**70],
    "nonfinite": [-1, 13, True, 0.0, None],
    "omitted": [0, "false", None],
    "dtype": ["float16", 64, None, []],
    "backend": ["", 3, None, "a\x1b[2J"],
    "seed": [-1, 2**64, 1.0, True, "3"],
    "seconds": [-0.5, float("inf"), float("nan"), 10**400, True, "0.5", None],
    "method": ["", 3, {}, {"b": "score"}, {"b": "score", "a.loc": 3}, [], "a\nb"],
    "choice": [3, None],
    "group": [0, -1, 5, 13, True, 1.0],
    "problem": [None, 3],
    "ranges": [
        [],
        {},
        3,
        [3],
        [[0, 6], [6, 12]],
        [[6, 12], [0, 6]],
        [[0, 7], [6, 11]],
        [[12, 0]],
        [[-1, 11]],
        [[0, 0], [1, 13]],
        [[0.0, 12.0]],
        [[False, 12]],
        [[0, 12, 13]],
        [[2**63, 2**63 + 12]],
    ],
    "shapes": [
        [],
        None,
        {"b": [2]},
        {"b": [10**12], "a.loc": []},
        {"b": [10**30, 0], "a.loc": []},
        {"b": [3, -1], "a.loc": []},
        {"b": [2.0], "a.loc": []},
        {"b": 2, "a.loc": []},
        {"b": [1] * 65, "a.loc": []},
        {"b": [2], "b.loc": []},
        {"b": [2], "": []},
        {"b": [2], ".".join("a" * 1000): []},
    ],
    "moments": [
        None,
        [],
        {},
        {"count": 12, "mean": [1.0] * 4},
        {"count": 7, "mean": [1.0] * 4, "norm": [1.0] * 4},
        {"count": 12.0, "mean": [1.0] * 4, "norm": [1.0] * 4},
        {"count": 12, "mean": [1.0] * 3, "norm": [1.0] * 4},
        {"count": 12, "mean": [1.0] * 4, "norm": [1.0] * 5},
        {"count": 12, "mean": [1.0] * 4, "norm": [1.0, 1.0, -1.0, 1.0]},
        {"count": 12, "mean": [1.0] * 4, "m2": [1.0, 1.0, -1.0, 1.0]},
        {"count": 12, "mean": [True] * 4, "norm": [1.0] * 4},
        {"count": 12, "mean": ["1.0"] * 4, "norm": [1.0] * 4},
        {"count": 12, "mean": [None] * 4, "norm": [1.0] * 4},
        {"count": 12, "mean": [[1.0]] * 4, "norm": [1.0] * 4},
        {"count": 12, "mean": [10**400] * 4, "norm": [1.0] * 4},
        {"count": 12, "mean": "nan", "norm": [1.0] * 4},
    ],
    "format": ["mcgrad.Estimate/2", None, 1],
    "digest": ["", "0" * 32, None],
    "comment": ["mine"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_field_out_of_range_is_refused_by_its_name(name, value):
    fields = copy.deepcopy(EARLIER)
    fields[name] = value
    with pytest.raises(mg.ParameterError) as refused:
        mg.Estimate.from_dict(fields)
    others = {"n": ("ranges",), "ranges": ("n",), "shapes": ("moments.mean",)}  # what it does not go together with
    assert refused.value.parameter.strip("'").startswith((name, *others.get(name, ())))


@pytest.mark.parametrize("name", [name for name in EARLIER if name not in ("method", "choice", "group")])
def test_a_field_that_is_not_there_is_named(name):
    with pytest.raises(mg.ParameterError, match=f"^{name}: given '?no"):
        mg.Estimate.from_dict({key: value for key, value in EARLIER.items() if key != name})


def test_draws_left_out_are_missing_from_the_count():
    moments = {**EARLIER["moments"], "count": 9}
    assert mg.Estimate.from_dict({**EARLIER, "moments": moments, "nonfinite": 3, "omitted": True}).nonfinite == 3
    for change in ({"nonfinite": 2, "omitted": True}, {"nonfinite": 3}):
        with pytest.raises(mg.ParameterError, match=r"moments\.count: given 9"):
            mg.Estimate.from_dict({**EARLIER, "moments": moments, **change})


KINDS = {
    "leave one out": lambda **run: mg.Estimator(np.log, mg.Normal(1.0), method="score+leave_one_out", **run),
    "two methods": lambda **run: mg.Estimator(
        np.log, mg.Normal(1.0), method={"loc": "score", "scale": "pathwise"}, **run
    ),
    "no parameters": lambda **run: mg.Estimator(np.log, mg.Normal(1.0), wrt=[], **run),
    "chosen": lambda **run: mg.Estimator(np.log, mg.Normal(1.0), method="auto", **run),
    "groups": lambda **run: mg.Estimator(mg.iwae(np.log, mg.Normal(1.0), 4), **run),
    "infinite": lambda **run: mg.Estimator(mg.kl(mg.Uniform(0.0, 2.0), mg.Uniform(0.0, 1.0)), **run),
    "closed form": lambda **run: mg.Estimator(mg.kl(mg.Normal(0.0), mg.Normal(1.0)), **run),
    "nested": lambda **run: mg.Estimator(
        lambda z, *, net: z * np.sum(net["a"]["b"]), mg.Normal(), params={"net": {"a": {"b": np.ones((2, 3))}}}, **run
    ),
}


@pytest.mark.parametrize("nonfinite", ["propagate", "omit"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_estimate_is_refused_that_was_made(kind, nonfinite):
    run = KINDS[kind](nonfinite=nonfinite, backend="numpy")
    early, late = run(800, 3), run(400, 3, first=1600)
    for est in (early, late, early.merge(late)):
        assert mg.Estimate.from_json(est.to_json()).to_json() == est.to_json()
        assert mg.Estimate.from_dict(est.to_dict()).to_json() == est.to_json()


def test_shapes_of_a_terabyte_take_no_memory():
    """In a process that may not have more than 4 GB."""
    code = (
        "import resource, json, sys\nimport mcgrad as mg\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))\n"
        "try:\n    mg.Estimate.from_json(sys.stdin.read())\nexcept mg.ParameterError as error:\n    print(error)"
    )
    text = json.dumps({**EARLIER, "shapes": {"b": [10**6, 10**6], "a.loc": []}})
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("moments.mean: given 4 numbers; accepted: 1000000000002")


def test_the_entries_of_the_npz_file(tmp_path):
    json_path, npz = save(make(), tmp_path / "r")
    with np.load(npz, allow_pickle=False) as entries:
        parameters = {f"{name}.{path}" for name in ("grad", "grad_stderr") for path in SHAPES}
        assert set(entries.files) == {"value", "stderr", "n", "nonfinite", "seed", "format", "digest", *parameters}
        assert entries["digest"] == json.loads(json_path.read_text())["digest"]
        assert entries["grad.b"].tobytes() == make().grad["b"].tobytes()


def test_an_npz_file_that_is_damaged_or_gone_is_made_again(tmp_path):
    _, npz = save(make(), tmp_path / "r")
    right = npz.read_bytes()
    assert is_whole(tmp_path / "r")
    np.savez(tmp_path / "other.npz", value=1.0)
    _, other = save(make(seed=3), tmp_path / "another")
    damaged = [right[:size] for size in range(0, len(right), 211)]
    damaged += [right[:i] + bytes([right[i] ^ 4]) + right[i + 1 :] for i in range(0, len(right), 97)]
    damaged += [(tmp_path / "other.npz").read_bytes(), other.read_bytes(), b"PK", None]
    made = 0
    for content in damaged:
        npz.unlink() if content is None else npz.write_bytes(content)
        if not is_whole(tmp_path / "r"):
            mend(tmp_path / "r")
            made += 1
        with np.load(npz, allow_pickle=False) as entries:
            assert entries["value"] == make().value
            assert entries["digest"] == json.loads(make().to_json())["digest"]
    assert made > 0.5 * len(damaged)  # the others are flips of dates and the like, which no reader looks at


JOB = """
distribution = {family = "Normal", loc = 0.3}
integrand = "model.py:f"
n = 500
backend = "numpy"
"""


@pytest.fixture
def done(tmp_path, monkeypatch, capsys):
    """Run a job, and return the stem of its results."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("def f(z):\n    return z * z\n")
    (tmp_path / "job.toml").write_text(JOB)
    assert main(["run", "job.toml"]) == 0
    capsys.readouterr()
    return tmp_path / "results" / "job"


def spoiled(text, how):
    fields = json.loads(text)
    if how == "digit":
        i = text.index('"mean": [') + 12
        return f"{text[:i]}{(int(text[i]) + 1) % 10}{text[i + 1 :]}"
    if how == "earlier":
        del fields["digest"]
    else:
        fields["moments"] |= {"nan": {"mean": ["nan"] * 3}, "sign": {"norm": [-1.0] * 3}, "count": {"count": 7}}[how]
    return json.dumps(fields)


@pytest.mark.parametrize("how", ["digit", "nan", "sign", "count", "earlier"])
def test_resume_runs_again_what_is_damaged(done, capsys, how):
    path = done.with_suffix(".json")
    right = path.read_text()
    path.write_text(spoiled(right, how))
    assert main(["run", "job.toml", "--resume"]) == 0
    assert "runs again: results/job.json, " in capsys.readouterr().out
    assert json.loads(path.read_text())["moments"] == json.loads(right)["moments"]


def test_resume_leaves_the_files_of_a_run_that_is_under_way(done, capsys):
    done.with_suffix(".npz").unlink()
    with locked(done, "out", pytest.fail):
        assert main(["run", "job.toml", "--resume"]) == 1
    assert "the completion of the results failed: job.toml, out: given" in capsys.readouterr().err
    assert not done.with_suffix(".npz").exists()


def test_resume_completes_the_npz_file(done, capsys):
    npz = done.with_suffix(".npz")
    right = npz.read_bytes()
    for content in (None, right[:100]):
        npz.unlink() if content is None else npz.write_bytes(content)
        assert main(["run", "job.toml", "--resume"]) == 0
        printed = capsys.readouterr().out
        assert "complete already" in printed
        assert "wrote results/job.npz again" in printed
        assert npz.read_bytes() == right


def test_resume_leaves_what_others_wrote_beside_a_complete_result(done, capsys):
    """The results of an earlier run may have been put, without the NPZ file, where a file of that name was."""
    npz, checkpoint = done.with_suffix(".npz"), path_for(done)
    right = npz.read_bytes()
    np.savez(npz, x=np.ones(3))
    theirs = npz.read_bytes()
    checkpoint.write_text('{"mine": 1}')
    assert main(["run", "job.toml", "--resume"]) == 1
    assert "results/job.npz, which mcgrad did not write" in capsys.readouterr().err
    assert (npz.read_bytes(), checkpoint.read_text()) == (theirs, '{"mine": 1}')
    npz.unlink()
    checkpoint.unlink()
    checkpoint.mkdir()
    assert main(["run", "job.toml", "--resume"]) == 0
    assert npz.read_bytes() == right
