"""The structures of XLA's foreign function interface that a handler reads, as ctypes.

Source: ``xla/ffi/api/c_api.h`` in `jax.ffi.include_dir()`, version 0.1 to 0.3 of the interface. Within a major version
fields are only added, at the end; each structure begins with its size in bytes, `struct_size`.
"""

from __future__ import annotations

import ctypes
from typing import ClassVar

MAJOR = 0  # the version of the interface that these mirror
METADATA = 1  # the type of the extension that asks for the version of a handler
EXECUTE = 3  # the stage in which buffers may be read
INVALID_ARGUMENT = 3  # codes of errors
INTERNAL = 13


class Extension(ctypes.Structure):
    """``XLA_FFI_Extension_Base``."""

    _fields_: ClassVar = [("struct_size", ctypes.c_size_t), ("type", ctypes.c_int), ("next", ctypes.c_void_p)]


class Version(ctypes.Structure):
    """``XLA_FFI_Api_Version``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    ]


class Metadata(ctypes.Structure):
    """``XLA_FFI_Metadata``, without fields that a handler leaves as they are."""

    _fields_: ClassVar = [("struct_size", ctypes.c_size_t), ("api_version", Version)]


class MetadataExtension(ctypes.Structure):
    """``XLA_FFI_Metadata_Extension``."""

    _fields_: ClassVar = [("base", Extension), ("metadata", ctypes.POINTER(Metadata))]


class ErrorCreateArgs(ctypes.Structure):
    """``XLA_FFI_Error_Create_Args``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    ]


class StreamGetArgs(ctypes.Structure):
    """``XLA_FFI_Stream_Get_Args``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("ctx", ctypes.c_void_p),
        ("stream", ctypes.c_void_p),
    ]


ErrorCreate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(ErrorCreateArgs))
StreamGet = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(StreamGetArgs))


class Api(ctypes.Structure):
    """``XLA_FFI_Api``, up to the last function that a handler calls."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("api_version", Version),
        ("internal_api", ctypes.c_void_p),
        ("error_create", ErrorCreate),
        ("error_get_message", ctypes.c_void_p),
        ("error_destroy", ctypes.c_void_p),
        ("handler_register", ctypes.c_void_p),
        ("stream_get", StreamGet),
    ]


class Buffer(ctypes.Structure):
    """``XLA_FFI_Buffer``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("dims", ctypes.c_void_p),
    ]


class Buffers(ctypes.Structure):
    """``XLA_FFI_Args`` and ``XLA_FFI_Rets``, which have the same fields."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("items", ctypes.c_void_p),
    ]


class Attributes(ctypes.Structure):
    """``XLA_FFI_Attrs``."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("names", ctypes.c_void_p),
        ("items", ctypes.c_void_p),
    ]


class Scalar(ctypes.Structure):
    """``XLA_FFI_Scalar``."""

    _fields_: ClassVar = [("dtype", ctypes.c_int), ("value", ctypes.c_void_p)]


class CallFrame(ctypes.Structure):
    """``XLA_FFI_CallFrame``, without `future`, which a handler that does not return early leaves as it is."""

    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("extension_start", ctypes.c_void_p),
        ("api", ctypes.POINTER(Api)),
        ("ctx", ctypes.c_void_p),
        ("stage", ctypes.c_int),
        ("args", Buffers),
        ("rets", Buffers),
        ("attrs", Attributes),
    ]


Handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)  # the address of a CallFrame -> that of an error, or None
