"""Machine code of laws by inversion, run by the emulator of `bench/`: the bound of normals on a GPU."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

pytest.importorskip("numba_cuda")
machine_code = pytest.importorskip("machine_code")
if machine_code.missing():
    pytest.skip(machine_code.missing(), allow_module_level=True)

from numba import int32, types  # noqa: E402
from sass_emulator import launch  # noqa: E402

from mcgrad.kernels import point_laws  # noqa: E402
from mcgrad.kernels.device import at, put, subroutine  # noqa: E402
from mcgrad.kernels.target import cuda  # noqa: E402
from mcgrad.noise.inversion import INVERSE_NORMAL  # noqa: E402
from mcgrad.toolchain import ptx  # noqa: E402

THREADS, BLOCKS, CHIP = 256, 16, (9, 0)
number = subroutine(point_laws.inverse_normal32, types.float32)


def kernel(k, out):
    i = int32(cuda.blockIdx.x) * int32(THREADS) + int32(cuda.threadIdx.x)
    put(out, i, number(at(k, i)))


def test_float32_normals_of_points_are_within_the_bound_of_gpus():
    rng = np.random.default_rng(0)
    n = THREADS * BLOCKS
    k = rng.integers(1 << 19, 1 << 31, n, dtype=np.uint32)  # the first half has no small tail
    k[n // 2 :] = 2.0 ** rng.uniform(0, 32, n // 2)
    memory = launch.Memory()
    source, target = memory.put(k), memory.put(np.zeros(n, np.float32))
    words = memory.words()
    code = ptx.translate(kernel, types.void(types.CPointer(types.uint32), types.CPointer(types.float32)), CHIP)
    machine = launch.machine(code.image, CHIP)
    machine.launch(launch.struct.pack("=QQ", source, target), words, range(BLOCKS), THREADS, 1024)
    got = words[target // 4 : target // 4 + n].view(np.float32)
    right = INVERSE_NORMAL.float64((k.astype(np.uint64) << np.uint64(32)) | np.uint64(0x7FFFFFFF))
    assert (np.abs(got - right) <= 6 * np.spacing(np.abs(right).astype(np.float32))).all()
