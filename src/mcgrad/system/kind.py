"""The kind of a process: what the last bits of its results depend on, besides what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import TypeAlias

from mcgrad import __version__
from mcgrad.system.machine import processor, processor_features, version


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """The kind of a process that averages draws: two of one kind return the same bits.

    Parameters
    ----------
    processor : str
        Name of the processor, that of its maker where the operating system has it; of a backend for devices, with that
        of the device.
    features : str
        Digest of its instruction sets; empty where the operating system does not list them.
    mcgrad, numba, numpy : str
        Versions.
    backend : str
        Name of the backend.
    """

    processor: str
    features: str
    mcgrad: str
    numba: str
    numpy: str
    backend: str

    def __str__(self) -> str:
        features = f" ({self.features})" if self.features else ""
        versions = f"mcgrad {self.mcgrad}, numba {self.numba}, numpy {self.numpy}"
        return f"{self.processor}{features}, {versions}, backend {self.backend}"


Kinds: TypeAlias = tuple[Kind, ...]


@cache
def kind_here(backend: str, device: str = "") -> Kind:
    """Return the kind of this process on a backend: on the processor, or on a device that is named."""
    features = processor_features()
    digest = blake2b(features.encode(), digest_size=4).hexdigest() if features else ""
    where = f"{processor()}, {device}" if device else processor()
    return Kind(where, digest, __version__, version("numba"), version("numpy"), backend)
