"""The payloads of this process, with their kernels, compiled and bound: the least recently used go first.

Several threads may work out tasks at once. A kernel is made once for each Program, functions and backend, a bound
kernel once for each run.
"""

from __future__ import annotations

import os
import socket
from hashlib import blake2b
from typing import Any

from mcgrad.backends.base import Kernel
from mcgrad.backends.registry import backends, find
from mcgrad.errors import BackendError
from mcgrad.ir.program import Program
from mcgrad.system.made_once import MadeOnce
from mcgrad.tasks.content import Content, from_bytes, program_of

BYTES = 1 << 31  # of payloads that are kept
KERNELS = 32
RUNS = 8  # of a payload, that are kept bound


def worker() -> str:
    """Return the host and the number of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Held:
    """A payload with its kernel.

    Parameters
    ----------
    content : bytes

    Attributes
    ----------
    content : Content
    values : dict of Input to array
        Of the inputs that all runs share.
    runs : MadeOnce
        Bound kernels, and whatever else runs keep, by the bytes of the run.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.size = Content.from_bytes(content), len(content)
        self.values = from_bytes(self.content.fixed)
        self.runs: MadeOnce[bytes, Any] = MadeOnce(RUNS)
        parts = self.content.program, self.content.functions, self.content.backend.encode()
        self._key = b"".join(blake2b(part, digest_size=16).digest() for part in parts)

    @property
    def kernel(self) -> tuple[Program, Kernel]:
        """The Program and its kernel.

        Raises
        ------
        BackendError
            The backend cannot run here.
        """
        found = _kernels.get(self._key, self._compiled)
        assert found is not None
        return found

    def _compiled(self) -> tuple[Program, Kernel]:
        program, name = program_of(self.content, worker()), self.content.backend
        if name not in backends():
            remedy = 'a package that registers it by an entry point of "mcgrad.backends" has to be installed there'
            raise BackendError(f'there is no backend "{name}": {remedy}')
        return program, find(name).compile(program)


_kernels: MadeOnce[bytes, tuple[Program, Kernel]] = MadeOnce(KERNELS)
_held: MadeOnce[str, Held] = MadeOnce(BYTES, lambda held: held.size)


def held(digest: str, content: bytes | None) -> Held | None:
    """Return a payload of this process; None where it has none of this digest and is given no content."""
    return _held.get(digest, None if content is None else lambda: Held(content))
