"""Entries are found again by all that their code depends on, and by nothing else."""

from importlib.machinery import ModuleSpec

import pytest

from mcgrad.cache import key


@pytest.fixture(autouse=True)
def surroundings():
    key._surroundings.cache_clear()
    yield
    key._surroundings.cache_clear()


CHANGES = {
    "version of mcgrad": ("__version__", "9.9.9"),
    "version of a package": ("version", lambda name: "9.9"),
    "processor": ("processor", lambda: "another"),
    "features of the processor": ("processor_features", lambda: "fpu avx2"),
    "kernels": ("kernels_hash", lambda: "0" * 32),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_gives_another_key(monkeypatch, what):
    before = key.key("source")
    assert key.key("source") == before
    assert key.key("source", "more") != before
    assert key.key("sourc", "e") != before
    monkeypatch.setattr(key, *CHANGES[what])
    key._surroundings.cache_clear()
    assert key.key("source") != before


@pytest.mark.parametrize("name", ["NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_CPU_FEATURES"])
def test_settings_of_numba_give_another_key(monkeypatch, name):
    before = key.key("source")
    monkeypatch.setenv(name, "1")
    key._surroundings.cache_clear()
    assert key.key("source") != before


class CodeOnly:
    """A loader without files, as of a frozen application."""

    def __init__(self, source):
        self.source = source

    def get_code(self, name):
        return compile(self.source, "<frozen>", "exec")


def test_code_of_a_loader_without_files():
    def hashed(source):
        return key._code(ModuleSpec("m", CodeOnly(source)))

    first = hashed("def f(x):\n    return x + 1\n")
    assert hashed("def f(x):\n    return x + 1\n") == first
    for other in ("x + 2", "x - 1", "y + 1", "(lambda: x)() + 1"):
        assert hashed(f"def f(x):\n    return {other}\n") != first
