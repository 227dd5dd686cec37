"""``mcgrad cache info`` and ``mcgrad cache clear``."""

from __future__ import annotations

import os
import time

from mcgrad.cache import limit
from mcgrad.cache.folder import obstacle
from mcgrad.cache.settings import cache_folder, sharing


def show_cache() -> None:
    """Print the path of the cache, whether it is used, its size, and its size limit."""
    folder = cache_folder()
    found = limit.entries(folder)
    lines = {
        "folder": f"{folder}",
        "used": _used(),
        "mode": sharing().name,
        "entries": f"{len(found)}",
        "size": f"{sum(entry.size for entry in found) / 1e6:.1f} MB",
        "limit": f"{limit.size_limit() / 1e6:.0f} MB (${limit.SIZE_VARIABLE})",
        "oldest use": f"{time.strftime('%Y-%m-%d', time.localtime(found[0].used))}" if found else "none",
    }
    width = max(map(len, lines))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines.items()))


def clear_cache() -> None:
    """Remove compiled code from the cache folder, and print how much it was; measured rates stay."""
    folder = cache_folder()
    files, size = limit.clear(folder)
    print(f"removed {files} files, {size / 1e6:.1f} MB, from {folder}")


def _used() -> str:
    reason = obstacle()
    if reason is not None:
        return f"no: {reason}"
    folder = cache_folder()
    if not os.path.isdir(folder):
        return "yes; it will be made"
    return "yes" if os.access(folder, os.W_OK) else "yes, for reading; this user may not write it"
