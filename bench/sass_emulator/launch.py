"""Emitted kernels in the emulator: arguments and memory as the CUDA backend lays them out, sums as it reads them."""

import struct
from dataclasses import dataclass

import numpy as np
from machine_code import constants, disassemble

from mcgrad.backends.host_values import HostValues
from sass_emulator.machine import Machine

FLOOR = 1 << 12  # the first address of memory, so that nothing is at address 0


class Memory:
    """Device memory: arrays one after the other, each at a multiple of 256 bytes."""

    def __init__(self):
        self._parts, self._end, self.places = [], FLOOR, []

    def put(self, array):
        """Add an array; return its address."""
        data = np.ascontiguousarray(array).tobytes()
        address, size = self._end, -(-max(len(data), 1) // 256) * 256
        self._parts.append(data.ljust(size, b"\0"))
        self._end += size
        return address

    def words(self):
        return np.frombuffer(bytearray(b"\0" * FLOOR + b"".join(self._parts)), np.uint32)


@dataclass
class Found:
    """Sums and sums of squares of all output components; warp instructions executed, by address; draws done."""

    sums: np.ndarray
    squares: np.ndarray
    executed: dict
    draws: int


def arguments(emitted, dtype, inputs, seed, start, stop, shift, blocks):
    """Pack the arguments of a launch; with them, memory, and where the partials will be."""
    memory, base = Memory(), start // emitted.chunk * emitted.chunk
    chunks = -(-(stop - base) // emitted.chunk)
    out = memory.put(np.full(emitted.rows * chunks, np.nan))
    values = HostValues([var for var, _ in emitted.scalars] + [key[0] for key in emitted.matrices], dtype)(inputs)
    c = np.zeros(sum(var.size for var, _ in emitted.scalars), dtype)
    for (var, first), value in zip(emitted.scalars, values, strict=False):
        c[first : first + var.size] = value.ravel()
    p = np.broadcast_to(np.asarray(shift, dtype), (emitted.components,)).copy()
    packed = struct.pack("=IIqqqi?3xQ", seed & 0xFFFFFFFF, seed >> 32, start, stop, base, chunks, False, out)
    if emitted.by_value:
        return packed + c.tobytes() + p.tobytes(), memory, out, chunks
    pointers = [memory.put(c), memory.put(p), memory.put(emitted.tables)]
    pointers.append(memory.put(np.zeros(max(emitted.workspace * blocks, 1), dtype)))
    for (_, axes), value in zip(emitted.matrices, values[len(emitted.scalars) :], strict=True):
        pointers.append(memory.put(np.ascontiguousarray(value.transpose(axes), dtype)))
    return packed + struct.pack(f"={len(pointers)}Q", *pointers), memory, out, chunks


def machine(image, cc):
    """A machine for a cubin."""
    return Machine(disassemble(image), constants(image), cc[0])


def run(machine, emitted, dtype, inputs, seed, start, stop, shift=0.0, static_shared=0):
    """Launch a block a chunk over the draws start .. stop."""
    packed, memory, out, chunks = arguments(emitted, dtype, inputs, seed, start, stop, shift, 1)
    words = memory.words()
    executed = machine.launch(packed, words, range(chunks), emitted.threads, static_shared + emitted.shared)
    at = out // 4
    partials = words[at : at + 2 * emitted.rows * chunks].view(np.float64).reshape(emitted.rows, chunks)
    k, totals = emitted.components, partials.sum(axis=1)
    return Found(totals[:k], totals[k : 2 * k], executed, stop - start)
