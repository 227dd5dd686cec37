"""Digests of payloads by the objects that they are made of: a payload that workers have is not made again.

An Estimator that is called again has the same Program and the very arrays that it keeps, which are read-only. Data that
a call is given may be the user's own, who may fill the same array anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

KNOWN = 32  # payloads whose digests are known


class _Made(NamedTuple):
    parts: tuple[Any, ...]  # references to objects, which go with these
    others: Hashable
    digest: str


_known: deque[_Made] = deque(maxlen=KNOWN)


def digest_of(parts: Mapping[Hashable, object], others: Hashable) -> str | None:
    """Return the digest of the payload that was made of the same objects, or None.

    Parameters
    ----------
    parts : mapping
        Objects by name, which are compared by identity.
    others : hashable
        The rest, compared by value.
    """
    for made in list(_known):
        names = tuple(name for name, _ in made.parts)
        if made.others == others and names == tuple(parts) and all(kept() is parts[name] for name, kept in made.parts):
            return made.digest
    return None


def keep_digest(parts: Mapping[Hashable, object], others: Hashable, digest: str) -> None:
    """Keep the digest of a payload for as long as its objects are there, if arrays among them are read-only."""
    if all(_is_fixed(x) for x in parts.values()):
        _known.append(_Made(tuple((name, ref(x)) for name, x in parts.items()), others, digest))


def _is_fixed(x: object) -> bool:
    """Whether an object cannot change: it is no array, or one that is read-only and a view of none that is not."""
    if not isinstance(x, np.ndarray):
        return not hasattr(x, "shape")
    while isinstance(x, np.ndarray):
        if x.flags.writeable:
            return False
        x = x.base
    return x is None or isinstance(x, bytes)
