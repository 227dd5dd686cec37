"""What is published holds all of it: sdist, from it a wheel, from that an installation that imports the kernels."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from mcgrad import packages

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
    (tree,) = [path for path in folder.glob("monte_carlo_gradients-*") if path.is_dir()]
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


def test_remedies_name_what_the_extras_install():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == packages.DISTRIBUTION
    extras = project["optional-dependencies"]
    assert [list(packages.CUDA[12]), list(packages.CUDA[13])] == [extras["cuda"], extras["cuda13"]]
    assert packages.PLOT in extras["plot"]
    assert packages.install(*packages.CUDA[13]) == 'pip install "cupy-cuda13x>=13.6,<15" "numba-cuda[cu13]>=0.30.4"'


def test_nothing_tells_users_to_install_the_other_project():
    """`mcgrad` in an index of packages is another project; what is ours there has another name."""
    files = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "bench").rglob("*"),
    ]
    wrong = [
        path for path in files if path.is_file() and re.search(rb"install [^\n`&]*\bmcgrad\b(?!/)", path.read_bytes())
    ]
    assert wrong == []
