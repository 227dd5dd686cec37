"""The backends by name: ours, those that are registered, and those of installed packages."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import metadata

from mcgrad.backends.base import Backend
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.cuda.backend import CudaBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.errors import BackendError, BackendWarning, ParameterError, shown
from mcgrad.system.kind import Kind, Kinds, kind_here

AUTO = "auto"
BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (NumpyBackend(), CpuBackend(), CudaBackend())}
GROUP = "mcgrad.backends"  # of entry points
METHODS = ("unavailable", "cost", "compile")


def register_backend(backend: Backend) -> None:
    """Let `backend=` name another backend, ``"auto"`` choose it, and `verify` check it.

    A package registers one, wherever it is installed, by an entry point of the group ``mcgrad.backends`` that leads
    to the backend, or to its class.

    Parameters
    ----------
    backend : Backend
        An object with ``name``, ``unavailable()``, ``cost(program, draws, threads)`` and ``compile(program)``, as
        `mcgrad.backends.base.Backend` describes them.

    Raises
    ------
    ParameterError
        Something is missing, or the name is taken.
    """
    given = f"the class {backend.__name__}" if isinstance(backend, type) else shown(backend)
    name = getattr(backend, "name", None)
    lacking = [method for method in METHODS if not callable(getattr(backend, method, None))]
    if isinstance(backend, type):
        raise ParameterError("backend", given, f"an object: {backend.__name__}()")
    if not isinstance(name, str) or not name:
        lacking = ["name", *lacking]
    if lacking:
        accepted = "what mcgrad.backends.base.Backend describes: name, unavailable(), cost(), compile()"
        raise ParameterError("backend", f"{given}, without {', '.join(lacking)}", accepted)
    if name == AUTO or name in BACKENDS:
        taken = ", ".join(repr(known) for known in (AUTO, *BACKENDS))
        raise ParameterError("backend.name", repr(name), f"a name that is not taken; taken are {taken}")
    BACKENDS[backend.name] = backend


def backends() -> dict[str, Backend]:
    """Return all backends by name, in the order in which they were registered."""
    _discover()
    return dict(BACKENDS)


def check_name(name: str) -> str:
    """Return a backend's name, or "auto"."""
    return name if isinstance(name, str) and name == AUTO else _known(name, AUTO)


def find(name: str) -> Backend:
    """Return a backend that can run here, by its name.

    Raises
    ------
    BackendError
        It cannot run here; says why.
    """
    backend = BACKENDS[_known(name)]
    reason = backend.unavailable()
    if reason is not None:
        raise BackendError(f'backend "{name}" is not available: {reason}')
    return backend


def kind_of(name: str) -> Kind:
    """Return the kind of this process on a backend: with its device, once a backend that has one has run."""
    device = getattr(BACKENDS.get(name), "device", None)
    return kind_here(name) if device is None else kind_here(name, device() or "")


def kinds_of(names: str) -> Kinds:
    """Return the kinds of this process on backends whose names are joined by "+"."""
    found = _kinds.get(names)
    if found is None:
        found = tuple(kind_of(name) for name in names.split("+"))
        if not any(hasattr(BACKENDS.get(name), "device") for name in names.split("+")):
            _kinds[names] = found
    return found


_kinds: dict[str, Kinds] = {}  # of backends without a device, by their names


def _known(name: str, *others: str) -> str:
    if not isinstance(name, str) or (name not in BACKENDS and name not in backends()):
        raise ParameterError("backend", shown(name), " or ".join(repr(known) for known in (*others, *backends())))
    return name


@cache
def _discover() -> None:
    """Register what installed packages offer, once; what fails is left out with a warning."""
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found = entry.load()
            register_backend(found() if isinstance(found, type) else found)
        except Exception as error:  # whatever a package that happens to be installed may raise
            message = f"the entry point {entry.name} = {entry.value} gives no backend: {error}"
            warnings.warn(message, BackendWarning, stacklevel=2)
