"""Tests that need numba's CUDA simulator, which is on or off for a whole process: `test_simulated.py` starts one."""

import os

collect_ignore_glob = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["test_*.py"]
