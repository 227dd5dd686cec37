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
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from mcgrad.arrays import computing, cupy, stream_at
from mcgrad.errors import McgradError
from mcgrad.jax import on_cuda, structures as xla
from mcgrad.jax.host_call import Call, call_of

TARGET = "mcgrad_estimate"
PLATFORMS: dict[str, str] = {"cpu": "cpu", "cuda": "CUDA"}  # names of JAX, and those under which targets are registered

WORD = ctypes.sizeof(ctypes.c_size_t)
WORDS = ctypes.c_size_t * (ctypes.sizeof(xla.CallFrame) // WORD)  # a call frame, of which all fields are whole words
SIZE, EXTENSION, STAGE = (
    getattr(xla.CallFrame, name).offset // WORD for name in ("struct_size", "extension_start", "stage")
)
ARGS, RETS = ((getattr(xla.CallFrame, name).offset + xla.Buffers.items.offset) // WORD for name in ("args", "rets"))
ATTRIBUTES = (xla.CallFrame.attrs.offset + xla.Attributes.size.offset) // WORD
ATTRIBUTE = (xla.CallFrame.attrs.offset + xla.Attributes.items.offset) // WORD
DATA = xla.Buffer.data.offset
VIEWS = 1024  # arrays on memory of XLA, which often gives the same memory again, that are kept

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
    if not hasattr(jax, "ffi") or _version()[0] != xla.MAJOR:
        return False
    if platform == "cuda" and not importlib.util.find_spec("cupy"):
        return False
    address = ctypes.cast(HANDLERS[platform], ctypes.c_void_p).value
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(address), platform=PLATFORMS[platform], api_version=1)
    return True


@cache
def _version() -> tuple[int, int]:
    """Return the version of the interface by JAX's own header, or (-1, -1) without one."""
    try:
        header = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text(encoding="utf-8")
    except (OSError, RuntimeError):
        return -1, -1
    major, minor = (
        re.search(rf"^#define XLA_FFI_API_{part} (\d+)", header, re.MULTILINE) for part in ("MAJOR", "MINOR")
    )
    return (int(major[1]), int(minor[1])) if major and minor else (-1, -1)


def _on_cpu(address: int) -> int | None:
    frame = WORDS.from_address(address)
    try:
        if frame[EXTENSION] and _answered(address):
            return None
        call = _call(frame)
        words, *operands = _arrays(frame[ARGS], call.operand_types, _readable)
        call(words, operands, _arrays(frame[RETS], call.result_types, _writable))
    except BaseException as error:
        return _failed(address, error)
    return None


def _on_cuda(address: int) -> int | None:
    """Compute in XLA's stream on its device."""
    frame = WORDS.from_address(address)
    try:
        if frame[EXTENSION] and _answered(address):
            return None
        call = _call(frame)
        words, *operands = _arrays(frame[ARGS], call.operand_types, _on_device)
        results, stream = _arrays(frame[RETS], call.result_types, _on_device), _stream(address)
        with computing(), words.device, stream_at(stream):
            on_cuda.compute(call, words, operands, results, words.device.id, stream)
    except BaseException as error:
        return _failed(address, error)
    return None


HANDLERS = {"cpu": xla.Handler(_on_cpu), "cuda": xla.Handler(_on_cuda)}  # referred to as long as XLA may call them


def _answered(address: int) -> bool:
    """Answer the question for the handler's version: the header's, as minor versions only add what is not read here.

    The first versions ask in a frame without functions, in which no error could be returned.
    """
    frame = xla.CallFrame.from_address(address)
    extension = xla.Extension.from_address(frame.extension_start)
    if extension.type != xla.METADATA:
        return False
    metadata = xla.MetadataExtension.from_address(frame.extension_start).metadata.contents
    metadata.api_version.major, metadata.api_version.minor = _version()
    return True


def _call(frame: Any) -> Call:
    """Return the call whose number is the attribute."""
    size, stage = frame[SIZE], frame[STAGE] & 0xFFFFFFFF
    if size < ctypes.sizeof(xla.CallFrame) or stage != xla.EXECUTE or frame[ATTRIBUTES] != 1:
        raise McgradError(f"XLA calls with a frame of {size} bytes and {frame[ATTRIBUTES]} attributes in stage {stage}")
    scalar = ctypes.c_size_t.from_address(frame[ATTRIBUTE]).value
    value = ctypes.c_size_t.from_address(scalar + xla.Scalar.value.offset).value
    return call_of(ctypes.c_int64.from_address(value).value)


def _arrays(items: int, types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], array: Any) -> list[Any]:
    """Return arrays on XLA's buffers, of which there are as many as there are types, in that order."""
    buffers = (ctypes.c_size_t * len(types)).from_address(items)
    place = ctypes.c_size_t.from_address
    return [array(place(at + DATA).value, shape, dtype) for at, (shape, dtype) in zip(buffers, types, strict=True)]


@lru_cache(VIEWS)
def _writable(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.ndarray(shape, dtype, memory)


@lru_cache(VIEWS)
def _readable(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array = _writable(address, shape, dtype).view()
    array.flags.writeable = False
    return array


def _on_device(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return cupy().empty(shape, dtype)
    memory = cupy().cuda.UnownedMemory(address, size, None)
    return cupy().ndarray(shape, dtype, cupy().cuda.MemoryPointer(memory, 0))


def _stream(address: int) -> int:
    frame = xla.CallFrame.from_address(address)
    args = xla.StreamGetArgs(ctypes.sizeof(xla.StreamGetArgs), None, frame.ctx, None)
    if frame.api.contents.stream_get(ctypes.byref(args)):
        raise McgradError("XLA gives no stream")
    return args.stream or 0


def _failed(address: int, error: BaseException) -> int:
    """Return XLA's error for an exception."""
    frame = xla.CallFrame.from_address(address)
    if isinstance(error, McgradError):
        message, code = f"{type(error).__name__}: {error}", xla.INVALID_ARGUMENT
    else:
        message, code = f"{type(error).__name__} in mcgrad: {error}", xla.INTERNAL
    text = message.encode("utf-8", "replace").replace(b"\0", b"")
    args = xla.ErrorCreateArgs(xla.ErrorCreateArgs.code.offset + ctypes.sizeof(ctypes.c_int), None, text, code)
    return int(frame.api.contents.error_create(ctypes.byref(args)))
