"""The Brownian motions that drive a path: their increments, made of standard normal noise step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError, shown
from mcgrad.paths.constructions import CONSTRUCTIONS, Construction, brownian
from mcgrad.reals import real_array
from mcgrad.sde.grid import Grid
from mcgrad.sde.state import Shape, shape_of, shapes, without_lists
from mcgrad.trace.nested import is_nested, leaves, mapped
from mcgrad.trace.tracer import Tracer

FEW = 4  # motions that are correlated number by number
LARGEST = 1e6  # condition of a factor that is inverted
ROUNDING = 1e-6  # of the numbers in a correlation matrix, which may be float32
SINGULAR = 1e-12  # what is left of a variance of 1 by rounding in float64, where the other motions make a motion
MOST_SINGULAR = 16  # motions whose traced correlations are factored element by element, singular or not
CORRELATION = "a positive semidefinite matrix with ones on its diagonal, or one number for each pair of motions"


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Brownian motions, whose increments a step reads.

    Parameters
    ----------
    noise : array, or arrays nested as the state is, shapes (steps, ...)
        Standard normals, or increments.
    increments : bool
        Which of them.
    factor : array of shape (motions, motions), or None
        L, where L L^T is the covariance of the motions at time 1; None where they are independent.
    triangular : bool
        Whether L is lower triangular.
    """

    noise: Any
    increments: bool
    factor: Any
    triangular: bool = False

    @property
    def shape(self) -> Shape | None:
        """Shape of the increments of one step; None where they are nested as the state is."""
        return None if is_nested(self.noise) else shape_of(self.noise)[1:]

    def of_step(self, noise: Any, root: Any) -> Any:
        """Return the increments of a step, before they are correlated, from its noise and the root of its length."""
        return noise if self.increments else mapped(lambda path, z: root * z, noise)

    def standard(self, noise: Any, root: Any) -> Any:
        """Return the same divided by the root: standard normals."""
        return mapped(lambda path, w: w / root, noise) if self.increments else noise

    def correlated(self, dw: Any) -> Any:
        """Return increments with the covariance of the motions."""
        return dw if self.factor is None else self.factor @ dw

    def has_own(self, x: Any) -> bool:
        """Whether each number of the state has its own motion. Those in one array belong to the numbers in turn."""
        if self.shape is None or (not is_nested(x) and self.shape == shape_of(x)):
            return True
        return len(self.shape) == 1 and sum(map(_size, shapes(x).values())) == self.shape[0]

    def own(self, dw: Any, x: Any) -> Any:
        """Return the increment of each number of the state, nested as the state is."""
        few = self.factor is not None and self.factor.shape[0] <= FEW
        if not few or not self.triangular or any(shapes(x).values()):
            return self.in_turn(self.correlated(dw), x)
        rows = ([self.factor[i, j] * dw[j] for j in range(i + 1)] for i in range(self.factor.shape[0]))
        return self.in_turn([sum(terms[1:], terms[0]) for terms in rows], x)

    def in_turn(self, values: Any, x: Any) -> Any:
        """Return values, one for each motion, nested as the state is, each number of which has its own motion."""
        if self.shape is None or (not is_nested(x) and self.shape == shape_of(x)):
            return values
        first, found = 0, {}
        for path, shape in shapes(x).items():
            found[path] = values[first : first + _size(shape)].reshape(shape) if shape else values[first]
            first += _size(shape)
        return mapped(lambda path, _: found[path], x)

    def variances(self) -> Any:
        """Return the variance of each motion at time 1: one number where all have 1."""
        return 1.0 if self.factor is None else np.sum(self.factor * self.factor, axis=1)


def motion(
    z: Any, x: Any, grid: Grid, construction: Construction, correlation: Any = None, scale_tril: Any = None
) -> Motion:
    """Check the noise of a path and return its motions.

    Raises
    ------
    ParameterError
        Noise without an element for each step, a construction that there is not, no correlation matrix.
    """
    if not isinstance(construction, str) or construction not in CONSTRUCTIONS:
        raise ParameterError("construction", shown(construction), " or ".join(map(repr, CONSTRUCTIONS)))
    z = _noise(z, x, grid)
    factor = factor_of(z, correlation, scale_tril)
    if construction == "sequential":
        return Motion(z, False, factor, correlation is not None)
    if not grid.known:
        accepted = f"construction='sequential', as {construction!r} needs times that are numbers"
        raise ParameterError("times", "a traced array", accepted)
    together = construction == "pca" and _is_regular(factor)  # components of all motions and times
    times = grid.since_start()

    def leaf(path: str, eps: Any) -> Any:
        flat = eps if len(eps.shape) <= 2 else eps.reshape(grid.steps, -1)
        w = brownian(flat, times, construction, scale_tril=factor if together else None)
        w = w @ np.linalg.inv(factor).T.astype(eps.dtype) if together else w  # a step correlates them again
        return np.concatenate([w[:1], w[1:] - w[:-1]]).reshape(eps.shape)

    return Motion(mapped(leaf, z), True, factor, correlation is not None)


def _noise(z: Any, x: Any, grid: Grid) -> Any:
    z = without_lists(z)
    if is_nested(z) and not is_nested(x):
        raise ParameterError("z", f"a {type(z).__name__}", "one array of standard normals, as x0 is one array")
    if is_nested(z) and list(leaves(z)) != list(leaves(x)):
        given, own = ", ".join(leaves(z)), ", ".join(leaves(x))
        raise ParameterError("z", f"arrays {given}", f"one array of shape (steps, motions), or arrays {own} as x0 is")
    nested = is_nested(z)

    def leaf(path: str, eps: Any) -> Any:
        eps = eps if isinstance(eps, Tracer) else np.asarray(real_array(f"z{path}", eps, "standard normals", "f"))
        own = shapes(x)[path] if nested else None
        if not eps.shape or eps.shape[0] != grid.steps or own not in (None, eps.shape[1:]):
            accepted = f"({grid.steps}, ...), an element for each of the {grid.steps} steps"
            accepted = accepted if own is None else f"{(grid.steps, *own)}, as x0{path} has shape {own}"
            raise ParameterError(f"z{path}", f"shape {eps.shape}", accepted)
        return eps

    return mapped(leaf, z)


def factor_of(z: Any, correlation: Any, scale_tril: Any) -> Any:
    """Return a factor of the covariance of the motions of some noise, checked; None where they are independent."""
    if correlation is None and scale_tril is None:
        return None
    name = "scale_tril" if correlation is None else "correlation"
    if correlation is not None and scale_tril is not None:
        raise ParameterError("scale_tril", "both correlation and scale_tril", "one of them")
    if is_nested(z) or len(shape_of(z)) != 2:
        of_noise = "a matrix for z nested as x0 is" if is_nested(z) else f"a matrix for z of shape {shape_of(z)}"
        raise ParameterError(name, of_noise, "None, or z of shape (steps, motions)")
    motions = shape_of(z)[1]
    given = scale_tril if correlation is None else correlation
    given = without_lists(list(given) if isinstance(given, tuple) else given)
    if not isinstance(given, Tracer):
        given = np.asarray(real_array(name, given, CORRELATION, "iuf"), np.float64)
    if correlation is not None and given.shape == ():
        given = np.eye(motions) + given * (1.0 - np.eye(motions))
    if given.shape != (motions, motions):
        raise ParameterError(name, f"shape {given.shape}", f"{(motions, motions)}, for {motions} motions")
    return given if correlation is None else _factored(given)


def _is_regular(factor: Any) -> bool:
    """Whether a factor is made of numbers, and has an inverse."""
    return isinstance(factor, np.ndarray) and bool(np.linalg.cond(factor) < LARGEST)


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=int))


def _factored(matrix: Any) -> Any:
    """Return a lower triangular factor of a correlation matrix, which may be singular, checked if it is of numbers."""
    if isinstance(matrix, Tracer):
        return semidefinite_cholesky(matrix) if matrix.shape[0] <= MOST_SINGULAR else np.linalg.cholesky(matrix)
    if not np.allclose(matrix, matrix.T) or abs(np.diag(matrix) - 1.0).max() > ROUNDING:
        given = "a matrix that is not symmetric" if not np.allclose(matrix, matrix.T) else "a diagonal without ones"
        remedy = f"{CORRELATION}; scale_tril= takes a factor of any covariance"
        raise ParameterError("correlation", given, remedy)
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        factor = semidefinite_cholesky(matrix)
    if np.isfinite(factor).all():
        return factor
    least = float(np.linalg.eigvalsh(matrix)[0])
    raise ParameterError("correlation", f"a matrix with an eigenvalue of {least:.3g}", CORRELATION)


def semidefinite_cholesky(matrix: Any) -> Any:
    """Return L, lower triangular, where L L^T is a positive semidefinite matrix with ones on its diagonal.

    Parameters
    ----------
    matrix : array, shape (n, n)
        Numbers, or traced.

    Returns
    -------
    array, shape (n, n)
        Column by column (Golub and Van Loan, *Matrix computations*, 2013, section 4.2.8): where a motion is a
        combination of those before it, its column is zero. NaN for a matrix with a negative eigenvalue, of which one of
        numbers has more than the rounding of float64, and a traced one more than that of float32. The derivative is
        infinite where the matrix is singular, as that of sqrt(1 - rho^2) is at rho = 1.
    """
    n, rounding = matrix.shape[0], ROUNDING if isinstance(matrix, Tracer) else SINGULAR
    columns: list[Any] = []
    for j in range(n):
        left = matrix[j:, j]
        if j:
            before = np.stack([column[j:] for column in columns], axis=1)
            left = left - np.sum(before * before[:1], axis=1)
        pivot = left[0]
        pivot = np.where((pivot < 0.0) & (pivot > -rounding), -pivot, pivot)
        with np.errstate(invalid="ignore", divide="ignore"):
            regular, root = pivot > SINGULAR, np.sqrt(pivot)
            below = left[1:] / np.where(regular, root, 1.0)
            dependent = np.where(np.abs(left[1:]) > np.sqrt(rounding), np.nan, 0.0)
        column = [root.reshape(1), np.where(regular, below, dependent)] if j + 1 < n else [root.reshape(1)]
        columns.append(np.concatenate([np.zeros(j), *column]))
    return np.stack(columns, axis=1)
