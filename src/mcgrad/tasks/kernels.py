"""The payloads of this process, with their kernels, compiled and bound: the least recently used go first.

Several threads may work out tasks at once. A kernel is made once for each Program, functions and backend, a bound
kernel once for each n and values of inputs.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from hashlib import blake2b

from mcgrad.backends.base import Bound, Kernel
from mcgrad.backends.registry import backends, find
from mcgrad.errors import BackendError
from mcgrad.ir.program import Program
from mcgrad.system.made_once import MadeOnce
from mcgrad.tasks.content import Content, from_bytes, program_of

BYTES = 1 << 31  # of payloads that are kept
KERNELS = 32
BOUND = 2  # kernels of a payload that are kept bound: each may hold a copy of its data


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
        Without the values.
    values : dict of Input to array
        Of the inputs that all runs share.
    bound : MadeOnce
        Bound kernels, by the number of draws of the run, which chooses the kernel, and the bytes of its values.
    """

    def __init__(self, content: bytes) -> None:
        whole, self.size = Content.from_bytes(content), len(content)
        self.content, self.values = replace(whole, fixed=b""), from_bytes(whole.fixed)
        self.bound: MadeOnce[tuple[int, bytes], Bound] = MadeOnce(BOUND)
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
