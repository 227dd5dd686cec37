"""The backends by name, and the choice among them."""

from __future__ import annotations

from mcgrad.backends.base import Backend
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.errors import BackendError, ParameterError, shown

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (NumpyBackend(), CpuBackend())}
AUTO = "auto"


def check_name(name: str) -> str:
    """Return a backend's name, or "auto"."""
    if not isinstance(name, str) or name not in (AUTO, *BACKENDS):
        raise ParameterError("backend", shown(name), " or ".join(repr(known) for known in (AUTO, *BACKENDS)))
    return name


def find(name: str) -> Backend:
    """Return a backend that can run here; "auto" is the fastest that can.

    Raises
    ------
    BackendError
        It cannot run here; says why.
    """
    if name == AUTO:
        return next(backend for backend in reversed(BACKENDS.values()) if backend.unavailable() is None)
    backend = BACKENDS[check_name(name)]
    reason = backend.unavailable()
    if reason is not None:
        raise BackendError(f'backend "{name}" is not available: {reason}')
    return backend
