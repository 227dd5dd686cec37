"""The merge order: a tree that the chunks fix, whoever works out its parts, in memory that does not grow with them."""

import itertools
import tracemalloc
from functools import reduce
from itertools import pairwise, takewhile

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mcgrad.backends.base import Partial
from mcgrad.backends.chunks import RADIX, Chunks, Cut, split
from mcgrad.moments import Moments
from mcgrad.reals import MOST_DRAWS
from mcgrad.tasks.fold import Fold, Piece, fits, pieces, total


class Text:
    """Stands for a partial: how it was merged."""

    def __init__(self, text):
        self.text = text

    def merge(self, later):
        return Text(f"({self.text} {later.text})")


def average(chunk):
    return Text(str(chunk[1]))


def folded(chunks, start=None, stop=None, parts=()):
    fold = Fold(chunks, parts)
    listed = list(chunks if start is None else takewhile(lambda chunk: chunk[0] < stop, chunks.after(start)))
    for chunk in listed:
        fold.add(Piece(chunk[1], 0, average(chunk)))
    return fold


def left_fold(parts):
    return reduce(lambda a, b: a.merge(b), parts)


def span(chunks, listed, level):
    """By the definition: the partial of the span of a level with these chunks."""
    if not level:
        (chunk,) = listed
        return average(chunk)
    return left_fold(parts_of(chunks, listed, level - 1))


def parts_of(chunks, listed, level):
    """The partials of spans of a level, in order; the chunks are of whole ones."""
    if not level:
        return [average(chunk) for chunk in listed]
    width, base = chunks.step * RADIX**level, chunks.first // chunks.step * chunks.step
    groups = itertools.groupby(listed, lambda chunk: (chunk[0] - base) // width)
    return [span(chunks, list(group), level) for _, group in groups]


def by_definition(chunks):
    """The total: what is merged of open spans, from the highest level to the lowest."""
    base, left, found = chunks.first // chunks.step * chunks.step, list(chunks), []
    for level in range(4, 0, -1):
        width = chunks.step * RADIX**level
        whole = (chunks.stop - base) // width * width + base
        inside = [chunk for chunk in left if chunk[1] <= whole]
        if inside:
            found.append(left_fold(parts_of(chunks, inside, level)))
        left = left[len(inside) :]
    if left:
        found.append(left_fold(parts_of(chunks, left, 0)))
    return left_fold(found).text


FIRSTS = st.integers(0, 10**5) | st.integers(0, MOST_DRAWS - 10**9)


@st.composite
def cuts(draw, longest=5000):
    """Chunks of a run."""
    block = draw(st.sampled_from([1, 2, 7, 512]))
    step = block * draw(st.sampled_from([1, 2, 9]))
    first, count = draw(FIRSTS), draw(st.integers(2, longest) | st.sampled_from([64, 65, 4096, 4097, 4160]))
    most = draw(st.none() | st.integers(1, 3).map(lambda k: k * block))
    work = draw(st.booleans())
    cut = Cut(most=float(step), least=float(step), chunks=1)
    return split(max(count * step - draw(st.integers(0, step)), 2), first, block, 1.0, cut, most, short=work)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(cuts(), st.data())
def test_any_partition_into_pieces_merges_to_the_bits_of_the_definition(chunks, data):
    right = by_definition(chunks)
    assert folded(chunks).total.text == right
    scaled = chunks.scaled(3)
    ends = [stop for _, stop in chunks]
    assert [scaled.level(3 * stop) for stop in ends] == [chunks.level(stop) for stop in ends]
    inner = data.draw(st.lists(st.sampled_from(ends), max_size=6))
    edges = sorted({chunks.first, *inner, chunks.stop})
    fold, made = Fold(chunks), 0
    for start, stop in pairwise(edges):
        for piece in pieces(chunks, start, stop, average):
            fold.add(piece)
            made += 1
        assert fits(chunks, stop, fold.parts)
    assert fold.total.text == right
    longest = 1 if chunks.most is None else -(-chunks.step // chunks.most) + 1
    assert made <= len(edges) * 2 * RADIX * (longest + 3)
    at = data.draw(st.sampled_from(ends))
    parts = folded(chunks, chunks.first, at).parts
    assert fits(chunks, at, parts)
    assert not fits(chunks, at, (*parts, average((0, 1))))
    assert folded(chunks, at, chunks.stop, parts).total.text == right


def test_up_to_64_steps_it_is_the_left_fold_of_the_chunks():
    for n in (512, 3000, 64 * 4096, 66 * 4096):
        chunks = split(n, 77, 512, 1.0, Cut(most=4096.0, least=4096.0))
        assert (folded(chunks).total.text == left_fold(map(average, chunks)).text) == (n < 66 * 4096)


def test_chunks_that_are_listed_are_merged_from_the_left():
    listed = list(split(10**6, 77, 512, 1.0, Cut(most=4096.0, least=4096.0)))
    assert len(listed) > 200
    right = left_fold(map(average, listed)).text
    assert folded(listed).total.text == right
    fold = Fold(listed)
    for start, stop in ((77, listed[99][1]), (listed[100][0], 10**6 + 77)):
        for piece in pieces(listed, start, stop, average):
            fold.add(piece)
    assert fold.total.text == right
    assert fits(listed, listed[99][1], fold.parts)


def test_very_many_chunks_are_neither_listed_nor_gone_through():
    """Pieces of 1e15 draws: those of the longest spans, of which a span of the run takes a few hundred."""
    chunks = split(10**15, 5, 512, 80.0)
    tracemalloc.start()
    near = list(chunks.spans(5, 10**15 + 5))
    ends = [stop for _, stop, _ in near]
    assert near[0][0] == 5
    assert [start for start, _, _ in near[1:]] == ends[:-1]
    assert ends[-1] == 10**15 + 5
    assert len(near) < 2 * RADIX * 6
    assert max(level for *_, level in near) >= 4
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    fold = Fold(chunks)
    for _, stop, level in near:
        fold.add(Piece(stop, level, Partial(Moments(1, np.array([0.5]), np.array([1.0])))))
    assert fold.total.moments.count == len(near)
    assert len(fold.parts) < 8
    assert fits(chunks, 10**15 + 5, fold.parts)


def test_sums_of_many_chunks_are_more_accurate_than_from_the_left():
    chunks, rng = Chunks(0, 4 * 64**2, 1, 1, 1), np.random.default_rng(3)
    means = rng.normal(1e6, 1.0, 4 * 64**2)
    fold = Fold(chunks)
    alone = [Partial(Moments(1, means[i : i + 1], np.zeros(1))) for i in range(4 * 64**2)]
    for i, part in enumerate(alone):
        fold.add(Piece(i + 1, 0, part))
    right = float(np.mean(means.astype(np.longdouble)))
    error, of_left = (abs(found.moments.mean[0] - right) for found in (fold.total, left_fold(alone)))
    assert error <= of_left
    assert fold.total.moments.norm[0] == pytest.approx(np.linalg.norm(means - means.mean()), rel=1e-9)
    assert total(fold.parts).moments.count == 4 * 64**2
