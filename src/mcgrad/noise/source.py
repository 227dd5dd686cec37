"""The attribute of a noise Var: its generator, law and stream, which methods set and every backend reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

PHILOX = "philox"


@dataclass(frozen=True, slots=True, repr=False)
class NoiseSource:
    """A stream of words, and the law that makes numbers of them.

    Parameters
    ----------
    stream : int
        Which of the generator's streams, 0 .. 2**32 - 1.
    law : {"normal", "uniform"}
        Standard normal, or uniform on (0, 1).
    generator : str
        What makes the words of the stream.
    """

    stream: int
    law: str
    generator: str = PHILOX

    def offset(self, streams: int) -> NoiseSource:
        """Return the source that many streams further."""
        return replace(self, stream=self.stream + streams)

    def __repr__(self) -> str:
        """As a Program prints it: the generator only where it is not Philox."""
        fields = (self.stream, self.law) if self.generator == PHILOX else (self.stream, self.law, self.generator)
        return repr(fields)
