"""Warn of gradients that are zero or too small, because the draws that a parameter moves are too rare."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.joint import part_of
from mcgrad.errors import RareDrawsWarning, user_level
from mcgrad.ir.spaces import Input, param
from mcgrad.moments import Moments
from mcgrad.noise import Shape
from mcgrad.results.components import Component, Components
from mcgrad.results.row_moments import RowMoments

NOTHING = {"float32": 1e-6, "float64": 1e-12}  # of the integrand's size: rounding error of a gradient of zero
SEVERAL = 10_000  # draws of all calls in a loop, whose mean has the rare draws that single calls lack
FEW = 40.0  # expected draws inside the support, above which a zero has other reasons


def warn_of_rare_draws(
    q: Distribution,
    values: Mapping[Input, Any],
    components: Components,
    moments: Moments,
    random: npt.NDArray[np.bool_],
    n: int,
    dtype: str,
    place: str = "",
) -> None:
    """Warn where a component of the gradient is zero in all draws, and their number may be the reason.

    Parameters
    ----------
    q : Distribution
    values : dict of Input to array
        Its parameters and others.
    components : Components
        Of the moments.
    moments : Moments
    random : bool array
        Which components differ from draw to draw; a closed form may be zero.
    n : int
        Number of draws.
    dtype : {"float32", "float64"}
    place : str
        Where the component is, after its name, such as the row of a batch.

    Warns
    -----
    RareDrawsWarning
        Names the first such component.
    """
    if q.rarity is None:
        return
    size = np.abs(moments.mean) + moments.norm / np.sqrt(n)
    zero = random & (size <= NOTHING[dtype] * np.max(size[components.values]))
    if not zero[components.gradient].any():
        return
    params = {path: to_host(values[param(path)]).astype(np.float64) for path in q.flat_params}
    probabilities = q.rarity(**tree.unflatten(params))
    for path, each in components.by_parameter(zero).items():
        here = each.all(axis=0)  # a number of the value may have nothing to do with a parameter
        if path not in probabilities or not here.any():
            continue
        probability = _of_shape(probabilities[path], here.shape)
        rare = here & (max(n, SEVERAL) * probability < FEW)
        if rare.any():
            component = Component(path, tuple(int(i) for i in np.argwhere(rare)[0]))
            least = float(probability[component.indices])
            part, _, name = part_of(q, path)
            if part.reparameterized:
                moved = f"a draw that is not at an end of the support, and moves with {path},"
                remedy = "method='score', whose standard error shows what is not known"
            else:
                moved = "a draw that is not the most probable value"
                remedy = "parameters that make them more probable"
                if name in part.decompositions:
                    remedy = "method='measure_valued', which makes such draws by themselves"
            warnings.warn(
                f"{component}{place}: the gradient is zero to rounding in all {n:,} draws, and so is its standard "
                f"error; but {moved} has a probability of about {least:.1g}: take many more than {1 / least:.1g} "
                f"draws, or {remedy}",
                RareDrawsWarning,
                stacklevel=user_level(),
            )
            return


def warn_of_rare_rows(
    q: Distribution,
    values: Callable[[int], Mapping[Input, Any]],
    components: Components,
    moments: RowMoments,
    random: npt.NDArray[np.bool_],
    n: int,
    dtype: str,
) -> None:
    """Warn as `warn_of_rare_draws` does, for the first row of a batch that has a zero.

    Parameters
    ----------
    q : Distribution
        Of one row.
    values : callable
        Returns the inputs of a row.
    components, random
        Of what is by row.
    moments : RowMoments
    n : int
        Number of draws of a row.
    dtype : {"float32", "float64"}
    """
    if q.rarity is None:
        return
    size = np.abs(moments.means) + moments.norms / np.sqrt(n)
    if not size.size:
        return
    zero = random & (size <= NOTHING[dtype] * np.max(size[:, components.values], axis=1, keepdims=True))
    rows = np.flatnonzero(zero[:, components.gradient].any(axis=1))
    if len(rows):
        row = int(rows[0])
        of_row = Moments(int(moments.counts[row]), moments.means[row], moments.norms[row])
        warn_of_rare_draws(q, values(row), components, of_row, random, n, dtype, f" in row {row} of {len(zero):,}")


def warn_of_gaps(q: Distribution, values: Mapping[Input, Any], paths: Sequence[str], n: int) -> None:
    """Warn of pathwise gradients in mixtures, where almost no draw is between the components.

    Parameters
    ----------
    q : Distribution
    values : dict of Input to array
        Its parameters and others.
    paths : sequence of str
        Parameters whose gradient is taken along draws.
    n : int
        Number of draws.

    Warns
    -----
    RareDrawsWarning
        Names the first such parameter.
    """
    if q.bridges is None:
        return
    params = {path: to_host(values[param(path)]).astype(np.float64) for path in q.flat_params}
    for path, probability in q.bridges(**tree.unflatten(params)).items():
        least = float(np.min(probability))
        if path in paths and least * max(n, SEVERAL) < 1:
            warnings.warn(
                f"{path}: the components are so far apart that draws between them, which carry a part of the gradient "
                f"along draws, have a probability of about {least:.1g}: the gradient in {path} and its standard error "
                f"are likely too small, unless the integrand is flat there; method={{'{path}': 'score+mean'}} is right",
                RareDrawsWarning,
                stacklevel=user_level(),
            )
            return


def _of_shape(probability: Any, shape: Shape) -> Any:
    """Return probabilities for each component of a parameter; the largest where its components have several."""
    if np.broadcast_shapes(np.shape(probability), shape) == shape:
        return np.broadcast_to(probability, shape)
    return np.full(shape, np.max(probability))
