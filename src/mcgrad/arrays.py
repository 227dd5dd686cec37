"""Arrays on a CUDA device: which values are such, and how they come to CuPy without a copy.

Anything with ``__cuda_array_interface__`` or DLPack is one: of CuPy, PyTorch, JAX, Numba. All of ours are CuPy's, whose
arrays answer NumPy's functions, so that code for NumPy arrays serves both; what it may not do is mix the two.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mcgrad.errors import BackendError, ParameterError, shown
from mcgrad.system import packages

CUPY = ("cupy", "cupyx", "cupy_backends", "cuda")  # where the errors of CuPy's calls are defined
DLPACK_CUDA = (2, 13)  # device types: its own memory, and managed memory

Name = TypeVar("Name")


def cupy() -> Any:
    """Import CuPy.

    Raises
    ------
    BackendError
        It is not installed, or does not load.
    """
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            f"CuPy, which holds the memory of GPUs, does not import ({error}): {packages.cuda()}"
        ) from None
    return cupy


@contextmanager
def computing() -> Iterator[None]:
    """Raise a BackendError with the remedy where CuPy fails as it computes with arrays on a device."""
    try:
        yield
    except Exception as error:
        found = failure(error)
        if found is None:
            raise
        raise found from error


def failure(error: Exception) -> BackendError | None:
    """Return what to raise for an error of CuPy's own computations, or None for others."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError) or "libnvrtc" in said or type(error).__name__ == "DynamicLibNotFoundError":
        remedy = f"CuPy calls libraries of CUDA: {packages.cuda_libraries()}"
    elif type(error).__module__.partition(".")[0] in CUPY:
        remedy = "nvidia-smi may say whether the device is well"
    else:
        return None
    return BackendError(f"CuPy fails at a computation on the device ({said}). {remedy}; arrays of the host do without")


def on_device(value: Any) -> bool:
    """Whether a value is an array on a CUDA device."""
    kind = type(value)
    if kind is np.ndarray or kind is float or kind is int:
        return False
    if hasattr(kind, "__cuda_array_interface__"):
        try:
            return value.__cuda_array_interface__ is not None
        except (AttributeError, RuntimeError):  # PyTorch's way to say that a tensor is somewhere else
            pass
    try:
        return hasattr(kind, "__dlpack_device__") and value.__dlpack_device__()[0] in DLPACK_CUDA
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return False


def any_on_device(values: Iterable[Any]) -> bool:
    """Whether one of some values is an array on a CUDA device."""
    return any(type(value) is not np.ndarray and on_device(value) for value in values)


def as_cupy(name: str, value: Any) -> Any:
    """Return a CuPy array of the same memory.

    Raises
    ------
    ParameterError
        CuPy cannot take it over: it needs a derivative, say, or is sparse.
    """
    library = cupy()
    if isinstance(value, library.ndarray):
        return value
    try:
        if hasattr(type(value), "__dlpack__"):
            return library.from_dlpack(value)
        return library.asarray(value)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        given = f"{shown(value)}, which CuPy does not take over ({error})"
        raise ParameterError(name, given, "a dense array of real numbers on a CUDA device") from None


def to_device(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy on the current device: CuPy's, but for its type as good as NumPy's."""
    placed: npt.NDArray[Any] = cupy().asarray(array)
    return placed


def to_host(array: Any) -> npt.NDArray[Any]:
    """Return an array in host memory: itself, or a copy of one on a device."""
    host: npt.NDArray[Any] = array.get() if on_device(array) else array
    return host


def all_to_host(values: Mapping[Name, Any]) -> dict[Name, npt.NDArray[Any]]:
    """Return arrays in host memory, by name; BackendError where the device does not give them back."""
    if not any_on_device(values.values()):
        return dict(values)
    with computing():
        return {name: to_host(value) for name, value in values.items()}


def all_true(answers: Iterable[Any]) -> bool:
    """Whether all of some answers are yes; those on the device are fetched at once."""
    there = []
    for answer in answers:
        if answer is True:
            continue
        if on_device(answer):
            there.append(answer)
        elif not answer:
            return False
    return not there or bool(np.stack(there).all())


def special(array: Any) -> Any:
    """Return the module of special functions for an array: SciPy's, or CuPy's."""
    return importlib.import_module("cupyx.scipy.special" if on_device(array) else "scipy.special")


def as_dtype(array: Any, dtype: np.dtype[Any]) -> Any:
    """Return an array of a dtype, where it is."""
    return array.astype(dtype, copy=False) if on_device(array) else np.asarray(array, dtype)


def synchronize() -> None:
    """Wait until what the current stream holds is done: what was copied there may be read in any other."""
    cupy().cuda.get_current_stream().synchronize()


def flat_to_host(values: Iterable[Any]) -> list[npt.NDArray[Any]]:
    """Return the elements of arrays in host memory; of those on the device in one copy."""
    values = list(values)
    there = [value.ravel() for value in values if on_device(value)]
    if not there:
        return [value.ravel() for value in values]
    ends = np.cumsum([value.size for value in there])
    parts = iter(np.split(to_host(np.concatenate(there)), ends[:-1]))
    return [next(parts) if on_device(value) else value.ravel() for value in values]


def contiguous(array: Any) -> Any:
    """Return an array in C order, where it is."""
    return array if array.flags.c_contiguous else array.copy()


def to_common_device(values: Iterable[Any]) -> list[Any]:
    """Return arrays that NumPy's functions take together: all on the device, if one is."""
    values = list(values)
    if not any_on_device(values):
        return values
    return [value if on_device(value) else to_device(value) for value in values]


def stream_context(stream: Any) -> AbstractContextManager[Any]:
    """Make a stream CuPy's current one, after which our work is ordered.

    Parameters
    ----------
    stream : stream or None
        CuPy's, an address, or anything with ``__cuda_stream__``, ``cuda_stream`` (PyTorch) or ``ptr``; None to keep
        the current one.
    """
    if stream is None:
        return nullcontext()
    if isinstance(stream, cupy().cuda.Stream):
        return stream  # type: ignore[no-any-return]
    return stream_at(_address(stream), stream)


class Foreign:
    """A stream that others made, by the protocol that CuPy 14 takes streams by; it keeps their object alive."""

    __slots__ = ("_address", "_owner")

    def __init__(self, address: int, owner: Any) -> None:
        self._address, self._owner = address, owner

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._address


def stream_at(address: int, owner: Any = None) -> AbstractContextManager[Any]:
    """Return CuPy's object for a stream that CuPy did not make: the context in which it is the current one."""
    kind = cupy().cuda
    if hasattr(kind.Stream, "from_external"):  # from CuPy 14 on, which deprecates the other
        return kind.Stream.from_external(Foreign(address, owner))  # type: ignore[no-any-return]
    return kind.ExternalStream(address)  # type: ignore[no-any-return]


def _address(stream: Any) -> int:
    if isinstance(stream, int) and not isinstance(stream, bool):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        return int((protocol() if callable(protocol) else protocol)[1])
    for name in ("cuda_stream", "ptr", "handle"):
        found = getattr(stream, name, None)
        if found is not None:
            return int(getattr(found, "value", found) or 0)
    raise ParameterError("stream", shown(stream), "a CuPy stream, one with __cuda_stream__, or its address")
