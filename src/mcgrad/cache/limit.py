"""The size limit of the cache folder: the least recently used entries are removed first.

The time of modification of an entry is the time of its last use, updated at most once a day. The sizes of all entries
are added up after the first entry that a process writes, and again when it has written a part of the room that was left
then. Several processes may do so at the same time: an entry that another one has removed is skipped.
"""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mcgrad.cache.folder import LARGEST
from mcgrad.cache.settings import cache_folder
from mcgrad.cache.warning import once
from mcgrad.system.atomic import remove_stale

SIZE_VARIABLE = "MCGRAD_CACHE_SIZE"
DEFAULT = 1_000_000_000
LARGEST_LIMIT = 1e18  # of its unit, for numbers that float64 does not hold
SUFFIX = ".mcgrad"
LOCK = ".lock"  # follows an entry's name in that of its lock (`making`), which a process that was killed leaves there
NAME = r"[0-9a-f]{32}\.\w+\.mcgrad"
EARLIER = r"mcgrad_[0-9a-f]{24}\.(.+\.)?(py|ptx|cubin|pyc|nbi|nbc)"  # files of earlier versions, which Numba wrote
SIZE = r"((?:\d+(?:\.\d*)?|\.\d+)(?:e\d+)?)\s*([kMGT]?)B?"
POWERS = {"": 0, "k": 3, "m": 6, "g": 9, "t": 12}
DAY, HOUR = 86_400.0, 3_600.0
FULL = 0.8  # of the limit, to which entries are removed
PART = 0.25  # of the room that is left, which may be written until sizes are added up again

_room: dict[Path, float] = {}  # bytes that may be written until sizes are added up again


class Kept(NamedTuple):
    """An entry in the folder: its file, bytes, and when it was last used, in seconds since 1970."""

    path: Path
    size: int
    used: float


def size_limit() -> int:
    """Return the size limit in bytes: $MCGRAD_CACHE_SIZE, or 1 GB."""
    given = os.environ.get(SIZE_VARIABLE, "").strip()
    found = re.fullmatch(SIZE, given, re.IGNORECASE)
    if found is None:
        if given:
            once(f'{SIZE_VARIABLE}: given "{given}"; accepted: bytes, such as 500MB or 2 GB. The limit is 1 GB.')
        return DEFAULT
    return int(min(float(found[1]), LARGEST_LIMIT) * 10 ** POWERS[found[2].lower()])


def admits(size: int) -> bool:
    """Whether an entry of a size is kept at all."""
    return size <= min(size_limit(), LARGEST)


def used(name: str) -> None:
    """Set the time of last use of an entry, where the time that is set is more than a day ago."""
    path = cache_folder() / name
    with suppress(OSError):  # a folder that may only be read, or an entry that another process has removed
        if abs(time.time() - path.stat().st_mtime) > DAY:
            os.utime(path)


def added(size: int) -> None:
    """Count an entry that was written; remove others where the limit is exceeded."""
    folder, limit = cache_folder(), size_limit()
    room = _room.get(folder, -math.inf) - size
    if room < 0:
        remove_stale(folder, HOUR, NAME + re.escape(LOCK))
        found = entries(folder)
        total = sum(entry.size for entry in found)
        if total > limit:
            total = _shrink(found, total, FULL * limit)
        room = PART * (limit - total)
    _room[folder] = room


def entries(folder: Path) -> list[Kept]:
    """Return the entries of a folder, the least recently used first."""
    found = []
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if re.fullmatch(NAME, file.name):
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    found.append(Kept(folder / file.name, status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def clear(folder: Path) -> tuple[int, int]:
    """Remove all entries, also those of earlier versions; return the number of files and of bytes."""
    found = [*folder.glob("mcgrad_*"), *folder.glob("__pycache__/mcgrad_*")]
    old = [path for path in found if re.fullmatch(EARLIER, path.name)]
    remove_stale(folder, HOUR, NAME + re.escape(LOCK))
    files = size = 0
    for path in [*(entry.path for entry in entries(folder)), *old]:
        with suppress(OSError):
            bytes_ = path.stat(follow_symlinks=False).st_size
            path.unlink()
            files, size = files + 1, size + bytes_
    with suppress(OSError):
        (folder / "__pycache__").rmdir()  # where it is empty
    return files, size


def _shrink(found: list[Kept], total: int, limit: float) -> int:
    """Remove entries in order until the total is within the limit; return the total."""
    for entry in found:
        if total <= limit:
            break
        with suppress(OSError):
            entry.path.unlink(missing_ok=True)
            total -= entry.size
    return total
