"""Machine code for the CPU as an entry of the cache: `compile` sets it as the cache of a Numba dispatcher.

Numba's own cache has an index and a data file for each function, unpickles both without a checksum, and lets errors of
reading and writing end the run. The content here is the same, the compiled library with its descriptor, as Numba
reduces them. It is unpickled only after the checksum of the entry holds, and code that does not load is compiled again.
"""

from __future__ import annotations

import pickle
from typing import Any

from mcgrad.cache import entry, folder
from mcgrad.cache.settings import cache_folder
from mcgrad.cache.warning import once

KIND = "cpu"


class MachineCode:
    """The machine code of one function on disk: the methods of `numba.core.caching._Cache`.

    Parameters
    ----------
    name : str
        Name of the entry.
    content : bytes or None
        Its content, where there is one. It is released when it has been loaded.
    """

    def __init__(self, name: str, content: bytes | None) -> None:
        self.name, self.enabled = name, True
        self._content = content

    @property
    def cache_path(self) -> str:
        """The cache folder, for Numba's statistics."""
        return str(cache_folder())

    def enable(self) -> None:
        """Read and write from now on."""
        self.enabled = True

    def disable(self) -> None:
        """Neither read nor write."""
        self.enabled = False

    def flush(self) -> None:
        """Remove the entry."""
        folder.drop(self.name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the code for a signature, linked into this process, or None where there is none."""
        target.refresh()  # as Numba does: the code may refer to functions that this registers
        content, self._content = self._content, None
        if content is None or not self.enabled:
            return None
        from numba.core.compiler import CompileResult

        try:
            made_for, reduced = pickle.loads(content)
            if made_for == _made_for(signature, target.codegen()):
                return CompileResult._rebuild(target, *reduced)  # type: ignore[no-untyped-call]
        except (MemoryError, RecursionError):  # no damage of the entry
            pass
        except Exception as error:  # unpickling and linking may raise any exception
            folder.discard(self.name, f"does not load ({type(error).__name__}: {error})")
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep the code for a signature, unless it refers to addresses of this process."""
        if not self.enabled or compiled.lifted or compiled.library.has_dynamic_globals:
            return
        from numba.core.serialize import dumps

        try:
            reduced = compiled._reduce()
            content: bytes = dumps((_made_for(signature, compiled.codegen), reduced))  # type: ignore[no-untyped-call]
        except Exception as error:  # pickling, too, may raise any exception
            once(f"The cache is not written: code that cannot be pickled ({type(error).__name__}: {error}).")
            return
        entry.keep(self.name, content)


def _made_for(signature: Any, codegen: Any) -> tuple[Any, ...]:
    """Return what code must match besides its key: the types of its arguments, and the processor as LLVM names it."""
    return signature, codegen.magic_tuple()
