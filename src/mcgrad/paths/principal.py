"""Principal components of a Brownian motion: the eigenvectors of its covariance, the largest eigenvalues first.

The covariance of the path at all times, of all assets, is the Kronecker product of min(s, t) and the covariance C of
the assets at time 1. So its eigenvalues are the products of theirs, and its eigenvectors the Kronecker products
(Acworth, Broadie and Glasserman, *A comparison of some Monte Carlo and quasi Monte Carlo techniques for option
pricing*, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

EQUAL = 1e-9  # relative difference below which eigenvalues, or sizes of components, are equal
DIGITS = 9  # of products of eigenvalues that are put in order

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Principal components of a motion at fixed times.

    Parameters
    ----------
    places : int array, shape (steps, assets)
        Which coordinate belongs to which eigenvector in time, and in assets.
    in_time : array, shape (steps, steps)
        Eigenvectors of min(s, t) as columns, times the roots of the eigenvalues.
    in_assets : array, shape (assets, assets)
        The same of C.
    """

    places: npt.NDArray[np.intp]
    in_time: Floats
    in_assets: Floats

    def path(self, eps: Any) -> Any:
        """Return the path at all times: eps has shape (steps,), or (steps, assets)."""
        in_time, in_assets = (each.astype(eps.dtype) for each in (self.in_time, self.in_assets))
        if eps.ndim == 1:
            return in_time @ eps
        return in_time @ eps.reshape(-1)[self.places] @ in_assets.T


@lru_cache(maxsize=8)
def components(times: tuple[float, ...], covariance: tuple[tuple[float, ...], ...] = ((1.0,),)) -> Components:
    """Return the principal components; `covariance` is positive semidefinite.

    Notes
    -----
    They do not depend on the machine: the component of an eigenvector that is the largest in size is positive, the
    first where several are; where several eigenvalues are equal, the eigenvectors are the columns of the projector on
    their space, in order, each orthogonal to those before. Where products of eigenvalues are equal, the earlier
    component in time comes first.
    """
    t = np.asarray(times)
    of_time, in_time = eigenvectors(np.minimum.outer(t, t))
    of_assets, in_assets = eigenvectors(np.asarray(covariance))
    sizes = np.outer(of_time, of_assets)
    keys = np.array([float(f"{size:.{DIGITS - 1}e}") for size in sizes.ravel() / max(sizes.max(), 1e-300)])
    places = np.empty(sizes.size, np.intp)
    places[np.argsort(-keys, kind="stable")] = np.arange(sizes.size)
    return Components(places.reshape(sizes.shape), in_time * np.sqrt(of_time), in_assets * np.sqrt(of_assets))


def eigenvectors(matrix: Floats) -> tuple[Floats, Floats]:
    """Return eigenvalues, the largest first, none below zero, and eigenvectors as columns, in one form."""
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].copy()
    start = 0
    while start < len(values):
        stop = start + 1
        while stop < len(values) and values[start] - values[stop] <= EQUAL * values[0]:
            stop += 1
        vectors[:, start:stop] = _one_form(vectors[:, start:stop])
        start = stop
    return values, vectors


def _one_form(basis: Floats) -> Floats:
    """Return the basis of a space that follows from the space alone."""
    if basis.shape[1] == 1:
        size = np.abs(basis[:, 0])
        largest = int(np.argmax(size > (1 - EQUAL) * size.max()))
        return basis if basis[largest, 0] > 0 else -basis
    left, found = basis @ basis.T, np.empty_like(basis)  # the projector on what is left of the space
    for column in range(basis.shape[1]):
        norms = np.sqrt(np.maximum(np.diag(left), 0.0))
        chosen = int(np.argmax(norms > 0.5 * norms.max()))
        found[:, column] = left[:, chosen] / norms[chosen]
        left = left - np.outer(found[:, column], found[:, column])
    return found
