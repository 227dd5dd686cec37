"""What runs on the workers of a Dask cluster, and the check before it: a worker that cannot do tasks is named.

Functions are sent as code, not by name: a worker without mcgrad that is sent a name from it leaves the cluster without
an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from mcgrad import __version__
from mcgrad.errors import ExecutorError
from mcgrad.tasks.task import Done

SHOWN = 20  # workers that a message names
_checked: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()  # addresses of workers, by client


def check_workers(client: Any) -> None:
    """Raise an error if workers lack what tasks need. Those that a client has checked are not asked again.

    Parameters
    ----------
    client : dask.distributed.Client

    Raises
    ------
    ExecutorError
        Some have no mcgrad or no Numba, or another version of mcgrad or Python than this process.
    """
    known = _checked.get(client, frozenset())
    there = frozenset(client.nthreads())
    new = sorted(there - known)
    wrong = unfit(client, new) if new else {}
    if wrong:
        raise ExecutorError(as_text(wrong))
    _checked[client] = there


def unfit(client: Any, workers: list[str] | None = None) -> dict[str, str]:
    """Return what is wrong with workers, by address; nothing of those that can do tasks.

    Parameters
    ----------
    client : dask.distributed.Client
    workers : list of str, optional
        Addresses; all workers if left out.
    """
    found = client.run(VERSIONS, workers=workers, on_error="return")
    reasons = {address: _reason(versions) for address, versions in found.items()}
    return {address: reason for address, reason in reasons.items() if reason}


def as_text(wrong: Mapping[str, str]) -> str:
    """Write what is wrong with workers, and the remedy."""
    named = [f"{address}: {reason}" for address, reason in sorted(wrong.items())[:SHOWN]]
    more = [f"and {len(wrong) - SHOWN} others"] if len(wrong) > SHOWN else []
    remedy = f"Workers need mcgrad {__version__} with Numba, and Python {_python()}, as this process has"
    number = "a worker" if len(wrong) == 1 else f"{len(wrong)} workers"
    return f"{number} cannot do tasks: {'; '.join(named + more)}. {remedy}"


def _reason(versions: Mapping[str, str] | BaseException) -> str:
    if isinstance(versions, OSError):  # the worker has gone meanwhile
        return ""
    if isinstance(versions, BaseException):
        return f"asked for its versions, it raises {type(versions).__name__}: {versions}"
    wanted = {"mcgrad": __version__, "Python": _python(), "Numba": "there"}
    different = {name: versions[name] for name, version in wanted.items() if versions[name] != version}
    return ", ".join(f"{name} {version}" if version else f"no {name}" for name, version in different.items())


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _made() -> tuple[Callable[[], dict[str, str]], Callable[[str, bytes, bytes | None], Done]]:
    """Return functions that are pickled as code, being local: they refer to nothing of this module."""

    def versions() -> dict[str, str]:
        import sys
        from contextlib import suppress
        from importlib import import_module
        from importlib.util import find_spec

        found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}", "mcgrad": "", "Numba": ""}
        with suppress(ImportError):
            found["mcgrad"] = str(getattr(import_module("mcgrad"), "__version__", "of no version"))
        with suppress(ImportError, ValueError):
            found["Numba"] = "there" if find_spec("numba") else ""  # to import it takes long
        return found

    def on_worker(version: str, task: bytes, content: bytes | None) -> Done:
        import pickle
        from dataclasses import replace

        from distributed import get_worker

        from mcgrad import __version__ as here

        if here != version:
            raise ImportError(f"mcgrad {here} is not mcgrad {version}")
        from mcgrad.tasks.work import work

        return replace(work(pickle.loads(task), content), worker=get_worker().address)

    return versions, on_worker


VERSIONS, ON_WORKER = _made()
