"""Threads of libraries we call: BLAS must not multiply its own with ours."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit every BLAS in this process to one thread, until the context ends."""
    limits: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limits


@cache
def _controller() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401 - a library must be loaded to be found
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
