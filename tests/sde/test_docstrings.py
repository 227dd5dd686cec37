"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import mcgrad as mg


def test_examples():
    modules = [importlib.import_module(f"mcgrad.sde.{each.name}") for each in pkgutil.iter_modules(mg.sde.__path__)]
    results = [doctest.testmod(module, extraglobs=vars(mg.sde)) for module in modules]
    assert sum(result.attempted for result in results) > 30
    assert not any(result.failed for result in results)
