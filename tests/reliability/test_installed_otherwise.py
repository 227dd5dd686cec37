"""Installed as an archive or as bytecode alone: estimates run, and the key of compiled code covers the kernels."""

import compileall
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mcgrad
import mcgrad.kernels
from mcgrad.cache.key import kernels_hash

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import mcgrad as mg
assert mg.__file__.startswith(sys.argv[1]), mg.__file__
from mcgrad.cache.key import kernels_hash
print(kernels_hash())
if len(sys.argv) > 2:
    print(mg.estimate(lambda z: z * z, mg.Normal(), 1000, backend=sys.argv[2], seed=3).value)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return the package as it is installed, the kernels in their place."""
    folder = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(mcgrad.__file__).parent, folder / "mcgrad", ignore=ignore)
    shutil.copytree(*mcgrad.kernels.__path__, folder / "mcgrad" / "kernels", ignore=ignore, dirs_exist_ok=True)
    return folder


def archived(tree, path, suffix=".py", change=False):
    """Put the package into an archive; `change` changes one number of a kernel."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted([*tree.rglob(f"*{suffix}"), *tree.rglob("*.pyi")]):
            content = file.read_bytes()
            if change and file.stem == "philox":
                content += b"\nADDED = 1\n"
            archive.writestr(str(file.relative_to(tree)), content)
    return path


def run(path, *backend):
    command = [sys.executable, "-W", "error", "-c", RUN, str(path), *backend]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(path).parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_from_an_archive(tree, tmp_path):
    """The same code has the same key wherever it is, and so finds what a checkout has compiled."""
    hashed, value = run(archived(tree, tmp_path / "whole.zip"), "cpu")
    assert hashed == kernels_hash()
    found = mcgrad.estimate(lambda z: z * z, mcgrad.Normal(), 1000, backend="cpu", seed=3)
    assert float(value) == found.value
    assert run(archived(tree, tmp_path / "changed.zip", change=True))[0] != hashed


def test_from_bytecode_alone(tree, tmp_path):
    """Compiled where each module lies, without its source; in a folder and in an archive."""
    copies = [tmp_path / name for name in ("one", "two")]
    for copy in copies:
        shutil.copytree(tree, copy)
    with (copies[1] / "mcgrad" / "kernels" / "philox.py").open("a", encoding="utf-8") as file:
        file.write("\nADDED = 1\n")
    hashes = []
    for copy in copies:
        assert compileall.compile_dir(copy, quiet=2, legacy=True, stripdir=str(copy), invalidation_mode=None)
        for file in copy.rglob("*.py"):
            file.unlink()
        hashes.append(run(copy)[0])
    assert len({*hashes, kernels_hash()}) == 3
    hashed, value = run(archived(copies[0], tmp_path / "bytecode.zip", suffix=".pyc"), "numpy")
    assert hashed == hashes[0]
    assert 0.8 < float(value) < 1.2
