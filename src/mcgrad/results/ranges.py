"""Ranges of draws: pairs (first, stop), in order, none touching the next."""

from __future__ import annotations

from typing import TypeAlias

from mcgrad.errors import MergeError

Ranges: TypeAlias = tuple[tuple[int, int], ...]


def union(mine: Ranges, others: Ranges) -> Ranges:
    """Return the ranges of both, in order and with neighbours joined; refuse those that overlap."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted((*mine, *others)):
        if joined and start < joined[-1][1]:
            raise MergeError(f"both estimates hold the draws {start} to {min(stop, joined[-1][1]) - 1}")
        if joined and start == joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)
