"""One cache of compiled code for the whole session, empty at its start."""

import os
import tempfile

import pytest

_folder = tempfile.TemporaryDirectory(prefix="mcgrad-tests-")
os.environ["MCGRAD_CACHE_DIR"] = _folder.name


@pytest.fixture(scope="session", autouse=True)
def compile_cache():
    yield _folder.name
    _folder.cleanup()
