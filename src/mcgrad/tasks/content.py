"""The content of a payload, and the runs whose tasks have it, as bytes.

A run is what else its tasks share: the seed, the draws, the shift, values of parameters. It is small as a rule, and
travels in each task, so that all runs of an Estimator have one payload, with its data; a large one is in the payload.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

from mcgrad.arrays import all_to_host
from mcgrad.errors import ParameterError, shown
from mcgrad.ir import serial
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input, Space, Values

SMALL = 1 << 15  # bytes of a run that travels in each task
PLAIN = 5  # the protocol of pickles, which Python 3.8 and later read


@dataclass(frozen=True, slots=True)
class Content:
    """What a payload holds.

    Parameters
    ----------
    program : bytes
        Of `serial.to_bytes`.
    functions : bytes
        The Integrands that it calls, by name or as code; empty where there are none.
    backend : str
        Name of the backend.
    omit : bool
        Whether draws with a non-finite output are left out.
    fixed : bytes
        Values of the inputs that an Estimator keeps.
    run : bytes
        Of one run, where it is large.
    """

    program: bytes
    functions: bytes
    backend: str
    omit: bool
    fixed: bytes
    run: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the content of a payload."""
        return pickle.dumps((self.program, self.functions, self.backend, self.omit, self.fixed, self.run), PLAIN)

    @classmethod
    def from_bytes(cls, content: bytes) -> Content:
        """Return what `to_bytes` made bytes of."""
        return cls(*pickle.loads(content))


def with_program(program: Program) -> tuple[bytes, bytes]:
    """Return a Program as bytes, and the functions that it calls.

    Raises
    ------
    ParameterError
        A function can be pickled neither by name nor as code.
    """
    functions = serial.functions(program)
    if not functions:
        return serial.to_bytes(program), b""
    from numba import cloudpickle  # part of Numba, a dependency

    try:
        return serial.to_bytes(program), bytes(cloudpickle.dumps(functions))  # type: ignore[no-untyped-call]
    except Exception as error:  # PicklingError, TypeError, or any exception of a user's __reduce__
        given = f"{shown(functions[0])}, which cannot be pickled ({error})"
        raise ParameterError(
            "f", given, "functions that pickle or cloudpickle takes, as an executor is given"
        ) from error


def program_of(content: Content, worker: str) -> Program:
    """Return the Program of a content.

    Raises
    ------
    ParameterError
        Functions of modules that this process lacks, or that do something else here.
    """
    try:
        functions = pickle.loads(content.functions) if content.functions else ()
    except Exception as error:  # ModuleNotFoundError, AttributeError, or any exception of a user's module
        given = f"functions that {worker} cannot load ({type(error).__name__}: {error})"
        raise ParameterError(
            "f", given, "functions of modules that all workers can import, or of the program"
        ) from error
    return serial.from_bytes(content.program, functions)


def to_bytes(values: Values) -> bytes:
    """Return values of inputs as bytes, those on a device copied to the host."""
    return pickle.dumps([(name.space.value, name.path, x) for name, x in all_to_host(values).items()], PLAIN)


def from_bytes(content: bytes) -> dict[Input, Any]:
    """Return values of inputs."""
    return {Input(Space(space), path): x for space, path, x in pickle.loads(content)}
