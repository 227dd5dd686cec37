"""Copies of values in host memory on devices, for runs in streams: they are made where a value is new."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from mcgrad.arrays import on_device, to_device
from mcgrad.backends.cuda.driver import Device, within
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Input, Values

ELSEWHERE = "a value in host memory that is new, while a CUDA graph is captured; put it on the device"

_captured: list[Any] = []


def keep(*objects: Any) -> None:
    """Keep what a captured graph reads, to the end of the process: nothing says when the graph is gone."""
    _captured.append(objects)


class Copies:
    """The last copies of inputs, by device and name."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Input], Copy] = {}

    def __call__(self, inputs: Values, device: Device, stream: int) -> dict[Input, Any]:
        """Return inputs as arrays on a device, ready in a stream."""
        with device.current(), within(stream):
            return {name: x if on_device(x) else self._copy(name, x, device, stream) for name, x in inputs.items()}

    def all(self) -> list[Any]:
        """Return the copies."""
        return list(self._made.values())

    def _copy(self, name: Input, x: npt.NDArray[Any], device: Device, stream: int) -> Any:
        """Return a copy of an input on the device: the last one, where it has the same content."""
        found, capturing = self._made.get((device.index, name)), device.is_capturing(stream)
        if found is not None and found.holds(x) and (capturing or found.stream == stream):
            return found.there
        if capturing:
            raise BackendError(f"{name.path}: {ELSEWHERE}")
        found = self._made[device.index, name] = Copy(x, stream)
        return found.there


class Copy:
    """An array of the host, and its copy on the device, made in a stream."""

    def __init__(self, x: npt.NDArray[Any], stream: int) -> None:
        self._host = x if x.base is None and not x.flags.writeable else x.copy()
        self.there, self.stream = to_device(self._host), stream

    def holds(self, x: npt.NDArray[Any]) -> bool:
        """Whether an array is the same, or has the same content."""
        mine = self._host
        return x is mine or (x.dtype == mine.dtype and x.shape == mine.shape and x.tobytes() == mine.tobytes())
