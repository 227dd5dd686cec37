"""The public function `brownian`: checks its arguments, and makes a path by one of three constructions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mcgrad.errors import ParameterError, TraceError, shown
from mcgrad.paths import bridge, principal
from mcgrad.reals import real_array

CONSTRUCTIONS = ("bridge", "pca", "sequential")
SYMMETRIC = 1e-10  # relative: of a covariance's asymmetry, and of eigenvalues below zero

Construction = Literal["bridge", "pca", "sequential"]
Floats = npt.NDArray[np.float64]


def brownian(
    eps: Any,
    times: npt.ArrayLike,
    construction: Construction = "bridge",
    *,
    covariance: npt.ArrayLike | None = None,
    scale_tril: Any = None,
) -> Any:
    """Return a Brownian motion at some times, made of standard normal noise: W(0) = 0, Cov(W(s), W(t)) = min(s, t).

    Parameters
    ----------
    eps : array, shape (steps,) or (steps, assets)
        Independent standard normals, such as the draw of ``mg.Normal(np.zeros(steps), 1.0)``; traced, or an array.
    times : array_like, shape (steps,)
        Increasing, greater than 0; numbers that are known when f is traced, not parameters or data.
    construction : {"bridge", "pca", "sequential"}
        Which linear map makes the path, all of the same distribution. They differ in how much of the path the first
        coordinates of eps decide, which matters to ``sampler="sobol"`` alone: "bridge" takes the times in the order of
        their conditional variances, the last time first; "pca" the principal components of the whole, the largest
        first; "sequential" adds up increments.
    covariance : array_like, shape (assets, assets), optional
        Of the assets' motions at time 1: their correlations, where each is a standard Brownian motion. Positive
        definite; for "pca" it may be singular. Without it the assets are independent.
    scale_tril : array, shape (assets, assets), optional
        In place of `covariance`, a factor L of it, L L^T, which may be traced except for "pca". It need not be
        triangular.

    Returns
    -------
    array of the shape of eps
        The path at each time, in the dtype of eps.

    Raises
    ------
    ParameterError
        Shapes that do not fit, times that do not increase, a covariance that is none.

    Notes
    -----
    "bridge" and "sequential" take O(steps) operations, "pca" is a product with a matrix of steps^2 numbers; so is a
    bridge over times so unequal that it has more than 32 levels. Of several assets the coordinates are numbered in C
    order: all assets' first, then all assets' second ones; for "pca" they are in the order of the principal components
    of all assets and times together.

    References
    ----------
    Glasserman, *Monte Carlo methods in financial engineering*, 2003, section 3.1; Caflisch and Moskowitz 1995 (bridge);
    Acworth, Broadie and Glasserman 1998 (principal components).

    Examples
    --------
    >>> def asian(z, *, spot, vol, rate):
    ...     w = mg.paths.brownian(z, times)
    ...     path = spot * np.exp((rate - 0.5 * vol**2) * times + vol * w)
    ...     return np.exp(-rate * times[-1]) * np.maximum(np.mean(path) - 100.0, 0.0)
    """
    if not isinstance(construction, str) or construction not in CONSTRUCTIONS:
        raise ParameterError("construction", shown(construction), " or ".join(map(repr, CONSTRUCTIONS)))
    known = _times(times)
    eps = _noise(eps, len(known))
    if construction == "pca":
        return principal.components(known, _of_assets(eps, covariance, scale_tril)).path(eps)
    factor = _factor(eps, covariance, scale_tril)
    path = _sequential(eps, known) if construction == "sequential" else _bridge(eps, known)
    return path if factor is None else path @ factor.T


def _sequential(eps: Any, times: tuple[float, ...]) -> Any:
    deviations = np.sqrt(np.diff(times, prepend=0.0)).astype(eps.dtype)
    return np.cumsum(deviations.reshape(-1, *(1,) * (eps.ndim - 1)) * eps, axis=0)


def _bridge(eps: Any, times: tuple[float, ...]) -> Any:
    found = bridge.bridge(times)
    return bridge.matrix(times).astype(eps.dtype) @ eps if found is None else found.path(eps)


def _times(times: npt.ArrayLike) -> tuple[float, ...]:
    """Return the times as floats."""
    found = _numbers("times", times, "an array of increasing numbers greater than 0, one for each step")
    if found.ndim != 1:
        raise ParameterError("times", f"shape {found.shape}", "one axis, with a time for each step")
    if not np.isfinite(found).all():
        raise ParameterError("times", shown(found[~np.isfinite(found)][0]), "finite numbers")
    gaps = np.diff(found, prepend=0.0)
    if (gaps <= 0).any():
        i = int(np.argmax(gaps <= 0))
        given = f"{found[i]:g} after {found[i - 1]:g}" if i else f"{found[0]:g} at first"
        raise ParameterError("times", given, "increasing numbers greater than 0; W(0) = 0 is no step")
    return tuple(found.tolist())


def _noise(eps: Any, steps: int) -> Any:
    """Return the noise, of a float dtype and one or two axes."""
    eps = eps if hasattr(eps, "shape") and hasattr(eps, "dtype") else np.asarray(eps)
    if eps.dtype.kind != "f":
        raise ParameterError("eps", f"an array of {eps.dtype}", "standard normals, floats")
    if eps.ndim not in (1, 2) or eps.shape[0] != steps:
        raise ParameterError("eps", f"shape {eps.shape}", f"({steps},) or ({steps}, assets), for the {steps} times")
    return eps


def _of_assets(eps: Any, covariance: Any, scale_tril: Any) -> tuple[tuple[float, ...], ...]:
    """Return the covariance of the assets, positive semidefinite, as numbers."""
    if covariance is None and scale_tril is None:
        found = np.eye(1 if eps.ndim == 1 else eps.shape[1])
    elif scale_tril is None:
        found = _covariance(eps, covariance)
    else:
        _factor(eps, covariance, scale_tril)
        factor = _numbers("scale_tril", scale_tril, "numbers, with construction='pca'")
        found = factor @ factor.T
    return tuple(map(tuple, found.tolist()))


def _covariance(eps: Any, covariance: Any) -> Floats:
    found = _numbers("covariance", covariance, "a symmetric positive definite matrix of numbers")
    _square("covariance", found, eps)
    largest = float(np.abs(found).max())
    if not np.isfinite(largest) or np.abs(found - found.T).max() > SYMMETRIC * largest:
        raise ParameterError("covariance", "a matrix that is not symmetric", "a symmetric positive definite matrix")
    least = float(np.linalg.eigvalsh(found)[0])
    if least < -SYMMETRIC * largest:
        given = f"a matrix with an eigenvalue of {least:.3g}"
        raise ParameterError("covariance", given, "a positive definite matrix")
    return found


def _factor(eps: Any, covariance: Any, scale_tril: Any) -> Any:
    """Return a matrix whose product with independent motions has the covariance; None where they stay so."""
    if covariance is not None and scale_tril is not None:
        raise ParameterError("scale_tril", "both covariance and scale_tril", "one of them")
    if scale_tril is not None:
        factor = scale_tril if hasattr(scale_tril, "shape") else np.asarray(scale_tril, np.float64)
        _square("scale_tril", factor, eps)
        return factor.astype(eps.dtype) if isinstance(factor, np.ndarray) else factor
    if covariance is None:
        return None
    try:
        return np.linalg.cholesky(_covariance(eps, covariance)).astype(eps.dtype)
    except np.linalg.LinAlgError:
        accepted = "a positive definite matrix; construction='pca' or scale_tril=, a factor, take a singular one"
        raise ParameterError("covariance", "a singular matrix", accepted) from None


def _square(name: str, matrix: Any, eps: Any) -> None:
    if eps.ndim != 2:
        given = f"a matrix for eps of shape {eps.shape}"
        raise ParameterError(name, given, "None for one asset; eps of shape (steps, assets) for several")
    if tuple(matrix.shape) != (eps.shape[1], eps.shape[1]):
        raise ParameterError(name, f"shape {tuple(matrix.shape)}", f"{(eps.shape[1],) * 2}, for {eps.shape[1]} assets")


def _numbers(name: str, given: Any, accepted: str) -> Floats:
    """Return numbers, which no tracer is."""
    try:
        return np.asarray(real_array(name, given, accepted, "iuf"), np.float64)
    except TraceError as error:
        message = f"{name}: given a traced value, such as a parameter or data of f; accepted: {accepted}, "
        message += "known when f is traced: an array that f refers to by its name"
        raise TraceError(message, error.filename, error.lineno) from None
