"""A short hash that tells one problem from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from mcgrad.ir.program import Literal, Program, Var


def fingerprint(program: Program, data: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Hash a Program, with every literal array in it, and the data it will read."""
    digest = hashlib.blake2b(digest_size=16)
    number: dict[Var, int] = {}
    for var in program.equations():
        number[var] = len(number)
        attrs = var.attrs
        if isinstance(attrs, Literal):
            digest.update(attrs.array.tobytes())
            attrs = attrs.array.shape
        digest.update(f"{var.op}{[number[arg] for arg in var.args]}{attrs}{var.shape};".encode())
    outputs = [(out.path, number[out.var], None if out.scale is None else number[out.scale]) for out in program.outputs]
    digest.update(f"{outputs}{program.dtype}".encode())
    for name, array in data.items():
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.data.cast("B"))
    return digest.digest()
