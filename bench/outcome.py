"""What a battery of tests found."""

from dataclasses import dataclass

FAILURE = 1e-6  # a two-sided p-value below it is called a failure


class Missing(Exception):  # noqa: N818
    """A program that is not there, cannot be built or does not do what it should."""


@dataclass(frozen=True)
class Outcome:
    """What a battery found.

    Parameters
    ----------
    tests : int
        How many p-values it looked at.
    worst : str
        The least of them, or what the program itself calls its worst.
    passed : bool
    p_values : tuple of float
        Two-sided, where they are known.
    """

    tests: int
    worst: str
    passed: bool
    p_values: tuple = ()

    @property
    def failures(self):
        """How many p-values are failures, where they are known."""
        return sum(p < FAILURE for p in self.p_values)


def least(found):
    """Outcome of two-sided p-values by name: the least of them, and whether it is a failure."""
    name = min(found, key=found.get)
    rounded = tuple(float(f"{p:.4g}") for p in found.values())
    return Outcome(len(found), f"{found[name]:.1e} {name}", found[name] > FAILURE, rounded)
