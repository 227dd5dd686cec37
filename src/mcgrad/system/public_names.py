"""What `dir` lists of a module that is public: its public names, and none of what it imports for its own use."""

from __future__ import annotations

import sys
from collections.abc import Callable


def listed(module: str) -> Callable[[], list[str]]:
    """Return ``__dir__`` of a module (PEP 562): the names in ``__all__``, and those that all modules have.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    """
    found = vars(sys.modules[module])
    return lambda: sorted({*found["__all__"], *(name for name in found if name.startswith("__"))})
