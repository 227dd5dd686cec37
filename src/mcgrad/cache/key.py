"""Keys of entries: a hash of the emitted source, and of everything else that its machine code depends on."""

from __future__ import annotations

import os
import sys
from functools import cache
from hashlib import blake2b
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pkgutil import iter_modules
from types import CodeType

from mcgrad import __version__
from mcgrad.system.machine import processor, processor_features, version

KERNELS = "mcgrad.kernels"
SETTINGS = (  # environment variables of Numba that change the code it makes
    *("NUMBA_BOUNDSCHECK", "NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_DEBUGINFO", "NUMBA_ENABLE_AVX"),
    *("NUMBA_FULL_TRACEBACKS", "NUMBA_LOOP_VECTORIZE", "NUMBA_LLVM_REFPRUNE_PASS", "NUMBA_OPT", "NUMBA_SLP_VECTORIZE"),
)


def key(source: str, more: str = "") -> str:
    """Hash emitted source and everything that its machine code depends on; `more` is for one kind of code alone."""
    return blake2b("\0".join([_surroundings(), more, source]).encode(), digest_size=16).hexdigest()


@cache
def kernels_hash() -> str:
    """Hash of the code of the kernels, wherever Python imports them from: a folder, an archive, or bytecode alone."""
    digest = blake2b(digest_size=16)
    for module in sorted(module.name for module in iter_modules(import_module(KERNELS).__path__)):
        spec = find_spec(f"{KERNELS}.{module}")
        assert spec is not None
        code = _code(spec)
        digest.update(f"{module} {len(code)}\n".encode() + code)
    return digest.hexdigest()


def _code(spec: ModuleSpec) -> bytes:
    """Return the file that a module is imported from, or else its bytecode."""
    loader = spec.loader
    try:
        return loader.get_data(spec.origin)  # type: ignore[union-attr, no-any-return]
    except (AttributeError, OSError, TypeError):  # of a loader that has no files
        pass
    code = loader.get_code(spec.name)  # type: ignore[union-attr]
    return _constant(code)


def _constant(code: CodeType) -> bytes:
    """Serialize a code object to the same bytes in each process, which `marshal` does not guarantee."""
    inner = [_constant(x) if isinstance(x, CodeType) else repr(x).encode() for x in code.co_consts]
    names = repr((code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_flags)).encode()
    return b"(" + code.co_code + names + b",".join(inner) + b")"


@cache
def _surroundings() -> str:
    settings = ",".join(f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ)
    return "\n".join(
        [
            f"mcgrad {__version__}, numba {version('numba')}, llvmlite {version('llvmlite')}, {sys.version}",
            f"{sys.platform} {processor()} {processor_features()} {settings}",
            kernels_hash(),
        ]
    )
