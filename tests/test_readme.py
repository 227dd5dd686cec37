"""The README's code runs, in order and in one namespace, and prints what it says; links of the pages lead somewhere."""

import re
from pathlib import Path

import numpy as np
import pytest

from mcgrad.noise import philox
from mcgrad.noise.numbers import numbers
from mcgrad.noise.rows import first_of_row
from mcgrad.noise.source import NoiseSource

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", TEXT, re.MULTILINE | re.DOTALL)


def test_blocks_run(capsys):
    namespace = {}
    assert len(BLOCKS) > 5
    for code, output in BLOCKS:
        line = TEXT[: TEXT.index(code)].count("\n")
        exec(compile("\n" * line + code, "README.md", "exec"), namespace)
        printed = capsys.readouterr().out
        if output:
            assert printed == output


def test_first_block_is_short_and_right():
    code, output = BLOCKS[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    center, error, exact = (float(x) for x in re.findall(r"\d\.\d+", output))
    assert abs(center - exact) < 4 * error


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert target.startswith("http") or ((ROOT / page).parent / target).exists(), target


def test_known_answers_of_the_draw_contract():
    page = (ROOT / "docs" / "draws.md").read_text()
    words = " ".join(f"{int(word):08x}" for word in philox.words(2024, 1, 3, 5, 4))
    assert f"Seed 2024, stream 1, component 3, group 5: words `{words}`" in page
    row = r"^\| (\d+), (\d+), (\d+) \| (\d+), \d+ \| (float\d\d) \| (.*), (.*) \| (.*), (.*) \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert len(rows) == 5
    for seed, stream, component, first, dtype, *values in rows:
        place = int(seed), [int(component)], int(first), 2, dtype
        found = np.concatenate([numbers(NoiseSource(int(stream), law), *place)[0] for law in ("uniform", "normal")])
        np.testing.assert_allclose(found, np.array(values, float), rtol=1e-7 if dtype == "float32" else 1e-14)


def test_known_answers_of_rows():
    page = (ROOT / "docs" / "draws.md").read_text()
    row = r"^\| (\d+), (\d+), (\d+) \| (\d+) \| (\d+), \d+ \| (float\d\d) \| (.*), (.*) \| (.*), (.*) \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert len(rows) == 5
    for seed, stream, component, number, first, dtype, *values in rows:
        place = int(seed), [int(component)], first_of_row(int(number), dtype) + int(first), 2, dtype
        found = np.concatenate([numbers(NoiseSource(int(stream), law), *place)[0] for law in ("uniform", "normal")])
        np.testing.assert_allclose(found, np.array(values, float), rtol=1e-7 if dtype == "float32" else 1e-14)


def test_ci_runs_the_command_of_this_page():
    commands = re.findall(r"^python3 -m venv \.venv && .*$", TEXT, re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("mcgrad run examples/breast_cancer/job.toml")
    assert commands[1].endswith("python -m pytest -n auto")
    assert "grep" in (ROOT / ".ci" / "run").read_text()
