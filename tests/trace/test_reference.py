"""docs/numpy.md is written from the tables."""

from pathlib import Path

from mcgrad.trace.page import markdown

PAGE = Path(__file__).parents[2] / "docs" / "numpy.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: python -m mcgrad.trace.page > docs/numpy.md"


def test_no_line_is_too_long():
    assert max(map(len, markdown().splitlines())) <= 120
