"""The wheel has `kernels/` in the place of `src/mcgrad/kernels/`; all else of the build is in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPackage(build_py):
    """Takes the files of `mcgrad.kernels` from `kernels/`.

    `package-dir` in pyproject.toml can say the same, but setuptools then makes an editable installation by an import
    hook in place of a path, and no type checker finds the package.
    """

    def get_package_dir(self, package: str) -> str:
        """Return the folder of a package's files."""
        return "kernels" if package == "mcgrad.kernels" else super().get_package_dir(package)


setup(cmdclass={"build_py": BuildPackage})
