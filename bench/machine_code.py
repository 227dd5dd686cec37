"""NVIDIA's tools for machine code, which need no device: ptxas assembles, nvdisasm prints; and what they say."""

import importlib.metadata
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = {"ptxas": "nvidia-cuda-nvcc-cu12 or nvidia-cuda-nvcc", "nvdisasm": "nvidia-cuda-nvdisasm"}


class MissingToolError(RuntimeError):
    """A tool is neither on the PATH nor in an installed package."""


@cache
def tool(name):
    """Path of a tool: of the packages installed with this Python, then of the PATH."""
    for distribution in importlib.metadata.distributions():
        if (distribution.metadata["Name"] or "").startswith("nvidia-cuda-nv"):
            for file in distribution.files or ():
                if file.name in (name, f"{name}.exe") and file.parent.name == "bin":
                    return str(file.locate())
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is missing: pip install {PACKAGES[name]}")
    return found


def missing():
    """Say which tools are not here, or None."""
    try:
        for name in PACKAGES:
            tool(name)
    except MissingToolError as error:
        return str(error)
    return None


def version(name):
    """The release of a tool."""
    said = subprocess.run([tool(name), "--version"], capture_output=True, text=True, check=True).stdout
    return name + " " + re.search(r"V([\d.]+)", said)[1]


@dataclass(frozen=True)
class Usage:
    """What a kernel takes: registers, bytes of stack and of spills of a thread; static shared memory of a block."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def usage(report):
    """Usage of the kernel in what `ptxas -v` prints."""
    stack, stores, loads = map(
        int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report).groups()
    )
    shared = re.search(r"(\d+) bytes smem", report)
    return Usage(
        int(re.search(r"Used (\d+) registers", report)[1]), stack, stores, loads, int(shared[1]) if shared else 0
    )


def assemble(ptx, cc):
    """Machine code of PTX, as ptxas makes it, and its usage."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [tool("ptxas"), "-v", f"-arch=sm_{cc[0]}{cc[1]}", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return target.read_bytes(), usage(done.stderr)


def disassemble(cubin):
    """The text of machine code, with its encoding."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        return subprocess.run(
            [tool("nvdisasm"), "-c", "-hex", str(path)], capture_output=True, text=True, check=True
        ).stdout


REGISTERS, FRAME = 0x2F, 0x11  # attributes of functions
RESERVED = 1024  # bytes of shared memory that belong to the system, and are counted in machine code since Hopper


def sections(cubin):
    """Name, kind, flags and bytes of every section of an ELF file; of one without bytes, its size in zeros."""
    start, count, names = struct.unpack_from("<Q10xHH", cubin, 40)[0], *struct.unpack_from("<HH", cubin, 60)
    heads = [struct.unpack_from("<IIQQQQIIQQ", cubin, start + 64 * i) for i in range(count)]
    text = cubin[heads[names][4] :]
    for name, kind, flags, _, offset, size, *_ in heads:
        label = text[name : text.index(b"\0", name)].decode()
        yield label, kind, flags, bytes(size) if kind == 8 else cubin[offset : offset + size]


def image_usage(cubin, cc):
    """Registers and stack frame of machine code itself, the most of any function in it, and static shared memory."""
    found, shared = {REGISTERS: 0, FRAME: 0}, 0
    for name, _, _, data in sections(cubin):
        if name.startswith(".nv.shared.") and "reserved" not in name:
            shared = max(shared, len(data) - (RESERVED if cc >= (9, 0) else 0))
        place = 0
        while name == ".nv.info" and place < len(data):
            form, attribute, size = struct.unpack_from("<BBH", data, place)
            if form == 4 and attribute in found and size == 8:
                found[attribute] = max(found[attribute], struct.unpack_from("<II", data, place + 4)[1])
            place += 4 + (size if form == 4 else 0)
    return Usage(found[REGISTERS], found[FRAME], 0, 0, shared)


def constants(cubin):
    """The constant banks of a cubin, but for that of the arguments: number of the bank -> bytes."""
    found = {}
    for name, _, _, data in sections(cubin):
        bank = re.match(r"\.nv\.constant(\d+)", name)
        if bank and bank[1] != "0":
            found[int(bank[1])] = data
    return found
