"""Escape control characters in text from files and file names, before it is printed to a terminal."""

from __future__ import annotations

import re
from pathlib import Path

# C0 and C1 but newline and tab, DEL, line and paragraph separators, surrogates (of file names that are not UTF-8), and
# the characters that change the direction of text (Unicode TR 36; "Trojan Source", CVE-2021-42574)
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return `text` with control characters as escapes such as ``\x1b``; newlines and tabs stay."""
    return _COMMANDS.sub(_escaped, text)


def line(text: str) -> str:
    """Return `text` as one line: newlines and tabs are escaped, too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def near(path: Path) -> str:
    """Return a path relative to the working folder where it lies below that, else the path as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
