"""The attribute of a noise Var: its generator, law and stream, which methods set and every backend reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

PHILOX, SOBOL, SOBOL_OWEN = "philox", "sobol", "sobol_owen"


@dataclass(frozen=True, slots=True, repr=False)
class NoiseSource:
    """A stream of words or coordinates of points, and the law that makes numbers of them.

    Parameters
    ----------
    stream : int
        Which of the generator's streams, 0 .. 2**32 - 1.
    law : {"normal", "uniform"}
        Standard normal, or uniform on (0, 1).
    generator : str
        What makes the words of the stream, or the points.
    coordinate : int
        Of points: the coordinate of the source's first number, the next ones of which are those of its other numbers.
    """

    stream: int
    law: str
    generator: str = PHILOX
    coordinate: int = 0

    def offset(self, streams: int) -> NoiseSource:
        """Return the source that many streams further."""
        return replace(self, stream=self.stream + streams)

    def __repr__(self) -> str:
        """As a Program prints it: the generator only where it is not Philox, the coordinate where it is not 0."""
        return repr(self.written())

    def written(self) -> tuple[int | str, ...]:
        """Return the fields but for the last ones that have their default values: those that are printed."""
        fields = (self.stream, self.law, self.generator, self.coordinate)
        return fields if self.coordinate else fields[:3] if self.generator != PHILOX else fields[:2]
