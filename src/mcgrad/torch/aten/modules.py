"""Modules whose parameters an integrand has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


class Calling(torch.nn.Module):
    """A module that calls a function, and has the modules that the function calls.

    Parameters
    ----------
    function : callable
    modules : mapping from name to Module
    """

    def __init__(self, function: Callable[..., Any], modules: Mapping[str, torch.nn.Module]) -> None:
        super().__init__()
        self._function = function
        for name, module in modules.items():
            self.add_module(name, getattr(module, "_orig_mod", module))  # of torch.compile

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)


def is_module(value: Any) -> bool:
    """Whether a value is a module."""
    return isinstance(value, torch.nn.Module)
