"""Calls that make noise in emitted code: functions that fill a row on a CPU; words, and numbers of these, on a GPU.

Names are made of the generator's and the law's: `normal_row32` and `words` are Philox's, those of another generator
begin with its own name. Four words of 32 bits serve a group of draws, 4 in float32 and 2 in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mcgrad.noise.generators import POINT_SETS, named
from mcgrad.noise.source import PHILOX, NoiseSource

BOTH = [
    f"(uint64({{{high}}}) << uint64(32)) | uint64({{{low}}})" for low, high in ("wx", "yz")
]  # an integer of 64 bits
# How a law makes the numbers {0}, {1}, ... of a group of draws of its words {w}, {x}, {y}, {z} on a GPU.
LAWS = {
    ("uniform", 4): ["{0} = uniform({w})", "{1} = uniform({x})", "{2} = uniform({y})", "{3} = uniform({z})"],
    ("uniform", 2): ["{0} = uniform({w}, {x})", "{1} = uniform({y}, {z})"],
    ("box_muller", 4): ["{0}, {1} = normal_pair({w}, {x})", "{2}, {3} = normal_pair({y}, {z})"],
    ("box_muller", 2): ["{0}, {1} = normal_pair({w}, {x}, {y}, {z})"],
    ("inverse_uniform", 4): [f"{{{k}}} = inverse_uniform({{{word}}})" for k, word in enumerate("wxyz")],
    ("inverse_uniform", 2): [f"{{{k}}} = inverse_uniform({both})" for k, both in enumerate(BOTH)],
    ("inverse_normal", 4): [f"{{{k}}} = inverse_normal({{{word}}})" for k, word in enumerate("wxyz")],
    ("inverse_normal", 2): [f"{{{k}}} = inverse_normal({both})" for k, both in enumerate(BOTH)],
}
POINTS = "cuda_points"  # of `kernels/`, with the point sets for GPUs


def filler(source: NoiseSource, dtype: str, lanes: str = "") -> str:
    """Name the function of `kernels/noise_fill.py` that fills a row of lanes, or rows if these carry rows of a batch.

    Parameters
    ----------
    source : NoiseSource
    dtype : str
    lanes : {"", "batch", "pair", "seeds"}
        What they carry: draws; or rows of a batch with a group of draws each, two of the four draws of a group (float32
        only), or a group and a seed each.
    """
    return f"{_prefix(source)}{source.law}{f'_{lanes}_rows' if lanes else '_row'}{dtype[-2:]}"


def fillers(sources: Iterable[NoiseSource], dtype: str) -> dict[str, list[str]]:
    """Name the functions that fill rows of lanes that carry draws, by their file of `kernels/`."""
    found: dict[str, set[str]] = {"noise_fill": set(), "point_fill": set()}
    for source in sources:
        found["point_fill" if source.generator in POINT_SETS else "noise_fill"].add(filler(source, dtype))
    return {module: sorted(names) for module, names in found.items()}


def imports(sources: Iterable[NoiseSource], dtype: str) -> list[str]:
    """Write the lines that import the generators."""
    names = {(POINTS if s.generator in POINT_SETS else s.generator, _kernel(s, dtype)) for s in sources}
    return [f"from mcgrad.kernels.{module} import {name}" for module, name in sorted(names)]


def subroutines(sources: Iterable[NoiseSource], dtype: str) -> list[str]:
    """Write the lines that make device functions of the generators."""
    names = {f"{_prefix(source)}words": _kernel(source, dtype) for source in sources}
    return [f"{words} = subroutine({names[words]}, types.UniTuple(types.uint32, 4))" for words in sorted(names)]


def laws_of_points(sources: Iterable[NoiseSource], dtype: str) -> list[str]:
    """Write the lines that make device functions of the laws of point sets, where there are any."""
    if not any(source.generator in POINT_SETS for source in sources):
        return []
    bits = dtype[-2:]
    return [
        "from mcgrad.kernels import point_laws",
        f"inverse_uniform = subroutine(point_laws.inverse_uniform{bits}, real_type)",
        f"inverse_normal = subroutine(point_laws.inverse_normal{bits}, real_type)",
    ]


def words(source: NoiseSource, component: str) -> str:
    """Call for the four words of the thread's group of draws."""
    component = f"{component} + {source.coordinate}" if source.coordinate else component
    return f"{_prefix(source)}words(uint32({component}), high, uint32({source.stream}), low, key0, key1)"


def from_words(source: NoiseSource, words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Write the lines that turn the four words, by their names, into the noise of a group of draws, one name a draw."""
    law = named(source.generator).laws[source.law]
    given = dict(zip("wxyz", words, strict=True))
    return [line.format(*names, **given) for line in LAWS[law.name, len(names)]]


def _kernel(source: NoiseSource, dtype: str) -> str:
    return named(source.generator).kernel.format(bits=dtype[-2:])


def _prefix(source: NoiseSource) -> str:
    return "" if source.generator == PHILOX else f"{source.generator}_"
