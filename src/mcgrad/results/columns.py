"""Plain-text tables: cells in columns, for results and whatever else is printed as one."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(table: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Return a line for each tuple of cells.

    Parameters
    ----------
    table : sequence of sequences of str
        All of one length, at least one.
    left : collection of int
        Columns that are aligned to the left; the others are to the right.
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    pads = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, cells, widths, strict=True)).rstrip()
        for cells in table
    ]
