"""One cache of compiled code for the whole session, empty at its start; tests of a GPU where there is one."""

import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("mcgrad", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # tests assert no time
settings.load_profile("mcgrad")

# The processes that this one starts, such as those of pytest-xdist, share its cache: what one compiles the others load.
SHARED = "MCGRAD_TESTS_CACHE_DIR"
_folder = None if SHARED in os.environ else tempfile.TemporaryDirectory(prefix="mcgrad-tests-")
if _folder:
    os.environ[SHARED] = _folder.name
os.environ["MCGRAD_CACHE_DIR"] = os.environ[SHARED]


def pytest_unconfigure():
    if _folder:
        _folder.cleanup()


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none, and say why."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        from mcgrad.backends.cuda.backend import CudaBackend

        reason = CudaBackend().unavailable()
        for item in marked if reason else []:
            item.add_marker(pytest.mark.skip(reason=f"no CUDA device: {reason}"))
