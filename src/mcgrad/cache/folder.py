"""Read, write and remove the files of the cache folder by name, where folder and file pass the checks of `trust`.

No function raises an OSError: a file that cannot be read counts as missing, one that cannot be written is not kept, and
each reason gives one warning in a process. A read-only folder, such as one of root's for all users of a machine, is
used without a warning.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from mcgrad.cache.settings import CACHE_VARIABLE, PRIVATE, Sharing, cache_folder, sharing
from mcgrad.cache.trust import distrust, folder_distrust
from mcgrad.cache.warning import once
from mcgrad.system.atomic import write as write_file

LARGEST = 1 << 28  # bytes of a file
SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
OPEN, OPEN_LOCK = os.O_RDONLY | SAFELY, os.O_RDWR | os.O_CREAT | SAFELY
NO_FILE = (errno.ELOOP, errno.EMLINK, errno.ENXIO)  # of a link, on BSD, of a socket
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def obstacle() -> str | None:
    """Return why the cache folder is not used, with the remedy; None where it is used, or will be made."""
    path = cache_folder()
    if not path.is_absolute():
        return f"{path} names no folder, as its home, or the working folder, is not there: set {CACHE_VARIABLE}"
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    except OSError as error:
        return f"{path} cannot be looked at ({error.strerror}): have {CACHE_VARIABLE} name another folder"
    if status is not None and stat.S_ISDIR(status.st_mode) and not os.access(path, os.R_OK | os.X_OK):
        return f"{path} may not be read by this user: change its mode, or have {CACHE_VARIABLE} name another folder"
    return folder_distrust(path, status, sharing())


def usable() -> bool:
    """Return whether the cache folder is used; warn once with the reason where it is not."""
    reason = obstacle()
    if reason is not None:
        once(f"The cache is not used: {reason}.")
    return reason is None


class UnusableError(Exception):
    """A file that is not a regular one, cannot be read to its end, or that others may have written."""


def read(name: str) -> bytes | None:
    """Return the content of a file, or None where it does not exist or may not be read.

    Raises
    ------
    UnusableError
        A file that cannot be used; the message is the reason, to follow its name.
    """
    if not usable():
        return None
    path = cache_folder() / name
    try:
        handle = os.open(path, OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in NO_FILE:
            raise UnusableError(f"is not a file ({error.strerror})") from error
        once(f"{path} cannot be read ({error.strerror}).")
        return None
    try:
        status = os.fstat(handle)
        reason = distrust(handle, status, sharing())
        if not stat.S_ISREG(status.st_mode):
            reason = "is not a file"
        elif status.st_size > LARGEST:
            reason = f"has {status.st_size:,} bytes"
        if reason is None:
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(LARGEST)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    finally:
        os.close(handle)
    raise UnusableError(reason)


def write(name: str, content: bytes) -> bool:
    """Write a file atomically; return whether it exists now."""
    if len(content) > LARGEST or not usable():
        return False
    path, shared = cache_folder() / name, sharing()
    try:
        _make(path.parent, shared)
        write_file(path, content, shared.file)
        if shared is not PRIVATE:
            _permit(path, shared.file)
    except OSError as error:
        if not (error.errno in READ_ONLY and os.path.isdir(path.parent)):
            remedy = f"{CACHE_VARIABLE} may name another folder"
            once(f"The cache is not written: {path.parent} ({error.strerror}). {remedy}.")
        return False
    return True


def open_lock(name: str) -> int | None:
    """Open the file of a lock, which is made where it does not exist; None where it cannot be opened for writing."""
    if not usable():
        return None
    path, shared = cache_folder() / name, sharing()
    try:
        _make(path.parent, shared)
        handle = os.open(path, OPEN_LOCK, shared.file)
    except OSError:
        return None
    if shared is not PRIVATE:
        _permit(path, shared.file)
    return handle


def is_at(name: str, handle: int) -> bool:
    """Return whether an open file is the one of this name: it may have been removed since it was opened."""
    try:
        return os.path.samestat(os.stat(cache_folder() / name, follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False


def exists(name: str) -> bool:
    """Return whether the folder is used and has a file of this name."""
    return usable() and os.path.isfile(cache_folder() / name)


def drop(name: str) -> bool:
    """Remove a file, a link or an empty folder; return whether it is gone."""
    path = cache_folder() / name
    try:
        path.unlink(missing_ok=True)
    except OSError:
        try:
            path.rmdir()
        except OSError:
            return False
    return True


def discard(name: str, reason: str) -> None:
    """Remove a damaged or unusable file, with a warning."""
    done = "It was removed" if drop(name) else "It cannot be removed"
    once(f"{cache_folder() / name} {reason}. {done}; what it holds is made again.")


def names() -> list[str]:
    """Return the names of all files in the folder; none where it is not used."""
    try:
        return os.listdir(cache_folder()) if usable() else []
    except OSError:
        return []


def _make(path: Path, sharing: Sharing) -> None:
    """Make the folder and its missing parents, with permissions that do not depend on the umask."""
    if path.is_dir():
        return
    missing = [path, *(parent for parent in path.parents if not parent.is_dir())]
    for folder in reversed(missing):
        try:
            folder.mkdir(0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            _permit(folder, sharing.folder if folder == path else sharing.folder & 0o755)


def _permit(path: Path, mode: int) -> None:
    """Set permissions, whatever the umask; do nothing on file systems that have no permissions."""
    with suppress(OSError):  # as of the drivers of object stores and of some memory cards
        path.chmod(mode)
