"""Lazy imports of the public names of a package: each is imported at its first use.

The one list of the names is the package's stub, ``__init__.pyi``, which type checkers read, too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package, from the imports in its stub.

    Parameters
    ----------
    package : str
        Its ``__name__``. The stub has ``from home import name as name``, and ``from home import *`` for another package
        with a stub.

    Notes
    -----
    PEP 562. The module loader reads the stub, so that it is found in a zip archive, too.
    """
    module = sys.modules[package]
    spec = module.__spec__
    assert spec is not None
    path = str(Path(spec.origin or "").with_name("__init__.pyi"))
    try:
        stub = spec.loader.get_data(path)  # type: ignore[union-attr]
    except OSError as error:
        raise ImportError(f"{path} is missing: it lists the public names, so install it with the code") from error
    homes: dict[str, str] = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            names = import_module(node.module).__all__ if names == ["*"] else names
            homes |= dict.fromkeys(names, node.module)

    def get(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = import_module(f"{home}.{name}") if home == package else getattr(import_module(home), name)
        except ModuleNotFoundError as error:
            from mcgrad.system import packages

            if error.name not in packages.FRAMEWORKS:
                raise
            lacking = packages.FRAMEWORKS[error.name][0]
            message = f"{package}.{name} needs {lacking}, which is not installed: {packages.framework(error.name)}"
            raise ModuleNotFoundError(message, name=error.name) from None
        setattr(module, name, value)
        return value

    public = sorted(homes)
    return get, lambda: sorted({*public, *(name for name in vars(module) if name.startswith("__"))}), public
