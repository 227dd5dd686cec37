"""What `bench/first_contact.sh` does with its steps, by a stand-in for Python that notes them; and its last page."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.append(str(BENCH))
STUB = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
case "$*" in
*report.py*) cp "${@: -1}/steps" "$STEPS" ;;
*"$FAILING"*) echo "it fails"; exit 3 ;;
*gpu.py*)
    for word in "$@"; do [[ $before == --folder ]] && echo '{"rows": []}' >"$word/peers.json"; before=$word; done
    ;;
*speed.py*) echo '{}' >"${@: -1}" ;;
esac
echo "done: $*"
"""
pytestmark = pytest.mark.skipif(shutil.which("timeout") is None, reason="there is no timeout here (coreutils)")


def contact(folder, failing="nothing"):
    """Run the script; return its status, the commands it ran, and how its steps ended."""
    stub, log, steps = folder / "python", folder / "log", folder / "steps"
    stub.write_text(STUB)
    stub.chmod(0o755)
    names = {"PYTHON": str(stub), "LOG": str(log), "STEPS": str(steps), "FAILING": failing}
    path = f"{folder / 'tools'}:/usr/bin:/bin"  # where neither ncu nor compute-sanitizer is
    done = subprocess.run(
        ["bash", str(BENCH / "first_contact.sh"), str(folder / "out")],
        env={**os.environ, **names, "PATH": path}, capture_output=True, text=True, check=False)  # fmt: skip
    rows = [line.split(maxsplit=3) for line in steps.read_text().splitlines()]
    return done, log.read_text().splitlines(), {name: ended for name, _, _, ended in rows}


def test_all_steps_run_and_leave_eight_files_at_most(tmp_path):
    done, commands, steps = contact(tmp_path)
    assert done.returncode == 0, done.stderr
    names = ("versions", "draws", "tests", "frameworks", "speed", "peers", "batches", "latency")
    assert [steps[name] for name in names] == ["well"] * len(names)
    assert "report.py" in commands[-1]
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found | {"report.md"} <= {
        "versions.txt", "draws.txt", "tests.txt", "sanitizer.txt", "ncu.txt", "speed.json", "peers.json", "report.md"
    }  # fmt: skip


def test_tools_that_are_missing_are_named(tmp_path):
    _, _, steps = contact(tmp_path)
    assert steps["memcheck"] == steps["racecheck"] == "compute-sanitizer is not here"
    assert steps["ncu-logistic"] == "ncu is not here"
    assert "ncu is not here" in (tmp_path / "out" / "ncu.txt").read_text()


def test_nothing_runs_after_a_scalar_that_fails(tmp_path):
    done, commands, steps = contact(tmp_path, failing="versions.py")
    assert done.returncode == 1
    assert "it fails" in done.stdout
    assert steps == {"versions": "with status 3"}
    assert len(commands) == 2  # and the report


def test_other_steps_that_fail_stop_nothing(tmp_path):
    done, _, steps = contact(tmp_path, failing="draws.py")
    assert done.returncode == 0
    assert steps["draws"] == "with status 3"
    assert steps["latency"] == "well"


def test_the_report_closes_with_the_tables(tmp_path, monkeypatch, capsys):
    sys.path.append(str(BENCH / "first_contact"))
    import report

    row = {"problem": "scalar", "dtype": "float32", "best": 2e11, "median": 1.9e11, "clock": 1755.0, "watts": 600.0}
    slow = {"problem": "scalar", "backend": "cuda", "n": 64, "median": 6e-5}
    card = {"name": "a card", "processors": 132, "driver": "580"}
    batch = {"shape": "vae", "backend": "cuda", "best": 5e7, "median": 4e7, "launches": 9e7}
    speed = {"card": card, "batches": [batch], "rows": [row | {"bound": 2.5e11, "share": 0.8}], "latency": [slow]}
    peers = [{"problem": "scalar", "dtype": "float32", "peer": name, "best": best, "wrong": False}
             for name, best in (("mcgrad", 2e11), ("torch", 5e10))]  # fmt: skip
    (tmp_path / "speed.json").write_text(json.dumps(speed))
    (tmp_path / "peers.json").write_text(json.dumps({"rows": peers}))
    (tmp_path / "versions.txt").write_text("NVVM and nvJitLink\n")
    (tmp_path / "steps").write_text("versions 12 20 well\ndraws 50 50 at its limit of time\n")
    monkeypatch.setattr(sys, "argv", ["report.py", str(tmp_path), str(tmp_path)])
    report.main()
    page = (tmp_path / "report.md").read_text()
    assert "| draws | at its limit of time | 50 | 50 |" in page
    assert "| scalar | float32 | 2.00e+11 | 1.90e+11 | 1755 | 600 | 2.50e+11 | 80% |" in page
    assert "| scalar | cuda | 60 |" in page
    assert "| vae | cuda | 5.00e+07 | 4.00e+07 | 9.00e+07 |" in page
    assert page.rstrip().splitlines()[-1].startswith("| scalar | float32 | 2.00e+11 | 5.00e+10 | 4.0 (torch) |")
