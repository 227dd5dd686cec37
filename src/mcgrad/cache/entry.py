"""Entries of the cache: files with a checksum of their name and content, which `toolchain` reads and writes.

An entry whose checksum does not hold is removed, and its content is not used. The name holds a hash of everything that
the content depends on, so an entry under the name of another one counts as damaged.
"""

from __future__ import annotations

from hashlib import blake2b

from mcgrad.cache import folder, limit
from mcgrad.cache.limit import SUFFIX

MAGIC = b"mcgrad cache 1\n"
SIZE = 32  # bytes of a checksum


def file_name(key: str, kind: str) -> str:
    """Return the name of an entry's file: its `key`, and the kind of its content."""
    return f"{key}.{kind}{SUFFIX}"


def find(name: str) -> bytes | None:
    """Return the content of an entry, or None where there is none; a damaged one is removed."""
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
    """Write an entry atomically; return whether it exists now."""
    file = MAGIC + _checksum(name, content) + content
    kept = limit.admits(len(file)) and folder.write(name, file)
    if kept:
        limit.added(len(file))
    return kept


def _checksum(name: str, content: bytes) -> bytes:
    digest = blake2b(name.encode() + b"\n", digest_size=SIZE)
    digest.update(content)
    return digest.digest()
