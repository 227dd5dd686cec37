"""Put the tests' stand-in for CuPy in the place of a device, in every Python process of a rehearsal.

Python imports this file when it starts, as `rehearse.sh` puts its folder on PYTHONPATH. The stand-in's kernels are the
NumPy reference; what is compiled is compiled all the same, by NVVM and nvJitLink, which need no device.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import spec_from_loader
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRIGGERS = ("mcgrad.backends.cuda.backend", "mcgrad.backends.cuda.driver")  # one of which is imported before CuPy is


class Patches:
    """What the stand-in's installer needs of pytest's monkeypatch; nothing is undone."""

    def setattr(self, target, name, value):
        setattr(target, name, value)

    def setitem(self, mapping, name, value):
        mapping[name] = value


class Loader:
    """Loads a module of the backend, and then puts the stand-in in place."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        finder.depth += 1
        self._loader.exec_module(module)
        finder.depth -= 1
        if finder.depth:  # one of the two imports the other
            return
        sys.meta_path.remove(finder)
        sys.path.append(str(ROOT))
        from tests.cuda import row_machines

        row_machines.machine(Patches())


class Finder(MetaPathFinder):
    """Finds the first of these modules, as Python would, to load it by `Loader`."""

    depth = 0  # of modules that are being loaded

    def find_spec(self, name, path=None, target=None):
        if name not in TRIGGERS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        return spec_from_loader(name, Loader(spec.loader), origin=spec.origin) if spec else None


finder = Finder()
sys.meta_path.insert(0, finder)
