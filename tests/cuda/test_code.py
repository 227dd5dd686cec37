"""From source to machine code without a device: how arguments are declared, and what is kept on disk."""

import ctypes
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda.launch import COMMON, MERGE, MERGE_OFFSETS, OFFSETS, Arguments
from mcgrad.backends.rescaled import rescaled
from mcgrad.cache import entry
from mcgrad.codegen.cuda import blocks, registers
from mcgrad.kernels import merge
from mcgrad.system import packages
from mcgrad.system.recent import Recent
from mcgrad.toolchain import ptx

pytest.importorskip("numba_cuda")
CC = (9, 0)
BYTES = {".u8": 1, ".b8": 1, ".s8": 1, ".u32": 4, ".f32": 4, ".u64": 8, ".f64": 8}


def program(dtype="float32"):
    return mg.Estimator(lambda z: np.sin(z), mg.Normal(0.3, 1.2), backend="numpy", dtype=dtype).program


def declared(text):
    """Sizes of the arguments of the entry of PTX."""
    head = text[text.index(".entry") :]
    return [BYTES[kind] for kind in re.findall(r"\.param\s+(?:\.align \d+ )?(\.\w+)", head[: head.index(")")])]


def packed(form, places):
    """Sizes of the arguments that a Struct packs."""
    codes = re.findall(r"[IiqQ?]", form.format)
    assert len(codes) == len(places)
    return [{"I": 4, "i": 4, "q": 8, "Q": 8, "?": 1}[code] for code in codes]


@pytest.mark.parametrize(("dtype", "by_value"), [("float32", True), ("float64", False)])
def test_arguments_are_as_wide_as_the_kernel_declares(dtype, by_value):
    emitted = registers.emit(program(dtype), by_value=by_value)
    code = ptx.ptx(emitted.source, "kernel", CC, [])
    constants = sum(var.size for var, _ in emitted.scalars) + emitted.components
    rest = [np.dtype(dtype).itemsize] * constants if by_value else [8, 8]
    assert declared(code.text) == [*packed(COMMON, OFFSETS), *rest]
    assert code.image[:4] in (b"\x7fELF", b"//\n/")  # machine code, or the PTX itself where nvJitLink is missing


PROBLEMS = {
    "difference": (lambda z: np.where(z > 0.3, z * z, 1.0), mg.Normal(0.3, 1.2), "difference"),
    "discrete": (lambda z: np.sin(z), mg.Poisson(2.5), "score+mean"),
    "log odds": (mg.elbo(lambda z: -0.5 * z * z, mg.Beta(0.5, 0.3)), None, "stl"),
}


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("name", PROBLEMS)
def test_what_the_emitter_does_not_know_of_compiles(name, cc):
    """For one device in registers, with each draw looked at, for the other in blocks and in powers of two."""
    f, q, method = PROBLEMS[name]
    estimated = mg.Estimator(f, q, method=method, backend="numpy", dtype="float32").program
    if cc == (8, 0) and registers.fits(estimated):
        emitted = registers.emit(estimated, checked=True)
    else:
        emitted = blocks.emit(rescaled(estimated))
    code = ptx.ptx(emitted.source, "kernel", cc, [])
    assert f".target sm_{cc[0]}{cc[1]}" in code.text
    assert ".entry" in code.text
    assert len(code.image) > 1000


def test_arguments_of_the_merge():
    code = ptx.function_ptx(merge.merge, merge.SIGNATURE, CC)
    assert declared(code.text) == packed(MERGE, MERGE_OFFSETS)


def test_the_table_leads_to_every_argument():
    arguments = Arguments(OFFSETS, 3, np.dtype(np.float32), 2)
    COMMON.pack_into(arguments.head, 0, 2**32 - 1, 7, -1, 2**62, 5, 2**31 - 1, True, 2**64 - 1)
    arguments.numbers[:] = [1.5, 2.5, 3.5]
    arguments.pointers[:] = [2**63, 9]
    table = (ctypes.c_void_p * 13).from_address(arguments.address)
    kinds = [ctypes.c_uint32] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_int32, ctypes.c_bool, ctypes.c_uint64]
    kinds += [ctypes.c_float] * 3 + [ctypes.c_uint64] * 2
    found = [kind.from_address(address).value for kind, address in zip(kinds, table, strict=True)]
    assert found == [2**32 - 1, 7, -1, 2**62, 5, 2**31 - 1, True, 2**64 - 1, 1.5, 2.5, 3.5, 2**63, 9]


RUN = """
import sys
import numpy as np
import mcgrad as mg
from mcgrad.system import packages
from mcgrad.toolchain import ptx
from mcgrad.codegen.cuda import registers

est = mg.Estimator(lambda z: np.cos(z), mg.Normal(0.3, 1.2), backend="numpy")
emitted = registers.emit(est.program)
known = ptx.is_cached(emitted.source)
light = "numba" not in sys.modules
code = ptx.ptx(emitted.source, "kernel", (9, 0), [])
print(known, light, "numba" in sys.modules, len(code.image), ptx.is_cached(emitted.source))
"""


def run(folder, warns=False):
    environment = {**os.environ, "MCGRAD_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "always::mcgrad.CacheWarning" if warns else "error", "-c", RUN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("CacheWarning") == warns
    return done.stdout.split()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What a process says that compiles, and the folder that it keeps its code in."""
    folder = tmp_path_factory.mktemp("cache")
    return run(folder), folder


def test_a_second_process_compiles_nothing_and_loads_no_numba(compiled):
    first, folder = compiled
    assert first[:3] + first[4:] == ["False", "True", "True", "True"]
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert [name.endswith(".sm_90.mcgrad") for name in written] == [True]
    assert run(folder) == ["True", "True", "False", first[3], "True"]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_what_cannot_be_read_is_compiled_again(compiled, tmp_path):
    first, folder = compiled
    (kept,) = folder.iterdir()
    (tmp_path / kept.name).write_bytes(b"\xff not a kernel")
    assert run(tmp_path, warns=True)[3] == first[3]


def test_an_entry_without_machine_code_or_without_a_kernel(tmp_path, monkeypatch):
    """The first is linked again, as where nvJitLink was missing; the second is as none."""
    monkeypatch.setenv("MCGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(ptx, "_known", Recent(1))
    code = ptx.function_ptx(merge.merge, merge.SIGNATURE, CC)
    (path,) = tmp_path.iterdir()
    for content, warned in ((code.text.encode() + b"\0", 0), (b"no kernel", 1)):
        assert entry.keep(path.name, content)
        ptx._known.clear()
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            found = ptx.function_ptx(merge.merge, merge.SIGNATURE, CC)
        assert warned or found == code
        assert len(found.image) == len(code.image)
        assert [str(each.message).count("holds no kernel") for each in given] == [1] * warned
    assert entry.find(path.name) is not None


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "cache", warns=True)[0] == "False"


# Packages that do not go together


FRESH = """
import warnings
warnings.simplefilter("error")
import numpy as np
np.__dict__.pop("row_stack", None)
import mcgrad.toolchain.ptx as ptx
from mcgrad.kernels import merge
print(ptx.function_ptx(merge.merge, merge.SIGNATURE, (9, 0)).entry)
"""


def test_a_numpy_without_row_stack_and_warnings_as_errors(tmp_path):
    """NumPy 2.5 removed what numba-cuda 0.30 overloads, and deprecates how it makes a NaT."""
    environment = {**os.environ, "MCGRAD_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "merge" in done.stdout


def kernel(n, out):
    out[0] = n


def signature():
    from numba import types

    return types.void(types.int32, types.CPointer(types.int32))


def test_a_numba_cuda_that_does_not_load_names_versions_and_remedy(monkeypatch):
    from mcgrad.kernels.target import cuda

    def broken(*arguments, **options):
        raise AttributeError("module 'numpy' has no attribute 'in1d'")

    monkeypatch.setattr(cuda, "compile", broken)
    with pytest.raises(mg.BackendError, match=r"in1d.*numba-cuda 0\..*numpy \d.*pip install .*numba-cuda\[cu1"):
        ptx.translate(kernel, signature(), CC)


def test_missing_compilers_name_the_remedy(monkeypatch):
    from mcgrad.kernels.target import cuda

    class DynamicLibNotFoundError(RuntimeError):
        pass

    def missing(*arguments, **options):
        raise DynamicLibNotFoundError('Failure finding "libnvrtc.so.12"')

    monkeypatch.setattr(cuda, "compile", missing)
    with pytest.raises(mg.BackendError, match=r"libnvrtc.*pip install .*numba-cuda\[cu1"):
        ptx.translate(kernel, signature(), CC)


def test_ptx_of_a_newer_version_than_the_linkers_is_refused():
    pytest.importorskip("cuda.bindings.nvjitlink")
    newer = b".version 99.9\n.target sm_90\n.address_size 64\n.visible .entry k() { ret; }\n"
    with pytest.raises(mg.BackendError, match=r"nvJitLink \d.*version 99.9.*pip install --upgrade nvidia-nvjitlink"):
        ptx._link(newer, "-arch=sm_90")
    with pytest.raises(mg.BackendError, match=r"nvJitLink .* for sm_190"):
        ptx._link(newer.replace(b"99.9", b"8.0"), "-arch=sm_190")


def test_remedies_name_the_packages_of_the_stack(monkeypatch):
    installed = {}
    monkeypatch.setattr(packages, "version", lambda name: installed.get(name, packages.ABSENT))
    monkeypatch.setattr(packages, "driver", lambda: 13010)
    assert "cupy-cuda13x" in packages.cuda()
    installed["cuda-bindings"] = "12.9.4"
    assert packages.nvjitlink().endswith("nvidia-nvjitlink-cu12")
    installed["cupy-cuda13x"] = "14.2.0"
    assert "numba-cuda[cu13]" in packages.cuda()
    assert packages.nvjitlink().endswith("nvidia-nvjitlink")
    assert "cupy-cuda12x" in packages.cuda(11)


IN_TURN = """
import numpy as np
import mcgrad as mg
from mcgrad.toolchain import ptx
from mcgrad.codegen.cuda import registers

for shift in (0.0, 1.0, 2.0):
    f = lambda z: np.where(z > shift, np.sin(z), np.log1p(z * z))
    estimator = mg.Estimator(f, mg.Normal(0.3, 1.2), backend="cpu", dtype="float64")
    ptx.ptx(registers.emit(estimator.program).source, "kernel", (9, 0), [])
    print(estimator(100).n)
"""


def test_cpu_and_gpu_compile_in_turn(tmp_path):
    """As they do where a run falls back; Numba before 0.67 did not find its intrinsics again."""
    environment = {**os.environ, "MCGRAD_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", IN_TURN], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["100"] * 3, done.stderr
