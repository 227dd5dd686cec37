"""The angle between a von Mises-Fisher direction and its mean: tables of its quantiles, made once for a concentration.

In d dimensions the angle theta in (0, pi) has the density

    q(theta) = sin(theta)**m exp(-kappa v(theta)) / N,    m = d - 2,    v(theta) = 1 - cos(theta) = 2 sin(theta/2)**2

(Mardia and Jupp, *Directional Statistics*, 2000, section 9.3.2). A draw is the quantile of one normal: continuous in
kappa, without rejection. Its pathwise derivative is implicit (Figurnov et al. 2018, equation 6):

    d theta / d kappa = -(1 / q(theta)) * integral from 0 to theta of (E v - v(t)) q(t) dt

Both are smooth functions of the normal. The host integrates q by Gauss and Legendre's rule over narrow panels, solves
for the quantiles by a bounded number of safeguarded Newton steps, and fits polynomials piece by piece; what is left for
each draw is to choose the piece and to evaluate two polynomials. All integrands are positive, each tail is integrated
from its own end, and angles near pi are kept as pi - theta: nothing cancels, for any kappa from 0 to 1e12 or so.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, pi, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial.chebyshev import cheb2poly, chebvander
from numpy.polynomial.legendre import leggauss

from mcgrad.functions.implicit_derivative import implicit, look_up, stop
from mcgrad.ir.lookup import Table

Array = npt.NDArray[np.float64]

LARGEST = 8.75  # normals are at most 8.67 (docs/draws.md)
DEPTH = 80.0  # the density is integrated where its logarithm is at most so far below its largest
PANELS = 48
POINTS, WEIGHTS = leggauss(16)
BISECTIONS, STEPS = 64, 12
GRID = 257  # points at which the length of the pieces is chosen
PIECES = 32  # of a table
TERMS = 14  # of each polynomial
NODES = np.cos(np.pi * (np.arange(TERMS) + 0.5) / TERMS)
TO_POWERS = np.stack([np.pad(cheb2poly(np.eye(TERMS)[i]), (0, TERMS))[:TERMS] for i in range(TERMS)], axis=1)
FIT = TO_POWERS @ np.linalg.inv(chebvander(NODES, TERMS - 1))  # from values at the nodes to coefficients of powers


class Angle:
    """The distribution of the angle for one concentration.

    An angle is a pair (r, far): theta = r, or theta = pi - r where far.

    Parameters
    ----------
    kappa : float
        Concentration, >= 0.
    m : int
        Dimension of the sphere's space less 2.

    Attributes
    ----------
    log_mass : float
        log N.
    mean, variance : float
        Of v.
    """

    def __init__(self, kappa: float, m: int) -> None:
        self.kappa, self.m = kappa, m
        low, high, is_far = self._ends()
        near = np.linspace(low, pi / 2 if is_far else high, PANELS + 1)
        far = np.linspace(pi / 2, high, PANELS + 1) if is_far else np.empty(0)
        self._from, self._to = np.concatenate([near[:-1], far[:-1]]), np.concatenate([near[1:], far[1:]])
        self._far = np.arange(len(self._from)) >= PANELS
        mass, first, _ = self._integrals(self._from, self._to, self._far, 0.0)
        self._mass, total = mass, mass.sum()
        self.mean = float(first.sum() / total)
        _, excess, second = self._integrals(self._from, self._to, self._far, self.mean)
        self.variance = float(second.sum() / total)
        self.log_mass = log(total) + self._top
        self.total = total
        self._below, self._above = _running(mass), _running(mass[::-1])[::-1]
        self._less, self._more = _running(-excess), _running(excess[::-1])[::-1]

    def _log_density(self, r: Any, far: Any) -> Any:
        """Logarithm of q, up to a constant."""
        sines = self.m * np.log(np.sin(r)) if self.m else 0.0
        return sines - self.kappa * _v(r, far)

    def density(self, r: Any, far: Any) -> Any:
        """Return q N / q(mode)."""
        return np.exp(self._log_density(r, far) - self._top)

    def _ends(self) -> tuple[float, float, bool]:
        """Where to start integrating, on the near side, and where to stop: r, and whether it is on the far side."""
        kappa, m = self.kappa, self.m
        if m == 0:
            self._top = 0.0
            sine = sqrt(min(DEPTH / (2 * kappa), 1.0)) if kappa else 1.0
            return (0.0, 0.0, True) if sine == 1.0 else (0.0, *_angle(2 * np.arcsin(sine)))
        cosine = 2 * kappa / (m + sqrt(m * m + 4 * kappa * kappa))  # m cos = kappa sin**2
        mode = float(np.arcsin(sqrt(m * cosine / kappa)) if cosine > 0.5 else np.arccos(cosine))
        self._top = float(self._log_density(mode, False))
        low = self._descend(1e-300, mode, False)
        opposite = self._descend(1e-300, pi / 2, True)
        if opposite < pi / 2:
            return low, opposite, True
        return low, self._descend(pi / 2, mode, False), False

    def _descend(self, outside: float, inside: float, far: bool) -> float:
        """Return where the density is DEPTH below its largest, between two places; `inside` if it is so already."""
        if self._log_density(inside, far) - self._top < -DEPTH:
            return inside
        for _ in range(BISECTIONS):
            apart = min(outside, inside) < 0.1 * max(outside, inside)
            middle = sqrt(outside * inside) if apart else 0.5 * (outside + inside)
            if self._log_density(middle, far) - self._top > -DEPTH:
                inside = middle
            else:
                outside = middle
        return outside

    def _integrals(self, start: Array, stop: Array, far: Any, about: float) -> tuple[Array, Array, Array]:
        """Integrals of q, q (v - about) and q (v - about)**2 between angles on one side."""
        half = 0.5 * (stop - start)
        r = 0.5 * (start + stop)[..., None] + half[..., None] * POINTS
        excess = _v(r, far[..., None]) - about
        q = np.abs(half)[..., None] * WEIGHTS * self.density(r, far[..., None])
        return q.sum(-1), (q * excess).sum(-1), (q * excess * excess).sum(-1)

    def quantiles(self, below: Array, above: Array) -> tuple[Array, Array, Array]:
        """Solve P(theta < .) = below = 1 - above.

        Returns
        -------
        r, far : arrays
            The angles.
        rate : array
            -d theta / d kappa.
        """
        from_low = below < above
        goal = np.where(from_low, below, above) * self.total
        panel = np.where(
            from_low,
            np.searchsorted(self._below, goal, side="right") - 1,
            len(self._mass) - np.searchsorted(self._above[::-1], goal, side="right"),
        )
        panel = np.clip(panel, 0, len(self._mass) - 1)
        far, first, last = self._far[panel], self._from[panel], self._to[panel]
        outer, inner = np.where(from_low, first, last), np.where(from_low, last, first)
        base = np.where(from_low, self._below[panel], self._above[panel + 1])
        share = np.clip((goal - base) / self._mass[panel], 1e-300, 1.0)
        power = np.where(base == 0.0, 1.0 / (self.m + 1), 1.0)
        r = outer + (inner - outer) * share**power
        small, large = outer, inner  # where the tail is smaller and larger than the goal
        away = np.sign(inner - outer)
        for _ in range(STEPS):
            tail = base + self._integrals(outer, r, far, 0.0)[0]
            small, large = np.where(tail < goal, r, small), np.where(tail < goal, large, r)
            step = np.log(tail / goal) * tail / (r * self.density(r, far)) * away  # Newton: log tail of log r
            new = r * np.exp(-step)
            inside = (np.minimum(small, large) <= new) & (new <= np.maximum(small, large))
            r = np.where(inside, new, 0.5 * (small + large))
            if (np.abs(step) < 1e-8).all():
                break
        part = self._integrals(outer, r, far, self.mean)[1]
        rate = np.where(from_low, self._less[panel] - part, self._more[panel + 1] + part)
        return r, far, rate / self.density(r, far)


def _angle(theta: float) -> tuple[float, bool]:
    return (theta, False) if theta < pi / 2 else (pi - theta, True)


def _v(r: Any, far: Any) -> Any:
    s = np.where(far, np.cos(0.5 * r), np.sin(0.5 * r))
    return 2.0 * s * s


def _running(x: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(x)])


# --- tables ----------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=1024)
def angle_quantiles(kappa: float, m: int) -> Array:
    """Polynomials of a normal n, one row a piece: its ends, its middle, 1 / half its length, then two polynomials.

    They are of y = (n - middle) / half and give theta (if m = 0 divided by n, of which it is an odd function: n >= 0 is
    enough) and -(d theta / d kappa) / sin(theta).
    """
    with np.errstate(all="ignore"):
        angle = Angle(kappa, m)
        edges = _edges(angle, m)
        middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
        n = (middle[:, None] + half[:, None] * NODES).ravel()
        r, far, rate = angle.quantiles(*_probabilities(n, m))
        theta = np.where(far, pi - r, r)
        values = np.stack([theta / n if m == 0 else theta, rate / np.sin(r)]).reshape(2, -1, TERMS) @ FIT.T
    return np.column_stack([edges[:-1], edges[1:], middle, 1.0 / half, values[0], values[1]])


def _probabilities(n: Array, m: int) -> tuple[Array, Array]:
    """P(theta <) and P(theta >) at the quantile that belongs to a normal; for m = 0, to its size."""
    import scipy.special

    if m == 0:
        return scipy.special.erf(n / sqrt(2)), scipy.special.erfc(n / sqrt(2))
    return scipy.special.ndtr(n), scipy.special.ndtr(-n)


def _edges(angle: Angle, m: int) -> Array:
    """Cut the range of n into pieces, fine where theta turns from the density's bulk into the flat region about pi."""
    n = np.linspace(0.0 if m == 0 else -LARGEST, LARGEST, GRID)
    inner = n[1:] if m == 0 else n
    r, far, _ = angle.quantiles(*_probabilities(inner, m))
    opposite = np.where(far, r, pi - r)
    normal = np.exp(-0.5 * inner * inner) / sqrt(2 * pi) * (2 if m == 0 else 1)
    slope = normal * angle.total / (angle.density(r, far) * opposite)  # of -log(pi - theta)
    fineness = 1.0 + np.sqrt(np.abs(np.gradient(slope, inner)))
    fineness = np.convolve(np.pad(fineness, 8, mode="edge"), np.full(17, 1 / 17), mode="valid")
    total = _running(0.5 * (fineness[1:] + fineness[:-1]))
    edges = np.interp(np.linspace(0.0, total[-1], PIECES + 1), total, inner)
    edges[0], edges[-1] = n[0], n[-1]
    return edges


def log_mass(kappa: float, m: int) -> float:
    """Return log N: the logarithm of the integral of sin(t)**m exp(-kappa v(t)) over 0 .. pi."""
    return _angle_of(kappa, m).log_mass


def less_mean(kappa: float, m: int) -> float:
    """-E v, the derivative of log N."""
    return -_angle_of(kappa, m).mean


def variance(kappa: float, m: int) -> float:
    """Variance of v, the derivative of -E v."""
    return _angle_of(kappa, m).variance


@lru_cache(maxsize=1024)
def _angle_of(kappa: float, m: int) -> Angle:
    with np.errstate(all="ignore"):
        return Angle(kappa, m)


@lru_cache(maxsize=64)
def tables(m: int) -> tuple[Table, Table, Table]:
    """Return the tables of quantiles, of log N and of -E v in m + 2 dimensions."""
    slope = Table(less_mean, (m,), derivative=Table(variance, (m,)))
    quantiles = Table(angle_quantiles, (m,), (PIECES, 4 + 2 * TERMS))
    return quantiles, Table(log_mass, (m,), derivative=slope), slope


# --- for transforms --------------------------------------------------------------------------------------------------
def angle(n: Any, concentration: Any, m: int) -> Any:
    """Return the quantile of theta that belongs to a standard normal, differentiable in the concentration.

    Parameters
    ----------
    n : array
        Normals; beyond +-8.75 the quantile stays where it is.
    concentration : array
        Of a shape that broadcasts with n; no draw may change it.
    m : int
        Dimension less 2. If 0, theta has the sign of n.
    """
    rows = look_up(tables(m)[0], concentration)
    size = np.clip(np.abs(n) if m == 0 else n, 0.0 if m == 0 else -LARGEST, 0.9999 * LARGEST)[..., None]
    hit = np.where((rows[..., 0] <= size) & (size < rows[..., 1]), np.ones_like(rows[..., 0]), 0.0)
    row = hit @ rows[..., 2:] if np.ndim(concentration) == 0 else (hit[..., None, :] @ rows[..., 2:])[..., 0, :]
    y = (size - row[..., 0:1]) * row[..., 1:2]
    both = np.reshape(row[..., 2:], (*np.shape(row)[:-1], 2, TERMS))
    value = both[..., TERMS - 1]
    for k in reversed(range(TERMS - 1)):
        value = value * y + both[..., k]
    theta = n * value[..., 0] if m == 0 else value[..., 0]
    rate = stop(np.sin(theta) * value[..., 1])
    return implicit(stop(theta), concentration * rate, 1.0)
