"""What is published holds all of it: sdist, from it a wheel, from that an installation that imports the kernels."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from mcgrad.system import packages

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.relative_to(ROOT / "kernels").name for path in (ROOT / "kernels").glob("*.py"))
FOLDERS = ("src", "kernels", "tests", "docs", "examples", "bench", ".ci")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", ".gitignore")
LEFT_BEHIND = ("__pycache__", "*.egg-info", ".*_cache", ".hypothesis", ".benchmarks")
BUILD = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def run(*command, **options):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return a copy of the tree, its sdist, unpacked, and the wheels that are built of that and of the tree."""
    pytest.importorskip("setuptools", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "copy"
    copy.mkdir()
    for name in FOLDERS:
        left = (*LEFT_BEHIND, "results", "*.png") if name == "examples" else LEFT_BEHIND
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns(*left))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    run("-c", BUILD, "build_sdist", str(folder), cwd=copy)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = [path for path in folder.glob("monte_carlo_gradients-*") if path.is_dir()]
    wheels = []
    for source in (tree, copy):
        (source / "wheel").mkdir()
        run("-c", BUILD, "build_wheel", str(source / "wheel"), cwd=source)
        wheels += (source / "wheel").glob("*.whl")
    return copy, tree, *wheels


def content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files(tree):
    """Return the paths of all files but what a build leaves."""
    made = ("wheel", "build", "PKG-INFO", "setup.cfg")
    found = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()}
    return {str(path) for path in found if path.parts[0] not in made and "egg-info" not in str(path)}


def test_the_wheel_holds_kernels_types_and_licence(archives):
    names = content(archives[2])
    assert sorted(Path(name).name for name in names if name.startswith("mcgrad/kernels/")) == SOURCES
    assert {"mcgrad/py.typed", "mcgrad/noise/joe_kuo_2008.bin", "mcgrad/noise/joe_kuo_2008.txt"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "bench/", "kernels/")) for name in names)
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert sources - set(names) == set()


def test_the_sdist_holds_the_tree(archives):
    """What is imported, and what tests read and run: kernels, helpers, data, docs, examples, bench."""
    copy, tree, *_ = archives
    assert files(tree) == files(copy)
    assert {
        "tests/closed_forms.py",
        "tests/data/gradient_variance.csv",
        "docs/draws.md",
        "kernels/philox.py",
        ".ci/run",
    } <= files(tree)
    assert os.access(tree / ".ci/run", os.X_OK)


def test_tests_run_in_the_sdist(archives):
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_layers.py", "tests/trace/test_reference.py",
        cwd=archives[1], env={**os.environ, "PYTHONPATH": str(archives[1] / "src")},
    )  # fmt: skip
    assert " passed" in done


def test_nothing_is_a_symbolic_link(archives):
    """In a checkout on Windows, where Git may make none, it would be a text file."""
    assert [path for path in archives[0].rglob("*") if path.is_symlink()] == []


IMPORT = "import mcgrad.kernels.philox as p, mcgrad.cache.key as k; print(p.__file__, k.kernels_hash())"


def test_the_kernels_are_imported_from_the_tree_and_from_an_editable_installation(archives, tmp_path):
    """From the one folder, so that what is compiled has the same keys."""
    copy = archives[0]
    in_place = run("-c", IMPORT, env={**os.environ, "PYTHONPATH": str(copy / "src")}, cwd=tmp_path)
    run("-c", BUILD, "build_editable", str(tmp_path), cwd=copy)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (path_file,) = (tmp_path / "site").glob("*.pth")
    assert path_file.read_text().split() == [str(copy / "src")]  # a path: type checkers follow no import hook
    others = [
        path for path in sys.path if path and not Path(path, "mcgrad").exists()
    ]  # without the mcgrad of the tests
    start = f"import site, sys; sys.path += {others!r}; site.addsitedir({str(tmp_path / 'site')!r}); "
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    editable = run("-S", "-c", start + IMPORT, env=bare, cwd=tmp_path)
    assert editable.split() == in_place.split()
    assert Path(in_place.split()[0]).parent == copy / "kernels"


def test_a_wheel_is_the_same_from_the_tree_and_from_the_sdist(archives):
    assert content(archives[2]) == content(archives[3])


def test_metadata_are_valid(archives):
    """By the rules that an index has for uploads."""
    metadata = pytest.importorskip("packaging.metadata")
    (text,) = [text for name, text in content(archives[2]).items() if name.endswith("dist-info/METADATA")]
    found = metadata.Metadata.from_email(text, validate=True)
    assert (found.name, found.license_expression) == (packages.DISTRIBUTION, "BSD-3-Clause")
    assert found.description_content_type == "text/markdown"
    pythons = [name for name in found.classifiers if name.startswith("Programming Language :: Python :: 3.")]
    assert str(found.requires_python) == f">={pythons[0].rpartition(' ')[2]}"
    assert not any(name.startswith("License ::") for name in found.classifiers)  # not beside an SPDX expression


def test_an_installation_works(archives, tmp_path):
    with zipfile.ZipFile(archives[2]) as wheel:
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
    assert extras["dask"] == [packages.DASK]
    assert [extras[module] for module in packages.FRAMEWORKS] == [
        [lowest] for _, lowest in packages.FRAMEWORKS.values()
    ]
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
