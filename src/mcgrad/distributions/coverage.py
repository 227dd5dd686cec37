"""Whether draws of one distribution reach wherever another has density: what importance weights need."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError

Array = npt.NDArray[Any]

DRAWS = 256  # of q, that are tried
SEED = 0
MOST = 64  # components that are moved, spread evenly where there are more
LEAST = -708.0  # log densities below it are those of no float64
SURFACES = {supports.simplex.describe, supports.sphere.describe}  # of fewer dimensions than a draw has numbers
HALF_LINES = {supports.positive.describe, supports.nonnegative.describe}  # equal but for a point
FIXED = {  # words that say where a support is, as no parameter moves it
    each.describe
    for each in (supports.unit_interval, supports.simplex, supports.sphere, supports.indicator, supports.counts())
}
DISTANCES = 4.0 ** np.arange(-8, 4)  # beyond an end, in units of the width of q's draws


def refuse_other_kinds(q: Distribution, p: Distribution, name: str) -> None:
    """Refuse a pair whose densities are not of one kind, so that their ratio is no weight.

    Parameters
    ----------
    q, p : Distribution
    name : str
        Of p, in the error.

    Raises
    ------
    ParameterError
        Draws of other shapes, discrete and continuous draws, or points of different surfaces.
    """
    if q.event_shape != p.event_shape:
        raise ParameterError(name, f"event shape {p.event_shape}", f"event shape {q.event_shape}, as q's")
    if q.parts or p.parts:
        if not (q.parts and p.parts):
            raise ParameterError(name, repr(p), "a Joint with the parts of q, as q is a Joint")
        for part, own in q.parts.items():
            refuse_other_kinds(own, p.parts[part], f"{name}.{part}")
        return
    ours, theirs = q.support, p.support
    if supports.unstated.describe in (ours.describe, theirs.describe):
        return
    surfaces = {ours.describe, theirs.describe} & SURFACES
    if ours.discrete != theirs.discrete or (surfaces and ours.describe != theirs.describe):
        given = f"{type(p).__name__}, whose draws are: {theirs.describe}"
        raise ParameterError(name, given, f"draws of the kind that {type(q).__name__} has: {ours.describe}")


def always_covers(p: Distribution, q: Distribution) -> bool:
    """Whether the families say that the support of q lies within that of p, whatever their parameters are.

    Parameters
    ----------
    p, q : Distribution
        Without batch axes, of one event shape and kind.
    """
    if q.parts:
        return all(always_covers(p.parts[name], part) for name, part in q.parts.items())
    ours, theirs = q.support.describe, p.support.describe
    if supports.unstated.describe in (ours, theirs):
        return False
    return theirs == supports.real.describe or (ours == theirs and ours in FIXED) or {ours, theirs} <= HALF_LINES


def _covers(p: Distribution, q: Distribution) -> bool:
    """Whether it does at the parameters that they have, where the ends of both supports are known."""
    if q.parts:
        return all(_covers(p.parts[name], part) for name, part in q.parts.items())
    found = None if always_covers(p, q) else _both_ends(q, p)
    if found is None:
        return always_covers(p, q)
    (low, high), (least, most) = found
    return bool(np.all(least <= low) and np.all(high <= most))


def outside(q: Distribution, p: Distribution) -> Any:
    """Return values inside the support of q and outside that of p, m of them on the first axis; None where all is well.

    Draws of q, and, where ends of intervals are known, values beyond those of p, however improbable.

    Parameters
    ----------
    q, p : Distribution
        Without batch axes, of one event shape and kind.
    """
    if _covers(p, q):
        return None
    drawn = q.sample(DRAWS, SEED, dtype="float64")
    found = [_chosen(drawn, _log_density(p, drawn) == -np.inf)]
    for path, leaf in _leaves(q, p).items():
        whole = tree.flatten(drawn)
        found += [
            tree.unflatten({**{name: x[which] for name, x in whole.items()}, path: beyond})
            for which, beyond in _beyond(*leaf, whole[path])
        ]
    flat = [tree.flatten(each) for each in found]
    values = tree.unflatten({path: np.concatenate([np.asarray(each[path]) for each in flat]) for path in flat[0]})
    values = _chosen(values, _log_density(q, values) > LEAST)
    return values if len(next(iter(tree.flatten(values).values()))) else None


def _log_density(q: Distribution, z: Any) -> Array:
    """Return log densities at values; 0 where q knows the density of its own draws alone."""
    try:
        return np.asarray(q.log_prob(z))
    except ParameterError:
        return np.zeros(len(next(iter(tree.flatten(z).values()))))


def _both_ends(q: Distribution, p: Distribution) -> tuple[tuple[Array, Array], tuple[Array, Array]] | None:
    """Return the ends of both supports, in the shape of a draw, where both are known."""
    ours, theirs = _ends(q), _ends(p)
    return None if ours is None or theirs is None else (ours, theirs)


def _ends(q: Distribution) -> tuple[Array, Array] | None:
    if q.support.ends is None or not isinstance(q.event_shape, tuple):
        return None
    flat = {path: to_host(x).astype(np.float64) for path, x in q.flat_params.items()}
    low, high = q.support.ends(**(tree.unflatten(flat) if flat else {}))
    return np.broadcast_to(np.float64(low), q.event_shape), np.broadcast_to(np.float64(high), q.event_shape)


def _leaves(q: Distribution, p: Distribution) -> dict[str, tuple[Distribution, Distribution]]:
    """Return the parts that are no Joints, by path; of a single distribution by the path ""."""
    if not q.parts:
        return {"": (q, p)}
    found = {}
    for name, part in q.parts.items():
        for path, pair in _leaves(part, p.parts[name]).items():
            found[f"{name}.{path}" if path else name] = pair
    return found


def _beyond(q: Distribution, p: Distribution, drawn: Array) -> list[tuple[Array, Array]]:
    """Return draws with one component moved beyond an end of p, where q goes further; first, which draws they are."""
    ends = _both_ends(q, p)
    if ends is None:
        return []
    (low, high), (least, most) = ends
    found = []
    places_of = list(np.ndindex(q.event_shape))
    for at in places_of[:: -(-len(places_of) // MOST) or 1]:
        column = drawn[(slice(None), *at)]
        width = float(np.ptp(column)) or 1.0
        for own, end, sign in ((low[at], least[at], -1.0), (high[at], most[at], 1.0)):
            if sign * own <= sign * end:
                continue
            places = end + sign * width * DISTANCES
            places = places[sign * places < sign * own] if np.isfinite(own) else places
            if not len(places):
                places = np.array([0.5 * (own + end)])
            which = np.arange(len(places)) % len(drawn)
            moved = drawn[which]
            moved[(slice(None), *at)] = places
            found.append((which, moved))
    return found


def _chosen(values: Any, mask: Array) -> Any:
    return tree.map(lambda x: x[mask], values)
