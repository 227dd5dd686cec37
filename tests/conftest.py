"""One cache of compiled code for the whole session, empty at its start; tests of a GPU where there is one."""

import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("mcgrad", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # tests assert no time
settings.load_profile("mcgrad")

_folder = tempfile.TemporaryDirectory(prefix="mcgrad-tests-")
os.environ["MCGRAD_CACHE_DIR"] = _folder.name


@pytest.fixture(scope="session", autouse=True)
def compile_cache():
    yield _folder.name
    _folder.cleanup()


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none, and say why."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        from mcgrad.backends.cuda.backend import CudaBackend

        reason = CudaBackend().unavailable()
        for item in marked if reason else []:
            item.add_marker(pytest.mark.skip(reason=f"no CUDA device: {reason}"))
