"""Check the owners and permissions of the cache folder and its files: compiled code runs when it is loaded.

A folder or file is used only where no other user may have written it:

- It belongs to this user or to root, and neither its group nor others may write it. A group may write it if it is
  root's, or this user's alone, as many systems have one for each user, with a umask of 002. With
  ``MCGRAD_CACHE_MODE=group`` it may also belong to one of this process's groups, which then may write it.
- No other user may replace the folder: its parents, too, belong to this user or to root, and those that others may
  write have the sticky bit, as /tmp has.
- POSIX access lists count: their mask shows in the bits of the group, and a group is trusted for its members only where
  there is no list.

Everything is used where files have no owners, as on Windows, and with ``MCGRAD_CACHE_MODE=unchecked``, for machines
with one user, such as a container.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path

from mcgrad.cache.settings import CACHE_VARIABLE, MODE_VARIABLE, Sharing

ROOT = 0
OTHERWISE = f"or set {MODE_VARIABLE}: group trusts the group of the folder, unchecked all users"


def distrust(at: Path | int, status: os.stat_result, sharing: Sharing) -> str | None:
    """Return why a folder or file, a path or an open file, is not used, to follow its name; None where it is."""
    if sharing.trusts_all or not hasattr(os, "getuid"):
        return None
    ours = status.st_uid in (ROOT, os.getuid())
    member = sharing.trusts_group and status.st_gid in _groups()
    if not (ours or member):
        return f"belongs to user {status.st_uid}, who is neither this user ({os.getuid()}) nor root"
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not (member or _is_safe(at, status.st_gid))):
        return f"may be written by others (mode {stat.S_IMODE(status.st_mode):04o}, group {status.st_gid})"
    return None


def folder_distrust(path: Path, status: os.stat_result | None, sharing: Sharing) -> str | None:
    """Return why a cache folder, which need not exist, is not used, with the remedy; None where it is used."""
    if status is not None and not stat.S_ISDIR(status.st_mode):
        return f"{path} is not a folder: have {CACHE_VARIABLE} name one"
    reason = status and distrust(path, status, sharing)
    if reason:
        return (
            f"{path} {reason}. Have {CACHE_VARIABLE} name a folder of your own, or empty this one and change that "
            f"(chown, chmod go-w), {OTHERWISE}"
        )
    above = _parent_distrust(path, sharing)
    return above and f"{above}: have {CACHE_VARIABLE} name a folder elsewhere, {OTHERWISE}"


@cache
def _parent_distrust(path: Path, sharing: Sharing) -> str | None:
    """Return which parent folder allows other users to replace this one, or None; missing parents are skipped."""
    if sharing.trusts_all or not hasattr(os, "getuid"):
        return None
    trusted = (ROOT, os.getuid(), _unmapped())
    for link in (path, *path.parents):
        try:
            status = link.lstat()
        except OSError:
            continue
        owner = status.st_uid
        if stat.S_ISLNK(status.st_mode) and owner not in trusted and not sharing.trusts_group:
            return f"user {owner} may lead {path} elsewhere, as the owner of the link {link}"
    for parent in dict.fromkeys([*path.parents, *Path(os.path.realpath(path)).parents]):
        try:
            status = parent.stat()
        except OSError:
            continue
        mode, member = status.st_mode, sharing.trusts_group and status.st_gid in _groups()
        if not (member or status.st_uid in trusted):
            return f"user {status.st_uid} may replace {path}, as the owner of {parent}"
        group = mode & stat.S_IWGRP and not (member or _is_safe(parent, status.st_gid))
        if (mode & stat.S_IWOTH or group) and not mode & stat.S_ISVTX:
            return f"others may replace {path}, as {parent} has mode {stat.S_IMODE(mode):04o}"
    return None


@cache
def _unmapped() -> int:
    """Return the user id that a container shows for folders of the host whose owner it does not map, such as root's."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_bytes())
    except (OSError, ValueError):
        return ROOT


def _is_safe(at: Path | int, gid: int) -> bool:
    """Whether a group that may write a folder or file is root's or this user's alone, and no access list is there."""
    return (gid == ROOT or _is_own_group(gid)) and not _has_list(at)


def _has_list(at: Path | int) -> bool:
    try:
        return bool(os.getxattr(at, "system.posix_acl_access"))
    except (AttributeError, OSError):  # no access lists in this operating system or file system, or none for this file
        return False


@cache
def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's own, as many systems have one for each user, of the user's name."""
    import grp
    import pwd

    try:
        group, name = grp.getgrgid(gid), pwd.getpwuid(os.getuid()).pw_name
    except (KeyError, OSError):  # no such group or user, or their directory does not answer
        return False
    return group.gr_name == name and set(group.gr_mem) <= {name}


def _groups() -> set[int]:
    return {os.getegid(), *os.getgroups()}
