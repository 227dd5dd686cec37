"""Arrays on a CUDA device: recognize them, convert them to CuPy without a copy, copy them from and to host memory.

Values with ``__cuda_array_interface__`` or DLPack are such arrays: those of CuPy, PyTorch, JAX and Numba. The package
itself uses CuPy's. NumPy's functions accept these, so that the same code serves arrays on host and device, as long as
one call does not mix the two.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mcgrad.errors import BackendError, ParameterError, shown
from mcgrad.system import packages

CUPY = ("cupy", "cupyx", "cupy_backends", "cuda")  # packages of the exceptions that CuPy's calls raise
DLPACK_CUDA = (2, 13)  # device types of DLPack: memory of a device, and managed memory

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


class computing:  # noqa: N801 - a function of the context manager's, that each call of an Estimator enters
    """Raise a BackendError with the remedy where CuPy fails as it computes with arrays on a device."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            found = failure(error)
            if found is not None:
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
        except (AttributeError, RuntimeError):  # as PyTorch raises for a tensor that is not on a CUDA device
            pass
    try:
        return hasattr(kind, "__dlpack_device__") and value.__dlpack_device__()[0] in DLPACK_CUDA
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return False


def any_on_device(values: Iterable[Any]) -> bool:
    """Whether one of some values is an array on a CUDA device."""
    others = [value for value in values if type(value) is not np.ndarray]
    return bool(others) and any(map(on_device, others))


def as_cupy(name: str, value: Any) -> Any:
    """Return a CuPy array of the same memory.

    Raises
    ------
    ParameterError
        CuPy cannot convert it, such as a sparse array, or a tensor that requires a gradient.
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
    """Return a copy on the current device: a CuPy array, typed as NumPy's."""
    placed: npt.NDArray[Any] = cupy().asarray(array)
    return placed


def to_host(array: Any) -> npt.NDArray[Any]:
    """Return the array if it is in host memory, or a copy there of one on a device."""
    host: npt.NDArray[Any] = array.get() if on_device(array) else array
    return host


def all_to_host(values: Mapping[Name, Any]) -> dict[Name, npt.NDArray[Any]]:
    """Return arrays in host memory, by name; BackendError where the device does not give them back."""
    if not any_on_device(values.values()):
        return dict(values)
    with computing():
        return {name: to_host(value) for name, value in values.items()}


def all_true(conditions: Iterable[Any]) -> bool:
    """Return whether all conditions hold; those on the device are copied to the host together."""
    there = []
    for condition in conditions:
        if condition is True:
            continue
        if on_device(condition):
            there.append(condition)
        elif not condition:
            return False
    return not there or bool(np.stack(there).all())


def special(array: Any) -> Any:
    """Return the module of special functions for an array: SciPy's, or CuPy's."""
    return importlib.import_module("cupyx.scipy.special" if on_device(array) else "scipy.special")


def as_dtype(array: Any, dtype: np.dtype[Any]) -> Any:
    """Return an array of a dtype, in the same memory space."""
    return array.astype(dtype, copy=False) if on_device(array) else np.asarray(array, dtype)


def synchronize() -> None:
    """Wait for all work in the current stream, so that other streams may read its results."""
    cupy().cuda.get_current_stream().synchronize()


def flat_to_host(values: Iterable[Any]) -> list[npt.NDArray[Any]]:
    """Return arrays, flat and in host memory; those on the device are copied together."""
    values = list(values)
    there = [value.ravel() for value in values if on_device(value)]
    if not there:
        return [value.ravel() for value in values]
    ends = np.cumsum([value.size for value in there])
    parts = iter(np.split(to_host(np.concatenate(there)), ends[:-1]))
    return [next(parts) if on_device(value) else value.ravel() for value in values]


def joined(parts: Sequence[Any]) -> Any:
    """Return arrays of a device one after the other, along the first axis: by copies there alone.

    CuPy may copy a table of addresses from the host to concatenate, which a CUDA graph cannot hold.
    """
    first, start = parts[0], 0
    found = cupy().empty((sum(map(len, parts)), *first.shape[1:]), first.dtype)
    for part in parts:
        found[start : start + len(part)] = part
        start += len(part)
    return found


def contiguous(array: Any) -> Any:
    """Return an array in C order, in the same memory space."""
    return array if array.flags.c_contiguous else array.copy()


def to_common_device(values: Iterable[Any]) -> list[Any]:
    """Return arrays that can be passed to one NumPy function: all on the device, if one is."""
    values = list(values)
    if not any_on_device(values):
        return values
    return [value if on_device(value) else to_device(value) for value in values]


def stream_context(stream: Any) -> AbstractContextManager[Any]:
    """Return a context in which a stream is CuPy's current one, so that work is ordered after what it holds.

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
    """A stream of another library, with the protocol that CuPy 14 requires; refers to its owner to keep it alive."""

    __slots__ = ("_address", "_owner")

    def __init__(self, address: int, owner: Any) -> None:
        self._address, self._owner = address, owner

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._address


def stream_at(address: int, owner: Any = None) -> AbstractContextManager[Any]:
    """Return CuPy's object for a stream of another library: a context in which it is the current one."""
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
