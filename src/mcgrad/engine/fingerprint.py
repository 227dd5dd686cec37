"""Fingerprints: hashes of a Program and the values of its inputs, the same in any process.

Estimates merge, and checkpoints are resumed, where fingerprints are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import any_on_device, computing, to_host
from mcgrad.ir import serial
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values

SIZE = 16  # bytes


class Fingerprint:
    """The fingerprint of a Program at values of its parameters and data: the same in another process.

    Parameters
    ----------
    program : Program
    data : dict of Input to array
        Data, for calls that pass no others; hashed once.
    """

    def __init__(self, program: Program, data: Values) -> None:
        self._program, self._data = program, data

    def at(self, inputs: Values) -> str | Callable[[], str]:
        """Return the fingerprint, or for arrays on a device a function that computes it later, from copies there.

        Parameters
        ----------
        inputs : dict of Input to array
            All inputs of the Program; those that are not data are parameters.
        """
        params = [value for name, value in inputs.items() if name not in self._data]
        data: Values = {name: inputs[name] for name in self._data}
        if all(data[name] is own for name, own in self._data.items()):
            data = self._data
        if not any_on_device([*params, *data.values()]):
            return self._digest(params, data)
        with computing():
            params = [value.copy() for value in params]
            if data is not self._data:
                data = {name: value.copy() for name, value in data.items()}
        return lambda: self._digest(params, data)

    def later(self, inputs: Values) -> Callable[[], str]:
        """Return a function that computes the fingerprint of many rows when it is asked for, from copies of inputs."""
        found = {name: value if value is self._data.get(name) else value.copy() for name, value in inputs.items()}

        def fingerprint() -> str:
            known = self.at(found)
            return known if isinstance(known, str) else known()

        return fingerprint

    def _digest(self, params: Iterable[npt.NDArray[Any]], data: Values) -> str:
        known = self._with_own_data if data is self._data else self._with_data(data)
        digest = hashlib.blake2b(known, digest_size=SIZE)
        for value in params:
            digest.update(np.asarray(to_host(value), np.float64).tobytes())  # the same for equal numbers of any dtype
        return digest.hexdigest()

    @cached_property
    def _of_program(self) -> bytes:
        return serial.digest(self._program)

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
