"""Keep the process-wide settings that code of one job file changes apart from other job files.

The code of a job file runs in a `Surroundings`, which restores them afterwards.
"""

from __future__ import annotations

import gc
import locale
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from mcgrad.system.locks import Lock


class _Setting(NamedTuple):
    """A setting of the process or the thread: how to read and how to change it."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _read_folder() -> str | None:
    with suppress(OSError):  # the folder has been removed
        return os.getcwd()
    return None


def _write_folder(folder: str | None) -> None:
    with suppress(OSError):
        os.chdir(folder or "")


def _read_environment() -> dict[str, str]:
    """Return all environment variables but those that libraries set for the OpenMP runtime when they are imported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}


def _write_environment(wanted: dict[str, str]) -> None:
    for name in _read_environment().keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _read_umask() -> int | None:
    """Read the umask from /proc: `os.umask` would change it for a moment, in which other threads may make files."""
    with suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return next((int(line.partition(":")[2], 8) for line in file if line.startswith("Umask:")), None)
    return None


def _read_streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr


def _write_streams(streams: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


def _raise_recursion_limit(limit: int) -> None:
    """Restore a limit that is lower now; a higher one stays, as a compilation in any thread may need it."""
    sys.setrecursionlimit(max(limit, sys.getrecursionlimit()))


KEPT = {  # set again for later code of the same job file
    "working folder": _Setting(_read_folder, _write_folder),
    "environment": _Setting(_read_environment, _write_environment),
    "sys.path": _Setting(lambda: [*sys.path], lambda path: sys.path.__setitem__(slice(None), path)),
    "sys.argv": _Setting(lambda: [*sys.argv], lambda words: sys.argv.__setitem__(slice(None), words)),
    "floating-point errors": _Setting(lambda: np.geterr(), lambda found: np.seterr(**found)),
}
PUT_BACK = {
    "standard streams": _Setting(_read_streams, _write_streams),
    "umask": _Setting(_read_umask, lambda mask: None if mask is None else os.umask(mask)),
    "locale": _Setting(lambda: locale.setlocale(locale.LC_ALL), lambda found: locale.setlocale(locale.LC_ALL, found)),
    "garbage collection": _Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "switch interval": _Setting(sys.getswitchinterval, sys.setswitchinterval),
    "recursion limit": _Setting(sys.getrecursionlimit, _raise_recursion_limit),
}


_one = Lock()


class Surroundings:
    """A context in which code of one job file runs.

    On entry the settings in `KEPT` and the filters of warnings are as code of the same file left them. On exit they are
    restored, and so are those in `PUT_BACK`. Settings that the code does not change are not written, as other threads
    run at the same time. Contexts of one object may nest. Those of several threads run one after the other, as most
    settings belong to the process.
    """

    def __init__(self) -> None:
        self._own: dict[str, Any] = {}
        self._filters: list[Any] | None = None
        self._depth = 0

    def __enter__(self) -> None:
        _one.__enter__()
        self._depth += 1
        if self._depth > 1:
            return
        self._outside = {name: setting.read() for name, setting in {**KEPT, **PUT_BACK}.items()}
        for name, value in self._own.items():
            KEPT[name].write(value)
        self._list = warnings.filters  # the list object: another thread may have replaced it at exit
        self._outside_filters = [*self._list]
        if self._filters is not None:
            _write_filters(self._list, self._filters)

    def __exit__(self, *error: object) -> None:
        try:
            self._depth -= 1
            if not self._depth:
                self._leave()
        finally:
            _one.__exit__(None, None, None)

    def _leave(self) -> None:
        for name, setting in {**KEPT, **PUT_BACK}.items():
            found = setting.read()
            if found != self._outside[name]:
                setting.write(self._outside[name])
                if name in KEPT:
                    self._own[name] = found
            else:
                self._own.pop(name, None)
        if [*self._list] != self._outside_filters:
            self._filters = [*self._list]
            _write_filters(self._list, self._outside_filters)
        else:
            self._filters = None


def _write_filters(filters: Any, wanted: list[Any]) -> None:
    filters[:] = wanted
    with warnings.catch_warnings():  # invalidates Python's cache of the filters
        pass
