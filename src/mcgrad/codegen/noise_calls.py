"""Calls that make noise in emitted code: functions that fill a row on a CPU; words, and numbers of these, on a GPU.

Names are made of the generator's and the law's: `normal_row32` and `words` are Philox's, those of another generator
begin with its own name. Four words of 32 bits serve a group of draws, 4 in float32 and 2 in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mcgrad.noise.generators import GENERATORS
from mcgrad.noise.source import PHILOX, NoiseSource

# How a law makes the numbers {0}, {1}, ... of a group of draws of its words {w}, {x}, {y}, {z} on a GPU.
LAWS = {
    ("uniform", 4): ["{0} = uniform({w})", "{1} = uniform({x})", "{2} = uniform({y})", "{3} = uniform({z})"],
    ("uniform", 2): ["{0} = uniform({w}, {x})", "{1} = uniform({y}, {z})"],
    ("box_muller", 4): ["{0}, {1} = normal_pair({w}, {x})", "{2}, {3} = normal_pair({y}, {z})"],
    ("box_muller", 2): ["{0}, {1} = normal_pair({w}, {x}, {y}, {z})"],
}


def filler(source: NoiseSource, dtype: str, lanes: str = "") -> str:
    """Name the function of `kernels/noise_fill.py` that fills a row of lanes.

    Parameters
    ----------
    source : NoiseSource
    dtype : str
    lanes : {"", "batch", "pair", "seeds"}
        What they carry: draws; or rows of a batch with a group of draws each, two of the four draws of a group (float32
        only), or a group and a seed each.
    """
    return f"{_prefix(source)}{source.law}{f'_{lanes}' if lanes else ''}_row{dtype[-2:]}"


def imports(sources: Iterable[NoiseSource], dtype: str) -> list[str]:
    """Write the lines that import the generators."""
    names = {source.generator: _kernel(source, dtype) for source in sources}
    return [f"from mcgrad.kernels.{generator} import {names[generator]}" for generator in sorted(names)]


def subroutines(sources: Iterable[NoiseSource], dtype: str) -> list[str]:
    """Write the lines that make device functions of the generators."""
    names = {f"{_prefix(source)}words": _kernel(source, dtype) for source in sources}
    return [f"{words} = subroutine({names[words]}, types.UniTuple(types.uint32, 4))" for words in sorted(names)]


def words(source: NoiseSource, component: str) -> str:
    """Call for the four words of the thread's group of draws."""
    return f"{_prefix(source)}words(uint32({component}), high, uint32({source.stream}), low, key0, key1)"


def from_words(source: NoiseSource, words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Write the lines that turn the four words, by their names, into the noise of a group of draws, one name a draw."""
    law = GENERATORS[source.generator].laws[source.law]
    given = dict(zip("wxyz", words, strict=True))
    return [line.format(*names, **given) for line in LAWS[law.name, len(names)]]


def _kernel(source: NoiseSource, dtype: str) -> str:
    return GENERATORS[source.generator].kernel.format(bits=dtype[-2:])


def _prefix(source: NoiseSource) -> str:
    return "" if source.generator == PHILOX else f"{source.generator}_"
