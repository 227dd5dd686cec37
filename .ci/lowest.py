"""Print pip's constraints for the lowest versions that pyproject.toml admits of what runs and what tests it.

What is left out: ruff and mypy, whose findings change with their versions and are made with the newest.
"""

import re
import tomllib
from pathlib import Path

TOOLS = ("ruff", "mypy")
project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
    name, low = re.match(r"([\w-]+)(?:\[.*?\])?>=([\d.]+)", requirement).groups()
    if name not in TOOLS:
        print(f"{name}=={low}{'.*' * name.startswith('nvidia')}")  # NVIDIA's have builds: 12.6 stands for a series
