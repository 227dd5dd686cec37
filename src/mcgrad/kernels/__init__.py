"""The package of `kernels/`, the folder at the top of the tree, where nothing is installed: in a checkout or an sdist.

A wheel has that folder itself in this place (setup.py), without this file, which stands for a symbolic link: a checkout
on Windows would turn one into a text file.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[3] / "kernels")]
