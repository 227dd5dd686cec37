"""Entries: files of the cache folder whose checksum covers their name and all of their content.

An entry whose checksum does not hold is removed and is as if it had never been there: nothing of it is looked at. A
name holds a hash of all that the content depends on, so an entry under another's name is a damaged one, too.
"""

from __future__ import annotations

from hashlib import blake2b

from mcgrad.cache import folder, limit
from mcgrad.cache.limit import SUFFIX

MAGIC = b"mcgrad cache 1\n"
SIZE = 32  # bytes of a checksum


def file_name(key: str, kind: str) -> str:
    """Name an entry's file by a hash of what its content depends on, and what kind of content that is."""
    return f"{key}.{kind}{SUFFIX}"


def find(name: str) -> bytes | None:
    """Return an entry's content, or None where there is no sound entry; a damaged one is removed."""
    try:
        found = folder.read(name)
    except folder.UnusableError as error:
        folder.discard(name, str(error))
        return None
    if found is None:
        return None
    head, content = found[: len(MAGIC) + SIZE], found[len(MAGIC) + SIZE :]
    if head != MAGIC + _checksum(name, content):
        folder.discard(name, "is damaged: its checksum does not hold")
        return None
    limit.used(name)
    return content


def keep(name: str, content: bytes) -> bool:
    """Write an entry, at once or not at all; return whether it is there now."""
    file = MAGIC + _checksum(name, content) + content
    kept = limit.admits(len(file)) and folder.write(name, file)
    if kept:
        limit.added(len(file))
    return kept


def _checksum(name: str, content: bytes) -> bytes:
    digest = blake2b(name.encode() + b"\n", digest_size=SIZE)
    digest.update(content)
    return digest.digest()
