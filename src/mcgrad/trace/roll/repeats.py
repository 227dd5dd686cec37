"""Find where equations repeat with a period, as those of the iterations of a Python loop do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcgrad.trace.roll.earlier import with_earlier
from mcgrad.trace.roll.order import Order
from mcgrad.trace.roll.template import Carried, Irregular, Run, template_of

FEWEST = 16  # iterations that become a loop
FEW = 4  # likewise, of so long iterations that they are
MANY = 1000  # equations of all together, which take several seconds to compile one by one
MOST_INNER = 32  # iterations of an inner loop that is not rolled up by itself
SPACED = 40  # iterations whose slices are looked at
CANDIDATES = 64  # periods that are tried
MOST_TRIED = 2000  # equations of iterations that are looked at to find where they begin
NEARLY = 0.9  # of the equations that another period covers: the shorter period is taken


def runs(order: Order) -> list[Run]:
    """Return runs that do not overlap, in order: of those that do the one with most equations."""
    found = [(*stretch, period) for period in _periods(order) for stretch in _stretches(order, period)]
    found += [outer for each in found if (outer := _outer(order, *each)) is not None]
    kept: list[tuple[int, int, int]] = []
    while found:
        longest = max(found, key=lambda each: each[1] - each[0])
        size = longest[1] - longest[0]
        rivals = [each for each in found if _overlap(each, longest) >= NEARLY * size]
        best = min(rivals, key=lambda each: (not _is_spaced(order, *each), each[2], each[0] - each[1]))
        kept.append(best)
        found = [each for each in found if not _overlap(each, best)]
    return [run for each in sorted(kept) if (run := _begun_best(order, *each)).iterations >= fewest(run.period)]


def fewest(period: int) -> int:
    """How many iterations of so many equations become a loop."""
    return min(FEWEST, max(FEW, -(-MANY // period)))


def _outer(order: Order, start: int, stop: int, period: int) -> tuple[int, int, int] | None:
    """The iterations of an outer loop, of which those that were found are an inner one's."""
    if not _is_spaced(order, start, stop, period):
        for times in range(2, MOST_INNER + 1):
            longer = times * period
            if stop - start < fewest(longer) * longer:
                continue
            if _is_spaced(order, start, stop, longer) and order.repeats(longer)[start : stop - longer].all():
                return start, stop, longer
    return None


def _is_spaced(order: Order, start: int, stop: int, period: int) -> bool:
    """Whether iterations read evenly spaced slices, as a loop within a loop does not for all iterations together."""
    for i in range(start, start + period):
        if order.equations[i].op == "slice":
            starts = [[a for a, _, _ in var.attrs.bounds] for var in order.equations[i:stop:period][:SPACED]]
            if np.any(np.diff(starts, 2, axis=0)):
                return False
    return True


def _begun_best(order: Order, start: int, stop: int, period: int) -> Run:
    """Of the places where iterations may begin take that with most iterations, those before that fit among them.

    Of several that at which an iteration reads least of the one before.
    """
    begins = _begins(order, start, stop, period)
    best, found = begins[0], (0, 0)
    for begin in begins[: max(1, MOST_TRIED // period)]:
        run = Run(begin, period, min(FEWEST, (stop - begin) // period))
        try:
            template = with_earlier(order, template_of(order, run))
        except Irregular:
            continue
        reads = sum(isinstance(slot, Carried) for node in template.nodes for slot in node.slots)
        covered = len(template.earlier) + (stop - begin) // period
        if not found[1] or (covered, -reads) > found:
            best, found = begin, (covered, -reads)
    return Run(best, period, (stop - best) // period)


def _overlap(a: tuple[int, int, int], b: tuple[int, int, int]) -> int:
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def _periods(order: Order) -> list[int]:
    """Distances at which equations come again: those at which most do, first."""
    kinds = order.kinds
    for slot in range(2):  # equations of equal kinds, whose arguments are of equal kinds, too
        sources = order.sources[slot]
        of_arguments = np.where(sources >= 0, kinds[np.maximum(sources, 0)], -1)
        kinds = np.unique(kinds * (kinds.max(initial=0) + 2) + of_arguments + 1, return_inverse=True)[1]
    last = np.argsort(kinds, kind="stable")
    gaps = []
    for back in (1, 2, 3):
        same = kinds[last[back:]] == kinds[last[:-back]]
        gaps.append((last[back:] - last[:-back])[same])
    values, counts = np.unique(np.concatenate(gaps), return_counts=True)
    often = counts >= (FEW if len(order) >= MANY else FEWEST) - 1
    by_coverage = np.argsort(-counts[often], kind="stable")
    return [int(p) for p in values[often][by_coverage][:CANDIDATES]]


def _stretches(order: Order, period: int) -> Iterator[tuple[int, int]]:
    """From where to where equations repeat, for at least the fewest iterations."""
    least = fewest(period)
    if len(order) < least * period:
        return
    same = np.concatenate([[False], order.repeats(period), [False]])
    edges = np.flatnonzero(same[1:] != same[:-1])
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= (least - 1) * period:
            yield int(start), int(stop) + period


def _begins(order: Order, start: int, stop: int, period: int) -> list[int]:
    """Where iterations may begin, so that the fewest numbers go on from one to the next."""
    crossing = np.zeros(period)
    end = stop - (stop - start) % period
    consumers = np.arange(end - period, end)
    reach: dict[int, int] = {}
    for distances in order.distances[:, consumers]:
        for i in np.flatnonzero((distances > 0) & (consumers - distances >= start)):
            producer = int(consumers[i] - distances[i] - start) % period
            reach[producer] = max(reach.get(producer, 0), int(distances[i]))
    for producer, distance in reach.items():
        size = order.equations[start + producer].size
        crossing += size * (distance // period)
        crossing[(producer + 1 + np.arange(distance % period)) % period] += size
    return [start + int(i) for i in np.flatnonzero(crossing == crossing.min())]
