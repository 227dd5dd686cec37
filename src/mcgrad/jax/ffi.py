"""The handler that XLA calls: reads a call frame, lets a `Call` compute, writes the results into XLA's buffers.

It is a ctypes callback, so nothing is compiled, and XLA may call it from any thread. It is registered once a process,
and finds the `Call` by the number that is the one attribute of the op.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from mcgrad.arrays import cupy, stream_at, to_host
from mcgrad.errors import McgradError
from mcgrad.jax import structures as xla
from mcgrad.jax.host_call import Call, call_of

TARGET = "mcgrad_estimate"
PLATFORMS = {"cpu": "cpu", "cuda": "CUDA"}  # names of JAX, and those under which targets are registered

Array = npt.NDArray[Any]


@cache
def available(platform: str) -> bool:
    """Whether the target can be called on a platform; registers it at the first question.

    Parameters
    ----------
    platform : {"cpu", "cuda"}

    Notes
    -----
    False where JAX has no `jax.ffi`, where its header states another major version of the interface than the one that
    `structures` mirrors, and for CUDA without CuPy. A handler that XLA refuses would stop JAX from starting, so the
    version is read before anything is registered.
    """
    if not hasattr(jax, "ffi") or _major() != xla.MAJOR:
        return False
    if platform == "cuda" and not importlib.util.find_spec("cupy"):
        return False
    address = ctypes.cast(HANDLERS[platform], ctypes.c_void_p).value
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(address), platform=PLATFORMS[platform], api_version=1)
    return True


def _major() -> int | None:
    """Return the major version of the interface by JAX's own header, or None without one."""
    try:
        header = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text(encoding="utf-8")
    except (OSError, RuntimeError):
        return None
    found = re.search(r"^#define XLA_FFI_API_MAJOR (\d+)", header, re.MULTILINE)
    return int(found[1]) if found else None


def _on_cpu(address: int) -> int | None:
    frame = xla.CallFrame.from_address(address)
    if frame.extension_start and _answered(frame):
        return None
    try:
        call = _call(frame)
        words, *operands = _arrays(frame.args, call.operand_types, _readable)
        call(words, operands, _arrays(frame.rets, call.result_types, _writable))
    except BaseException as error:
        return _failed(frame, error)
    return None


def _on_cuda(address: int) -> int | None:
    """Compute in XLA's stream on its device; the words of the seed are copied to the host, which waits for them."""
    frame = xla.CallFrame.from_address(address)
    if frame.extension_start and _answered(frame):
        return None
    try:
        call = _call(frame)
        words, *operands = _arrays(frame.args, call.operand_types, _on_device)
        with words.device, stream_at(_stream(frame)):
            call(to_host(words), operands, _arrays(frame.rets, call.result_types, _on_device), "device")
    except BaseException as error:
        return _failed(frame, error)
    return None


HANDLERS = {"cpu": xla.Handler(_on_cpu), "cuda": xla.Handler(_on_cuda)}  # referred to as long as XLA may call them


def _answered(frame: Any) -> bool:
    """Answer the question for the handler's version: XLA's own, as minor versions only add what is not read here."""
    extension = xla.Extension.from_address(frame.extension_start)
    if extension.type != xla.METADATA:
        return False
    metadata = xla.MetadataExtension.from_address(frame.extension_start).metadata.contents
    version = frame.api.contents.api_version
    metadata.api_version.major, metadata.api_version.minor = version.major, version.minor
    return True


def _call(frame: Any) -> Call:
    if frame.struct_size < ctypes.sizeof(xla.CallFrame) or frame.stage != xla.EXECUTE:
        raise McgradError(f"XLA calls with a frame of {frame.struct_size} bytes in stage {frame.stage}")
    (attribute,) = _addresses(frame.attrs)
    value = xla.Scalar.from_address(attribute).value
    return call_of(ctypes.c_int64.from_address(value).value)


def _addresses(items: Any) -> Sequence[int]:
    return (ctypes.c_void_p * items.size).from_address(items.items) if items.size else ()


def _arrays(buffers: Any, types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], array: Any) -> list[Any]:
    """Return arrays on XLA's buffers."""
    data = [xla.Buffer.from_address(address).data for address in _addresses(buffers)]
    return [array(at, shape, dtype) for at, (shape, dtype) in zip(data, types, strict=True)]


def _writable(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = math.prod(shape)
    if not size:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * (size * dtype.itemsize)).from_address(address)
    array: Array = np.frombuffer(memory, dtype).reshape(shape)
    return array


def _readable(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array = _writable(address, shape, dtype)
    array.flags.writeable = False
    return array


def _on_device(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return cupy().empty(shape, dtype)
    memory = cupy().cuda.UnownedMemory(address, size, None)
    return cupy().ndarray(shape, dtype, cupy().cuda.MemoryPointer(memory, 0))


def _stream(frame: Any) -> int:
    args = xla.StreamGetArgs(ctypes.sizeof(xla.StreamGetArgs), None, frame.ctx, None)
    if frame.api.contents.stream_get(ctypes.byref(args)):
        raise McgradError("XLA gives no stream")
    return args.stream or 0


def _failed(frame: Any, error: BaseException) -> int:
    """Return XLA's error for an exception."""
    if isinstance(error, McgradError):
        message, code = f"{type(error).__name__}: {error}", xla.INVALID_ARGUMENT
    else:
        message, code = f"{type(error).__name__} in mcgrad: {error}", xla.INTERNAL
    text = message.encode("utf-8", "replace").replace(b"\0", b"")
    args = xla.ErrorCreateArgs(xla.ErrorCreateArgs.code.offset + ctypes.sizeof(ctypes.c_int), None, text, code)
    return int(frame.api.contents.error_create(ctypes.byref(args)))
