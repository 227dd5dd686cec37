"""The code of docs/frameworks.md runs, and it lists what the tables have."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```\n", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=[f"line {TEXT[: TEXT.index(code)].count(chr(10))}" for code in BLOCKS])
def test_blocks_run(code):
    missing = [name for name in re.findall(r"^import (jax|torch)$", code, re.MULTILINE) if find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    line = TEXT[: TEXT.index(code)].count("\n")
    exec(compile("\n" * line + code, str(PAGE), "exec"), {"__name__": "page"})


def listed(heading):
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"`([^`]+)`", section.rpartition(":\n\n")[2])


def test_primitives_of_jax():
    pytest.importorskip("jax", reason="JAX is not installed")
    from mcgrad.jax.jaxprs.calls import CALLS
    from mcgrad.jax.jaxprs.evaluate import RULES, SEVERAL, SINGLE

    assert listed("Integrands written in JAX") == sorted({*RULES, *CALLS, *SINGLE, *SEVERAL})


def test_operators_of_torch():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from mcgrad.torch.aten.traced import RULES

    assert listed("Integrands written in PyTorch") == sorted(RULES)
