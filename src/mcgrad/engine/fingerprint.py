"""Fingerprints: hashes of a Program and the values of its inputs, the same in any process.

Estimates merge, and checkpoints are resumed, where fingerprints are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

import numpy as np

from mcgrad.arrays import any_on_device, computing, to_host
from mcgrad.ir import serial
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values

SIZE = 16  # bytes
MOST_KEPT = 1 << 20  # bytes of inputs that are copied rather than hashed at once, which a call need not wait for


class Fingerprint:
    """The fingerprint of a Program at values of its parameters and data: the same in another process.

    Parameters
    ----------
    program : Program
    data : dict of Input to array
        Data, for calls that pass no others; hashed once.
    antithetic : bool
        Whether draws are pairs: where all that is averaged is even in the noise, the Program does not say so.
    """

    def __init__(self, program: Program, data: Values, antithetic: bool = False) -> None:
        self._program, self._data, self._antithetic = program, data, antithetic

    def at(self, inputs: Values) -> str | Callable[[], str]:
        """Return the fingerprint, or a function that computes it later: of few numbers, and of arrays on a device.

        Parameters
        ----------
        inputs : dict of Input to array
            All inputs of the Program; those that are not data are parameters.
        """
        if any_on_device(inputs.values()):
            with computing():
                return self.later(inputs)
        if sum([value.nbytes for value in inputs.values()]) <= MOST_KEPT:
            return self.later(inputs)
        return self._digest(inputs)

    def later(self, inputs: Values) -> Callable[[], str]:
        """Return a function that computes the fingerprint when it is asked for, from copies of inputs."""
        own = self._data
        found = {name: value if value is own.get(name) else value.copy() for name, value in inputs.items()}
        return lambda: self._digest(found)

    def _digest(self, inputs: Values) -> str:
        own = self._data
        is_own = all(inputs[name] is value for name, value in own.items())
        known = self._with_own_data if is_own else self._with_data({name: inputs[name] for name in own})
        digest = hashlib.blake2b(known, digest_size=SIZE)
        for name, value in inputs.items():
            if name not in own:  # numbers that are equal give the same in any dtype
                digest.update(np.asarray(to_host(value), np.float64).tobytes())
        return digest.hexdigest()

    @cached_property
    def _of_program(self) -> bytes:
        return serial.digest(self._program) + b"antithetic" * self._antithetic

    @cached_property
    def _with_own_data(self) -> bytes:
        return self._with_data(self._data)

    def _with_data(self, data: Values) -> bytes:
        digest = hashlib.blake2b(self._of_program, digest_size=SIZE)
        for name, array in data.items():
            digest.update(f"{name}{array.shape}".encode())
            if array.size:
                digest.update(to_host(array).data.cast("B"))
        return digest.digest()
