"""What is published holds all of it: sdist, from it a wheel, from that an installation that imports the kernels."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.relative_to(ROOT / "kernels").name for path in (ROOT / "kernels").glob("*.py"))
BUILD = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def run(*command, **options):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return the sdist, and the wheel that is built from it, offline."""
    pytest.importorskip("setuptools", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "copy"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "kernels"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run("-c", BUILD, "build_sdist", str(folder), cwd=copy)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = [path for path in folder.glob("mcgrad-*") if path.is_dir()]
    run("-c", BUILD, "build_wheel", str(folder), cwd=tree)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def test_the_wheel_holds_kernels_types_and_licence(archives):
    with zipfile.ZipFile(archives[1]) as archive:
        names = archive.namelist()
    assert sorted(Path(name).name for name in names if name.startswith("mcgrad/kernels/")) == SOURCES
    assert "mcgrad/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "bench/", "kernels/")) for name in names)
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert sources - set(names) == set()


def test_the_sdist_holds_kernels_and_licence(archives):
    with tarfile.open(archives[0]) as archive:
        names = archive.getnames()
    assert sorted(Path(name).name for name in names if "src/mcgrad/kernels/" in name) == SOURCES
    assert any(name.endswith("/LICENSE") for name in names)


def test_an_installation_works(archives, tmp_path):
    with zipfile.ZipFile(archives[1]) as wheel:
        wheel.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mcgrad as mg, mcgrad.kernels.philox as p; "
        "assert all(m.__file__.startswith(sys.argv[1]) for m in (mg, p)), (mg, p); "
        "print(mg.estimate(lambda z: z**2, mg.Normal(), 1000, backend='numpy').n)"
    )
    assert run("-c", code, str(tmp_path), cwd=tmp_path).split() == ["1000"]
