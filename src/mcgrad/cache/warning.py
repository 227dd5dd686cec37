"""Warnings about the cache folder, each given once in a process."""

from __future__ import annotations

import warnings

from mcgrad.errors import CacheWarning, user_level

_said: set[str] = set()


def once(message: str) -> None:
    """Warn, unless this process has given the same message."""
    if message not in _said:
        _said.add(message)
        warnings.warn(message, CacheWarning, stacklevel=user_level())
