"""Rows of ranges.py: families along a number x, and an f that scales with x; those of loc and scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

import mcgrad as mg
from mcgrad import tree

mp.mp.dps = 45


@dataclass(frozen=True, eq=False)
class Row:
    """A family along one number.

    Parameters
    ----------
    family, swept : str
        What x is, in words.
    q : callable
        ``q(x)``: the distribution.
    f : callable
        ``f(z, **data)``.
    data : callable
        ``data(x)``: what makes f scale with the parameters.
    moment, entropy : callable
        ``moment(params, data)`` is E f and ``entropy(params)`` that of q, of numbers
        of mpmath. Without an entropy `stl` is left out.
    ends : tuple
        The points, of float32 and of float64.
    discrete : bool
    anew : bool
        Whether estimators are made for each x, as something follows x that is no parameter.
    """

    family: str
    swept: str
    q: Callable[..., mg.Distribution]
    f: Callable[..., Any]
    data: Callable[..., dict[str, float]]
    moment: Callable[..., Any]
    entropy: Callable[..., Any] | None
    ends: tuple[Any, Any]
    discrete: bool = False
    anew: bool = False

    def points(self, dtype: str) -> Any:
        return self.ends[dtype == "float64"]

    @property
    def paths(self) -> tuple[str, ...]:
        """Parameters to differentiate in."""
        points = self.points("float32")
        return tuple(self.q(points[len(points) // 2]).flat_params)

    def at(self, x: float, dtype: str) -> Any:
        """Return q and the data, of numbers that the dtype has."""
        q, data = self.q(x), self.data(x)
        held = tree.unflatten({path: np.asarray(y, dtype).astype(float) for path, y in q.flat_params.items()})
        return q.with_params(**held), {name: np.asarray(y, dtype).astype(float) for name, y in data.items()}


ROWS: list[Row] = []


def add(*row: Any, **more: Any) -> None:
    """List a row."""
    ROWS.append(Row(*row, **more))


def decades(low: int, high: int, step: int = 1) -> list[float]:
    """Powers of ten."""
    return [float(f"1e{k}") for k in range(low, high + 1, step)]


SCALES = (decades(-30, 30, 5), decades(-150, 150, 25))
SHAPES = (decades(-6, 6), decades(-6, 6))
RATIOS = (decades(0, 7), decades(0, 12))


def wave(z, *, c, s):
    """Bounded, and with a slope and a curvature at c."""
    return np.sin((z - c) / s + 1.0)


def decay(z, *, c):
    return np.exp(-z / c)


# --- a location and a scale: E sin((z - c)/s + 1) is the characteristic function at scale/s ------------------


def located(family, f, expectation, entropy):
    """Rows of a family of loc and scale."""
    q = getattr(mg, family)

    def moment(p, d):
        return expectation((p["loc"] - d["c"]) / d["s"], p["scale"] / d["s"])

    def whole(p):
        return mp.log(p["scale"]) + entropy

    add(family, "scale = loc", lambda x: q(x, x), f, lambda x: {"c": x, "s": x}, moment, whole, SCALES)
    add(family, "loc / scale", lambda x: q(x, 1.0), f, lambda x: {"c": x, "s": 1.0}, moment, whole, RATIOS)


def waving(cf):
    """E wave(z) of a characteristic function."""
    return lambda loc, scale: mp.im(mp.expj(loc + 1) * cf(scale))


def bump(z, *, c, s):
    """Of which the pathwise gradient has a variance where z has none."""
    return 1 / (1 + ((z - c) / s - 1) ** 2)


NORMAL_ENTROPY = mp.log(2 * mp.pi * mp.e) / 2
located("Normal", wave, waving(lambda t: mp.exp(-t * t / 2)), NORMAL_ENTROPY)
located("Laplace", wave, waving(lambda t: 1 / (1 + t * t)), 1 + mp.log(2))
located("Logistic", wave, waving(lambda t: mp.pi * t / mp.sinh(mp.pi * t)), mp.mpf(2))
located("Gumbel", wave, waving(lambda t: mp.gamma(1 - 1j * t)), 1 + mp.euler)
located("Cauchy", bump, lambda loc, scale: (1 + scale) / ((loc - 1) ** 2 + (1 + scale) ** 2), mp.log(4 * mp.pi))


def student_cf(t, df):
    y = mp.sqrt(df) * t
    return mp.besselk(df / 2, y) * y ** (df / 2) / mp.gamma(df / 2) / 2 ** (df / 2 - 1)


def student_entropy(p):
    a, b = p["df"] / 2, (p["df"] + 1) / 2
    return b * (mp.psi(0, b) - mp.psi(0, a)) + mp.log(p["df"]) / 2 + mp.log(mp.beta(a, 0.5)) + mp.log(p["scale"])


def student_moment(p, d):
    return mp.sin((p["loc"] - d["c"]) / d["s"] + 1) * student_cf(p["scale"] / d["s"], p["df"])


def student(df, loc, scale):
    return mg.StudentT(df, loc, scale)


unit = lambda x: {"c": 1.0, "s": 1.0}  # noqa: E731
add(
    "StudentT",
    "df",
    lambda x: student(x, 1.0, 1.0),
    wave,
    unit,
    student_moment,
    student_entropy,
    (decades(-3, 5), decades(-3, 5)),
)
add(
    "StudentT",
    "scale = loc",
    lambda x: student(4.0, x, x),
    wave,
    lambda x: {"c": x, "s": x},
    student_moment,
    student_entropy,
    SCALES,
)


def uniform_moment(p, d):
    low, high = ((p[k] - d["c"]) / d["s"] + 1 for k in ("low", "high"))
    return (mp.cos(low) - mp.cos(high)) / (high - low)


def uniform_entropy(p):
    return mp.log(p["high"] - p["low"])


def triangular_moment(p, d):
    a, b, m = ((p[k] - d["c"]) / d["s"] + 1 for k in ("low", "high", "peak"))
    ends = mp.sin(a) / (m - a) + mp.sin(b) / (b - m) - mp.sin(m) * (1 / (m - a) + 1 / (b - m))
    return -2 / (b - a) * ends


def triangular_entropy(p):
    return 0.5 + mp.log((p["high"] - p["low"]) / 2)


for swept, width, points in (("width = low", 1, SCALES), ("low / width", 0, RATIOS)):
    size = lambda x, width=width: x if width else 1.0  # noqa: E731
    data = lambda x, size=size: {"c": x, "s": size(x)}  # noqa: E731
    add(
        "Uniform",
        swept,
        lambda x, size=size: mg.Uniform(x, x + size(x)),
        wave,
        data,
        uniform_moment,
        uniform_entropy,
        points,
    )
    add(
        "Triangular",
        swept,
        lambda x, size=size: mg.Triangular(x, x + size(x), x + 0.25 * size(x)),
        wave,
        data,
        triangular_moment,
        triangular_entropy,
        points,
    )
