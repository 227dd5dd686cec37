"""Settings of the cache folder, from environment variables: where it is, and who shares it.

By default it is the user's own cache folder, and private.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mcgrad.cache.warning import once

CACHE_VARIABLE = "MCGRAD_CACHE_DIR"
MODE_VARIABLE = "MCGRAD_CACHE_MODE"


class Sharing(NamedTuple):
    """Who uses a cache folder.

    Parameters
    ----------
    name : str
    folder, file : int
        Permissions with which a folder and its files are made.
    trusts_group : bool
        Whether files of other members of the folder's group are used.
    trusts_all : bool
        Whether files of all users are used.
    """

    name: str
    folder: int
    file: int
    trusts_group: bool = False
    trusts_all: bool = False


PRIVATE = Sharing("private", 0o700, 0o600)
GROUP = Sharing("group", 0o2770, 0o660, trusts_group=True)
ALL = Sharing("all", 0o755, 0o644)
UNCHECKED = Sharing("unchecked", 0o700, 0o600, trusts_all=True)
SHARINGS = {sharing.name: sharing for sharing in (PRIVATE, GROUP, ALL, UNCHECKED)}


def cache_folder() -> Path:
    """Return the folder of compiled code: $MCGRAD_CACHE_DIR, or the user's cache folder.

    A relative path is relative to the working folder at the first call with it. A path that begins with ``~`` is
    returned as it was given where there is no such home.
    """
    given = os.environ.get(CACHE_VARIABLE)
    return _absolute(given) if given else _default()


def sharing() -> Sharing:
    """Return who shares the cache folder: $MCGRAD_CACHE_MODE."""
    given = os.environ.get(MODE_VARIABLE, "").strip().lower()
    if given and given not in SHARINGS:
        once(f'{MODE_VARIABLE}: given "{given}"; accepted: {", ".join(SHARINGS)}. The cache is private.')
    return SHARINGS.get(given, PRIVATE)


@cache
def _absolute(given: str) -> Path:
    path = Path(given)
    try:
        path = path.expanduser()
        return path if str(path).startswith("~") else path.absolute()
    except (OSError, RuntimeError):  # the working folder was removed; no such user, or a user without a home
        return path


@cache
def _default() -> Path:
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("mcgrad", appauthor=False))
    except RuntimeError:  # no home; older versions return a path that begins with ~
        return Path("~/.cache/mcgrad")
