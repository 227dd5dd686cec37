"""The quota of processor time of this process by Linux's control groups, as set by containers and batch systems.

`machine` reads it for the default number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GROUPS = Path("/proc/self/cgroup")
MOUNTED = Path("/sys/fs/cgroup")
LASTS = 10.0  # seconds for which a quota that was read is used

_read: tuple[float, float | None] = (-LASTS, None)  # the time of the last reading, and the quota


def quota() -> float | None:
    """Return how many processors' time this process may use, such as 1.5, or None where nothing limits it.

    Notes
    -----
    Reads a few small files, at most once in `LASTS` seconds: the quota of a container may change while it runs.
    """
    global _read
    now = time.monotonic()
    if now - _read[0] >= LASTS:
        _read = now, read_quota()
    return _read[1]


def read_quota(groups: Path = GROUPS, mounted: Path = MOUNTED) -> float | None:
    """Read the least quota of the process's group and of the groups around it, of either version of control groups.

    Parameters
    ----------
    groups : Path
        The groups of the process, as in ``/proc/self/cgroup``.
    mounted : Path
        Where the file systems of the groups are.

    Source
    ------
    The Linux kernel's Documentation, admin-guide/cgroup-v2.rst, "CPU Interface Files", and scheduler/sched-bwc.rst.
    """
    try:
        lines = groups.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return None
    return min((share for line in lines for share in _shares(mounted, *line.split(":", 2))), default=None)


def _shares(mounted: Path, number: str, controllers: str, group: str) -> Iterator[float]:
    """Yield the quotas of a group and of the groups around it, as far as they exist and can be read."""
    names = PurePosixPath(group).parts[1:]
    if ".." in names:  # a group outside of what is mounted here
        names = ()
    for root, files in _folders(number, controllers, mounted):
        for depth in range(len(names), -1, -1):
            folder = root.joinpath(*names[:depth])
            try:
                text = " ".join((folder / file).read_text() for file in files)
                granted, period = (int(word) for word in text.split())
            except (OSError, ValueError):  # no such folder, no such limit, or "max"
                continue
            if granted > 0 and period > 0:
                yield granted / period


def _folders(number: str, controllers: str, mounted: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the folders of the quotas that a line of /proc/self/cgroup names, and the names of their files."""
    if number == "0" and not controllers:  # version 2
        yield mounted, ("cpu.max",)
    elif "cpu" in controllers.split(","):
        for name in dict.fromkeys(("cpu", controllers)):
            yield mounted / name, ("cpu.cfs_quota_us", "cpu.cfs_period_us")
